"""From an experiment's records to its report, as the words of the command choose."""

import argparse
from typing import TYPE_CHECKING

from bench.garbage import all_of_it_stays
from bench.store.folders import report_path
from bench.store.record import shortened
from bench.store.records import RunStore
from plots.data.choice import check_chosen, chosen_records
from plots.data.contents import newest_contents
from plots.data.records import UnusableRecords, read_records, rounded
from plots.data.reference import read_reference
from plots.papertables.reported import Rule

if TYPE_CHECKING:
    from plots.data.frame import Frame
    from plots.sections import Section


@all_of_it_stays()
def frame_of(experiment: str, options: argparse.Namespace) -> "Frame":
    """Return what an experiment's records say, of those that the words choose.

    Raises:
        UnusableRecords: If none of them completed.
    """
    from plots.data.frame import CHOSEN, build_frame

    store, left_out = RunStore(options.results / "runs"), dict[str, str]()
    if options.reference:
        records = read_reference(options.results / "reference", experiment)
    else:
        records = read_records(store, experiment)
        records, left_out = newest_contents(records, store.times(experiment))
    if options.chosen is not None:
        check_chosen(records, options.chosen)
    records = chosen_records(records, options.worlds, options.learners)
    if not any(record.status == "completed" for record in records):
        raise UnusableRecords("None of the runs that are named completed.")
    return build_frame(experiment, records, left_out, options.chosen or CHOSEN, options.measure)


def draw(experiment: str, rule: Rule | None, options: argparse.Namespace) -> None:
    """Write the report of an experiment, that of a table with its scores by a rule, and show it."""
    # Only now: matplotlib alone takes longer than all that comes before.
    from plots.keeping import keep
    from plots.report import show, write_report
    from plots.sections import sections

    frame = frame_of(experiment, options)
    found = list(sections(frame))
    if rule is not None:
        found = [*_table(frame, rule, options), *found]
    report = report_path(options.results, experiment)
    write_report(frame, found, report.parent, options.width)
    show(found)
    for sentence in frame.left_out.values():
        print(sentence)
    print(f"The report is {report}; figures and tables lie beside it.")
    if options.keep:
        store, kept = RunStore(options.results / "runs"), options.results / "reference"
        print(f"What they are drawn from is in {keep(store, frame, found, report.parent, kept)}.")


def _table(frame: "Frame", rule: Rule, options: argparse.Namespace) -> "list[Section]":
    """Return the sections of a table, whose scores need all evaluations of its runs."""
    from plots.papertables.absent import absent_data
    from plots.papertables.product import table_sections

    store, kept = RunStore(options.results / "runs"), options.results / "reference"
    whole = frame.records
    if not options.reference:
        ids = {record.run_id for record in frame.records}
        read = (store.load(store.path(frame.experiment, run_id)) for run_id in sorted(ids))
        whole = tuple(rounded(shortened(record)) for record in read)
    folder = kept if options.reference else store.root
    return table_sections(frame, whole, absent_data(folder / frame.experiment), rule)

"""`python -m plots EXPERIMENT`: figures, tables and a report, from stored records alone."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench.atomic import atomic_write
from bench.errors import Words, one_sentence
from bench.store.folders import named_folder
from bench.store.records import RunStore
from plots.choice import check_chosen, chosen_records
from plots.contents import newest_contents
from plots.records import UnusableRecords, read_records
from plots.reference import kept_experiments, read_reference

if TYPE_CHECKING:
    from plots.frame import Frame

# Whose figures can be asked for alone.
SHOWN = ("normalized_regret", "regret_to_covered", "regret_to_support")

HELP = """\
usage: python -m plots EXPERIMENT [words]

Draw the report, figures and tables of an experiment into DIR/figures/EXPERIMENT.

  EXPERIMENT      with records in DIR/runs: {stored}
                  with reference results in DIR/reference: {kept}
  --results DIR   where everything is and goes (results)
  --reference     draw from the reference results: nothing needs to have been trained
  --keep          also leave what it is drawn from, figures and tables as reference results
  --chosen NAME   the learner that is held against the others (stackelberg)
  --measure NAME  draw one of {measures}
  --worlds A,B    --learners A,B    draw these alone
  --width WORD    page or column: figures to be printed, as PDF too
  --compare OTHER print what changed from there: an experiment, or another folder of results
  --power         print how many seeds a difference needs
  --export FILE   write every number of every record, as .csv or .parquet
  --help          this text"""


def main(words: Sequence[str]) -> int:
    """Draw one experiment and return the exit status.

    Raises:
        UserError: If the words or the records are unusable, before anything is written.
    """
    parser = Words(prog="python -m plots", add_help=False, allow_abbrev=False)
    parser.add_argument("experiment", nargs="?", metavar="EXPERIMENT")
    parser.add_argument("--results", type=named_folder, default=Path("results"), metavar="DIR")
    for word in ("--reference", "--keep", "--power"):
        parser.add_argument(word, action="store_true")
    for word in ("--chosen", "--worlds", "--learners", "--compare"):
        parser.add_argument(word)
    parser.add_argument("--measure", choices=SHOWN)
    parser.add_argument("--width", choices=("page", "column"))
    parser.add_argument("--export", type=Path, metavar="FILE")
    parser.add_argument("-h", "--help", action="store_true")
    options = parser.parse_args(words)
    if options.help:
        stored = RunStore(options.results / "runs").experiments()
        kept = kept_experiments(options.results / "reference")
        measures = ", ".join(SHOWN)
        print(HELP.format(stored=_listed(stored), kept=_listed(kept), measures=measures))
        return 0
    if options.experiment is None:
        parser.error("no experiment is named")
    if options.reference and options.keep:
        parser.error("--reference and --keep are one too many: what is kept comes from the store")
    part = options.worlds or options.learners or options.measure
    if options.keep and (part or options.chosen or options.width):
        parser.error("--keep keeps all of an experiment as everyone gets it, not a part of it")
    answers = [options.compare is not None, options.power, options.export is not None]
    if sum(answers) + options.keep > 1:
        parser.error("--compare, --power, --export and --keep are one at a time")
    (_answer if any(answers) else _draw)(options.experiment, options)
    return 0


def _frame(experiment: str, options: argparse.Namespace) -> "Frame":
    from plots.frame import CHOSEN, build_frame

    store, left_out = RunStore(options.results / "runs"), dict[str, str]()
    if options.reference:
        records = read_reference(options.results / "reference", experiment)
    else:
        records = read_records(store, experiment)
        written = {path.stem: path.stat().st_mtime for path in store.paths(experiment)}
        records, left_out = newest_contents(records, written)
    if options.chosen is not None:
        check_chosen(records, options.chosen)
    records = chosen_records(records, options.worlds, options.learners)
    if not any(record.status == "completed" for record in records):
        raise UnusableRecords("None of the runs that are named completed.")
    return build_frame(experiment, records, left_out, options.chosen or CHOSEN, options.measure)


def _draw(experiment: str, options: argparse.Namespace) -> None:
    # Only now: matplotlib alone takes longer than all that comes before.
    from plots.keeping import keep
    from plots.report import REPORT, show, write_report
    from plots.sections import sections

    frame = _frame(experiment, options)
    found = list(sections(frame))
    folder = options.results / "figures" / experiment
    write_report(frame, found, folder, options.width)
    show(found)
    for sentence in frame.left_out.values():
        print(sentence)
    print(f"The report is {folder / REPORT}; figures and tables lie beside it.")
    if options.keep:
        store, kept = RunStore(options.results / "runs"), options.results / "reference"
        print(f"What they are drawn from is in {keep(store, frame, found, folder, kept)}.")


def _answer(experiment: str, options: argparse.Namespace) -> None:
    """Print or write the one thing that was asked for in place of a report."""
    frame = _frame(experiment, options)
    if options.export is not None:
        from plots.export import export

        print(f"{export(frame, options.export):,} numbers are in {options.export}.")
    elif options.compare is not None:
        from plots.comparing import compare, compared_csv, summary

        compared = compare(_other(experiment, options), frame, options.measure or SHOWN[0])
        path = options.results / "figures" / experiment / "compared.csv"
        with atomic_write(path) as handle:
            handle.write(compared_csv(compared).encode())
        print(f"{summary(compared)}\nAll cells are in {path}.")
    else:
        from plots.power import sentences

        lines = list(sentences(frame))
        print("\n".join(lines) or "There are no two learners with two seeds of one task.")


def _other(experiment: str, options: argparse.Namespace) -> "Frame":
    """Return what is compared with: an experiment of this name, or this one in another folder."""
    other = Path(options.compare)
    elsewhere = (other / "runs").is_dir() or (other / "reference").is_dir()
    if not elsewhere:
        return _frame(options.compare, options)
    # Records that were committed alone are as good.
    reference = not (other / "runs" / experiment).is_dir()
    words = vars(options) | {"results": other, "reference": reference}
    return _frame(experiment, argparse.Namespace(**words))


def _listed(names: list[str]) -> str:
    return ", ".join(names) or "none"


if __name__ == "__main__":
    with one_sentence():
        sys.exit(main(sys.argv[1:]))

"""`python -m plots EXPERIMENT`: figures, tables and a report, from stored records alone."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import UserError, Words, one_sentence
from bench.store.folders import named_folder
from bench.store.records import RunStore
from plots.papertables.names import is_table
from plots.papertables.reported import RULES, Rule
from plots.records import read_records, rounded
from plots.reference import kept_experiments, read_reference

if TYPE_CHECKING:
    from plots.frame import Frame
    from plots.sections import Section

HELP = """\
usage: python -m plots EXPERIMENT [rule=RULE] [--results DIR] [--reference | --keep]

Draw the figures, tables and report of an experiment into DIR/figures/EXPERIMENT.

  EXPERIMENT      with records in DIR/runs: {stored}
                  with reference results in DIR/reference: {kept}
  rule=RULE       of a table (table_...): which evaluations of a run count, {rules}
  --results DIR   where everything is and goes (results)
  --reference     draw from the reference results: nothing needs to have been trained
  --keep          also leave what it is drawn from, figures and tables as reference results
  --help          this text"""


def main(words: Sequence[str]) -> int:
    """Draw one experiment and return the exit status.

    Raises:
        UserError: If the words or the records are unusable, before anything is written.
    """
    parser = Words(prog="python -m plots", add_help=False, allow_abbrev=False)
    parser.add_argument("experiment", nargs="?", metavar="EXPERIMENT")
    parser.add_argument("words", nargs="*", metavar="rule=RULE")
    parser.add_argument("--results", type=named_folder, default=Path("results"), metavar="DIR")
    parser.add_argument("--reference", action="store_true")
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("-h", "--help", action="store_true")
    options = parser.parse_args(words)
    if options.help:
        stored = RunStore(options.results / "runs").experiments()
        kept = kept_experiments(options.results / "reference")
        print(HELP.format(stored=_listed(stored), kept=_listed(kept), rules=_listed([*RULES])))
        return 0
    if options.experiment is None:
        parser.error("no experiment is named")
    if options.reference and options.keep:
        parser.error("--reference and --keep are one too many: what is kept comes from the store")
    _draw(options.experiment, _rule(options), options)
    return 0


def _rule(options: argparse.Namespace) -> Rule | None:
    """Return the rule by which scores are counted, None where the experiment is no table.

    Raises:
        UserError: If a word is no rule, or one is given for what is no table.
    """
    rule: Rule = "last"
    for word in options.words:
        known = [name for name in RULES if word == f"rule={name}"]
        if not known or len(options.words) > 1:
            raise UserError(f"{word!r} should be one of: rule={', rule='.join(RULES)}.")
        rule = known[0]
    if is_table(options.experiment):
        return rule
    if options.words:
        raise UserError(
            f"{options.words[0]} is for tables, whose names begin with table_; "
            f"{options.experiment} is none."
        )
    return None


def _draw(experiment: str, rule: Rule | None, options: argparse.Namespace) -> None:
    # Only now: matplotlib alone takes longer than all that comes before.
    from plots.contents import newest_contents
    from plots.frame import build_frame
    from plots.keeping import keep
    from plots.report import show, write_report
    from plots.sections import sections

    store, kept = RunStore(options.results / "runs"), options.results / "reference"
    left_out: dict[str, str] = {}
    if options.reference:
        records = read_reference(kept, experiment)
    else:
        records = read_records(store, experiment)
        written = {path.stem: path.stat().st_mtime for path in store.paths(experiment)}
        records, left_out = newest_contents(records, written)
    frame = build_frame(experiment, records, left_out)
    found = list(sections(frame))
    if rule is not None:
        found = [*_table(frame, rule, options), *found]
    folder = options.results / "figures" / experiment
    write_report(frame, found, folder)
    show(found)
    for sentence in left_out.values():
        print(sentence)
    print(f"Figures, tables and report.md are in {folder}.")
    if options.keep:
        print(f"What they are drawn from is in {keep(store, frame, found, folder, kept)}.")


def _table(frame: "Frame", rule: Rule, options: argparse.Namespace) -> "list[Section]":
    """Return the sections of a table, whose scores need all evaluations of its runs."""
    from plots.papertables.absent import absent_data
    from plots.papertables.product import table_sections

    store, kept = RunStore(options.results / "runs"), options.results / "reference"
    whole = frame.records
    if not options.reference:
        ids = {record.run_id for record in frame.records}
        read = (store.load(store.path(frame.experiment, run_id)) for run_id in sorted(ids))
        whole = tuple(map(rounded, read))
    folder = kept if options.reference else store.root
    return table_sections(frame, whole, absent_data(folder / frame.experiment), rule)


def _listed(names: list[str]) -> str:
    return ", ".join(names) or "none"


if __name__ == "__main__":
    with one_sentence():
        sys.exit(main(sys.argv[1:]))

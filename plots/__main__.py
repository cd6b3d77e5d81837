"""`python -m plots EXPERIMENT`: figures, tables and a report, from stored records alone."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.errors import UserError, Words, one_sentence
from bench.store.folders import named_folder
from bench.store.records import RunStore
from plots.answering import answer
from plots.data.reference import kept_experiments
from plots.drawing import draw
from plots.papertables.names import is_table
from plots.papertables.reported import RULES, Rule

# Whose figures can be asked for alone.
SHOWN = ("normalized_regret", "regret_to_covered", "regret_to_support")

HELP = """\
usage: python -m plots EXPERIMENT [words]

Draw the report, figures and tables of an experiment into DIR/figures/EXPERIMENT.

  EXPERIMENT      with records in DIR/runs: {stored}
                  with reference results in DIR/reference: {kept}
  rule=RULE       of a table (table_...): which evaluations of a run count, {rules}
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
    parser.add_argument("words", nargs="*", metavar="rule=RULE")
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
        named = {"measures": ", ".join(SHOWN), "rules": _listed([*RULES])}
        print(HELP.format(stored=_listed(stored), kept=_listed(kept), **named))
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
    rule = _rule(options)
    if any(answers) and options.words:
        parser.error(f"{options.words[0]} is for a table, not for --compare, --power or --export")
    if any(answers):
        answer(options.experiment, options)
    else:
        draw(options.experiment, rule, options)
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


def _listed(names: list[str]) -> str:
    return ", ".join(names) or "none"


if __name__ == "__main__":
    with one_sentence():
        sys.exit(main(sys.argv[1:]))

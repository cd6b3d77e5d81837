"""`python -m bench pack EXPERIMENT`: its records in one file, for everything as they were."""

from collections.abc import Sequence
from pathlib import Path

from bench.errors import Words
from bench.store.folders import named_folder
from bench.store.packing import pack_records
from bench.store.records import RunStore

DESCRIPTION = "Put an experiment's records into one file; everything reads them as before."


def main(words: Sequence[str]) -> int:
    """Pack what is not yet, say how much, and return the exit status."""
    options = parser_of("pack", DESCRIPTION).parse_args(words)
    moved = pack_records(RunStore(options.results / "runs"), options.experiment)
    print(
        f"{moved.records:,} records were packed; all of them take {moved.bytes / 1e6:,.1f} MB now."
    )
    return 0


def parser_of(command: str, description: str) -> Words:
    """Return the words of a command that moves the records of an experiment."""
    parser = Words(prog=f"python -m bench {command}", description=description)
    known = ", ".join(RunStore(Path("results/runs")).experiments()) or "none"
    parser.add_argument("experiment", help=f"in results/runs there are: {known}")
    parser.add_argument("--results", type=named_folder, default=Path("results"), metavar="DIR")
    return parser

"""`python -m bench unpack EXPERIMENT`: its records as files again, byte for byte."""

from collections.abc import Sequence

from bench.commands.pack import parser_of
from bench.store.packing import unpack_records
from bench.store.records import RunStore

DESCRIPTION = "Make files of an experiment's packed records, byte for byte as they were."


def main(words: Sequence[str]) -> int:
    """Unpack everything, say how much, and return the exit status."""
    options = parser_of("unpack", DESCRIPTION).parse_args(words)
    moved = unpack_records(RunStore(options.results / "runs"), options.experiment)
    print(f"{moved.records:,} records were unpacked; they take {moved.bytes / 1e6:,.1f} MB.")
    return 0

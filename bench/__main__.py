"""`python -m bench [COMMAND] ...`: the commands are the files of bench/commands, `run` if unnamed.

Whatever is wrong with the words ends in one sentence and exit status 2, before anything is written.
"""

import importlib
import sys
from pathlib import Path
from typing import NoReturn

import bench.commands
from bench.errors import UserError, one_sentence

COMMANDS = tuple(sorted(p.stem for p in Path(bench.commands.__path__[0]).glob("[!_]*.py")))


def main() -> NoReturn:
    """Run the command that the first word names, and exit with its status."""
    words = sys.argv[1:]
    with one_sentence():
        name = _command(words)
        # Only the one that is asked for is imported: `status` need not wait for torch.
        sys.exit(importlib.import_module(f"bench.commands.{name}").main(words))


def _command(words: list[str]) -> str:
    """Take the command from the words and return it."""
    first = words[0] if words else ""
    if first in COMMANDS:
        return words.pop(0)
    if first and "=" not in first and first[0] not in "-+~":
        raise UserError(f"{first!r} is no command; commands are: {', '.join(COMMANDS)}.")
    return "run"


if __name__ == "__main__":
    main()

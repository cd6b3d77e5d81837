"""What a user can do wrong, as one sentence and an exit status."""

import argparse
import errno
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple, NoReturn

from bench.terminal import print_whatever_can_be


class UserError(Exception):
    """Something that the user can mend; the message is one sentence."""


class MissingData(ValueError):
    """Data that is not here and cannot be had now; `name` is what records would call it."""

    def __init__(self, name: str, sentence: str):
        """Take the name, and in a sentence without its full stop what is missing."""
        super().__init__(sentence)
        self.name = name


class Words(argparse.ArgumentParser):
    """The words of a command; says in one sentence what is wrong with them."""

    def error(self, message: str) -> NoReturn:
        """Raise what is wrong as the user's error."""
        raise UserError(f"{message[0].upper()}{message[1:]}; `{self.prog} --help` says more.")


# What a disk, a file system or the system's tables refuse, whatever a program asks of them.
MACHINES_ERRORS = frozenset(
    getattr(errno, name)
    for name in (
        "ENOSPC",
        "EDQUOT",
        "EROFS",
        "EIO",
        "ESTALE",
        "EMFILE",
        "ENFILE",
        "ENOMEM",
        "EFBIG",
    )
    if hasattr(errno, name)
)
# numpy says so, without a number, where a file could not be written to its end; torch says the
# other where an array has no room.
SHORT_WRITE = re.compile(r"\d+ requested and \d+ written")
NO_MEMORY = re.compile(r"not enough memory|can't allocate memory|out of memory", re.IGNORECASE)


class MachineFailure(NamedTuple):
    """What the machine could not do, in one sentence, and whether it was memory that it lacked."""

    sentence: str
    memory: bool


def machine_failure(error: BaseException) -> MachineFailure | None:
    """Return what the machine lacked that an exception comes from; None if it is not to blame."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, MemoryError) or (
            isinstance(cause, RuntimeError) and NO_MEMORY.search(str(cause))
        ):
            said = " ".join(str(cause).split())
            return MachineFailure(f"Memory ran out{f' ({said[:200]})' if said else ''}", True)
        if isinstance(cause, OSError):
            short = cause.errno is None and SHORT_WRITE.search(str(cause))
            if short:
                said = f"A file could not be written to its end ({cause}): the disk may be full"
                return MachineFailure(said, False)
            if cause.errno in MACHINES_ERRORS:
                return MachineFailure(system_sentence(cause), cause.errno == errno.ENOMEM)
        cause = cause.__cause__ or cause.__context__
    return None


def system_sentence(error: OSError) -> str:
    """Return what the system refused and where, without a full stop."""
    place = "" if error.filename is None else f"{error.filename}: "
    return f"{place}{error.strerror or error}"


def _on_one_line(text: str) -> str:
    """Return text with what would break a line, as words may hold, spelled out."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


@contextmanager
def one_sentence() -> Iterator[None]:
    """Turn what a user can do wrong into one sentence and an exit status."""
    print_whatever_can_be()
    try:
        yield
    except UserError as error:
        print(_on_one_line(str(error)), file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:
        # Whoever read the output has seen enough; flushing at exit would complain once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except OSError as error:
        failure = machine_failure(error)
        print(f"{failure.sentence if failure else system_sentence(error)}.", file=sys.stderr)
        sys.exit(2)
    except (MemoryError, RuntimeError) as error:
        failure = machine_failure(error)
        if failure is None:
            raise
        print(f"{failure.sentence}.", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("Stopped; the same command goes on with what is missing.", file=sys.stderr)
        sys.exit(130)

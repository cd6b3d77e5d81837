"""What a user can do wrong, as one sentence and an exit status."""

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn


class UserError(Exception):
    """Something that the user can mend; the message is one sentence."""


class Words(argparse.ArgumentParser):
    """The words of a command; says in one sentence what is wrong with them."""

    def error(self, message: str) -> NoReturn:
        """Raise what is wrong as the user's error."""
        raise UserError(f"{message[0].upper()}{message[1:]}; `{self.prog} --help` says more.")


@contextmanager
def one_sentence() -> Iterator[None]:
    """Turn what a user can do wrong into one sentence and an exit status."""
    try:
        yield
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:
        # Whoever read the output has seen enough; flushing at exit would complain once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except OSError as error:
        place = "" if error.filename is None else f"{error.filename}: "
        print(f"{place}{error.strerror or error}.", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("Stopped; the same command goes on with what is missing.", file=sys.stderr)
        sys.exit(130)

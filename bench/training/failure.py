"""What a failed run says of its cause: where in the project's own code, and what."""

import traceback
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# An algorithm's mistake shows in its own file, however deep in the harness it is called from;
# mistakes of worlds, data and degradations in theirs.
FOLDERS = ("algorithms", "bench")


def describe(error: BaseException) -> str:
    """Return an exception in one line.

    As in ``algorithms/crr.py:41 in update: ZeroDivisionError: division by zero``. The place is the
    innermost one in ``algorithms/``, else in ``bench/``; there is none where neither was entered.
    """
    said = " ".join(str(error).split())
    parts = [_place(error), type(error).__name__, said]
    return ": ".join(part for part in parts if part)


def whole(error: BaseException) -> str:
    """Return the whole traceback."""
    return "".join(traceback.format_exception(error))


def _place(error: BaseException) -> str:
    frames = list(_innermost_first(error))
    for folder in FOLDERS:
        for frame in frames:
            path = Path(frame.filename)
            if path.is_relative_to(ROOT / folder):
                return f"{path.relative_to(ROOT)}:{frame.lineno} in {frame.name}"
    return ""


def _innermost_first(error: BaseException | None) -> Iterator[traceback.FrameSummary]:
    """Yield the frames of an exception, then those of the one that it was raised from."""
    while error is not None:
        yield from reversed(traceback.extract_tb(error.__traceback__))
        error = error.__cause__

"""Writing a file or a folder so that a reader meets all of it or none."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def atomic_write(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file beside `path`; rename it at the end, remove it on any error.

    The folder is made if need be. The temporary name begins with a dot and ends in ``.partial``.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".partial")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Make a temporary folder beside `path`; rename it at the end, remove it on any error.

    A folder that is there already is replaced; whoever has its files open keeps them.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=".", suffix=".partial"))
    try:
        yield temporary
        os.chmod(temporary, 0o755)
        _replace_folder(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _replace_folder(temporary: Path, path: Path) -> None:
    """Rename a folder to where one may be, or appear at any moment, already."""
    while True:
        try:
            os.rename(temporary, path)
            return
        except OSError:
            if not path.is_dir():
                raise
        # Only an empty folder can be renamed over; a full one is moved out of the way first.
        old = Path(tempfile.mkdtemp(dir=path.parent, prefix=".", suffix=".partial"))
        try:
            os.rename(path, old / "old")
        except FileNotFoundError:
            pass
        finally:
            shutil.rmtree(old, ignore_errors=True)

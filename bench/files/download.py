"""Downloads that can be interrupted: they go on where they stopped and are checked by size."""

import fcntl
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import requests
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

# Seconds without a byte after which a connection counts as broken.
TIMEOUT = 10.0
BLOCK = 2**16


class DownloadError(Exception):
    """A file that could not be fetched; the message says why, without a full stop."""


def fetch(url: str, path: Path) -> None:
    """Write what is at `url` to `path`, which appears once it is complete.

    What has come so far lies beside it with ``.part`` behind its name; a later call goes on from
    there if the server can. Nothing is made on disk before the server has answered.

    Raises:
        DownloadError: If there is no network, the server refuses, the size is not as announced or
            another process is fetching the same file.
    """
    part = path.with_name(path.name + ".part")
    have = part.stat().st_size if part.exists() else 0
    try:
        # From where it stopped, or else, if that is no part of the server's file, from the start.
        for start in dict.fromkeys((have, 0)):
            with _asked(url, start) as answer:
                total = _total(answer, start)
                beyond = answer.status_code == requests.codes.requested_range_not_satisfiable
                if beyond and start > 0 and total != start:
                    continue
                if not (beyond and start > 0):
                    answer.raise_for_status()
                with _alone(part, path, have) as file:
                    if file is not None:
                        _receive(answer, file, path.name, start, total)
                        part.replace(path)
                return
    except requests.RequestException as error:
        raise DownloadError(_plain(error)) from error


def _asked(url: str, start: int) -> requests.Response:
    """Return the server's answer to being asked for the file's bytes from `start` on."""
    # Compressed on the way, the bytes would not be the file's.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
    return requests.get(url, headers=headers, stream=True, timeout=TIMEOUT)


@contextmanager
def _alone(part: Path, path: Path, have: int) -> Iterator[BinaryIO | None]:
    """Open the part for this process alone; None if another one has completed it meanwhile."""
    part.parent.mkdir(parents=True, exist_ok=True)
    with part.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DownloadError("another process is fetching it") from None
        try:
            if path.exists():
                yield None
            elif not part.exists() or part.stat().st_size != have:
                raise DownloadError("another process has fetched a part of it just now")
            else:
                yield file
        finally:
            file.flush()
            if part.exists() and part.stat().st_size == 0:
                part.unlink()


def _receive(
    answer: requests.Response, file: BinaryIO, name: str, start: int, total: int | None
) -> None:
    """Append what comes to the file, from its beginning if the server began there."""
    have = start
    if answer.status_code == requests.codes.ok:
        file.truncate(0)
        file.seek(0)
        have, total = 0, _total(answer, 0)
    if answer.ok:
        if have and not answer.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            raise DownloadError("the server sent another part of the file than was asked for")
        for block in _watched(answer.iter_content(BLOCK), name, have, total):
            file.write(block)
            have += len(block)
    file.flush()
    os.fsync(file.fileno())
    if total is not None and have != total:
        raise DownloadError(f"{have} bytes came of {total}")


def _total(answer: requests.Response, start: int) -> int | None:
    """Return the size that the whole file will have, None if the server does not say."""
    whole = answer.headers.get("Content-Range", "").rpartition("/")[2]
    if whole.isdigit():
        return int(whole)
    length = answer.headers.get("Content-Length", "")
    return start + int(length) if answer.ok and length.isdigit() else None


def _watched(blocks: Iterable[bytes], name: str, have: int, total: int | None) -> Iterator[bytes]:
    """Yield the blocks while a bar on the error stream, if a terminal, shows what has come."""
    columns = (
        TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    console = Console(file=sys.stderr)
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        bar = progress.add_task(name, total=total, completed=have)
        for block in blocks:
            yield block
            progress.advance(bar, len(block))


def _plain(error: requests.RequestException) -> str:
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"the server answers {error.response.status_code} {error.response.reason}"
    if isinstance(error, requests.exceptions.ConnectTimeout):
        return f"no answer came within {TIMEOUT:g} s"
    broken = isinstance(error, requests.exceptions.ChunkedEncodingError)
    if broken or "Read timed out" in str(error):
        return "the connection broke off; the same command goes on from there"
    if isinstance(error, requests.ConnectionError):
        return "there is no connection to the server"
    return " ".join(str(error).split())[:200]

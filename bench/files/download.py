"""Downloads that can be interrupted: they go on where they stopped and are checked by size."""

import fcntl
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import requests
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

# Seconds without a byte after which a connection counts as broken.
TIMEOUT = 10.0
BLOCK = 2**20


class DownloadError(Exception):
    """A file that could not be fetched; the message says why, without a full stop."""


def fetch(url: str, path: Path) -> None:
    """Write what is at `url` to `path`, which appears once it is complete.

    What has come so far lies beside it with ``.part`` behind its name; a later call goes on from
    there if the server can.

    Raises:
        DownloadError: If there is no network, the server refuses, the size is not as announced or
            another process is fetching the same file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    with part.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _receive(url, file, path.name)
        except BlockingIOError:
            raise DownloadError("another process is fetching it") from None
        except requests.RequestException as error:
            raise DownloadError(_plain(error)) from error
        finally:
            if file.tell() == 0:
                part.unlink(missing_ok=True)
        part.replace(path)


def _receive(url: str, file: BinaryIO, name: str) -> None:
    have = file.tell()
    # Compressed on the way, the bytes would not be the file's.
    headers = {"Accept-Encoding": "identity", "Range": f"bytes={have}-"}
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as answer:
        total = _total(answer, have)
        if answer.status_code == requests.codes.requested_range_not_satisfiable and have == total:
            return
        if have and answer.status_code != requests.codes.partial_content:
            # The server cannot go on, or what came is no part of what is there now.
            file.truncate(0)
            if answer.status_code == requests.codes.requested_range_not_satisfiable:
                return _receive(url, file, name)
            have, total = 0, _total(answer, 0)
        answer.raise_for_status()
        for block in _watched(answer.iter_content(BLOCK), name, have, total):
            file.write(block)
    file.flush()
    if total is not None and file.tell() != total:
        raise DownloadError(f"{file.tell()} bytes came of {total}")


def _total(answer: requests.Response, have: int) -> int | None:
    """Return the size that the whole file will have, None if the server does not say."""
    whole = answer.headers.get("Content-Range", "").rpartition("/")[2]
    if whole.isdigit():
        return int(whole)
    length = answer.headers.get("Content-Length", "")
    return have + int(length) if length.isdigit() else None


def _watched(blocks: Iterable[bytes], name: str, have: int, total: int | None) -> Iterator[bytes]:
    """Yield the blocks while a bar on the error stream shows how many bytes have come."""
    columns = (
        TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=Console(file=sys.stderr)) as progress:
        bar = progress.add_task(name, total=total, completed=have)
        for block in blocks:
            yield block
            progress.advance(bar, len(block))


def _plain(error: requests.RequestException) -> str:
    if isinstance(error, requests.HTTPError):
        return "the server answers " + " ".join(str(error).split()[:4])
    if isinstance(error, requests.Timeout):
        return f"no answer came within {TIMEOUT:g} s"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the connection broke off; the same command goes on from there"
    if isinstance(error, requests.ConnectionError):
        return "there is no connection to the server"
    return " ".join(str(error).split())[:200]

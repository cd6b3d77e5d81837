"""Many records in one file, ``<root>/<experiment>/records.zip``, byte for byte as they were.

An ordinary ZIP archive: a member per record, named as its file, with the file's stamp as comment.
It is only ever replaced as a whole. Any one record is read without the others, by its place in the
archive's directory, which a process reads once.
"""

import os
import struct
import time
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO, NamedTuple, Self

from bench.atomic import atomic_write
from bench.errors import UserError

FILE = "records.zip"
# Before a member's bytes: a fixed part that ends in the lengths of its name and of extra fields.
LOCAL_HEADER = struct.Struct("<26xHH")
# Years that the archive's own field for times knows.
FIRST_YEAR, LAST_YEAR = 1980, 2107


class DamagedPackError(ValueError, UserError):
    """A pack that cannot be read; the message is one sentence for the user."""


class Stamp(NamedTuple):
    """What changes whenever a file does: ``st_mtime_ns``, ``st_ctime_ns`` and ``st_size``."""

    written: int
    changed: int
    size: int

    @classmethod
    def of(cls, stat: os.stat_result) -> Self:
        """Return the stamp of a file."""
        return cls(stat.st_mtime_ns, stat.st_ctime_ns, stat.st_size)

    @classmethod
    def read(cls, text: str) -> Self:
        """Return the stamp that `str` made; `ValueError` of what is none."""
        written, changed, size = map(int, text.split("-"))
        return cls(written, changed, size)

    def __str__(self) -> str:
        """Return the stamp on one line."""
        return f"{self.written}-{self.changed}-{self.size}"


class Member(NamedTuple):
    """A record in a pack.

    Attributes:
        stamp: That of the file it was: what was known of that is known of this.
        crc: Checksum of its bytes.
        offset: Where it begins in the archive, `compressed` bytes behind its header.
    """

    stamp: Stamp
    crc: int
    offset: int
    compressed: int


class Whole(NamedTuple):
    """A record to be packed: its file's name, its stamp, and its bytes."""

    name: str
    stamp: Stamp
    content: bytes


Members = Mapping[str, Member]
Version = tuple[int, int, int]
# The directories that this process has read, by the archive's path.
_known: dict[Path, tuple[Version, Members]] = {}


def version(folder: Path) -> Version | None:
    """Return what changes whenever the pack of a folder does, None where there is no pack."""
    try:
        return _version(os.stat(folder / FILE))
    except FileNotFoundError:
        return None


def members(folder: Path) -> Members:
    """Return the records in the pack of a folder by their files' names, none without a pack.

    Raises:
        DamagedPackError: If the pack is no archive of records.
    """
    with _opened(folder) as (_, found):
        return found


def read(folder: Path, name: str) -> bytes:
    """Return the bytes of a packed record.

    Raises:
        FileNotFoundError: If the pack has no such record.
        DamagedPackError: If its bytes are damaged.
    """
    with _opened(folder) as (file, found):
        if file is None or name not in found:
            raise FileNotFoundError(2, "No such file or directory", str(folder / name))
        member = found[name]
        try:
            file.seek(member.offset)
            lengths = LOCAL_HEADER.unpack(file.read(LOCAL_HEADER.size))
            file.seek(sum(lengths), os.SEEK_CUR)
            # Minus: without the header that zlib would add.
            content = zlib.decompress(file.read(member.compressed), -zlib.MAX_WBITS)
        except (zlib.error, struct.error) as error:
            raise DamagedPackError(f"{folder / FILE} is damaged at {name}: {error}") from error
        if zlib.crc32(content) != member.crc:
            raise DamagedPackError(f"{folder / FILE} is damaged at {name}: its checksum is wrong")
        return content


def write(folder: Path, records: Iterable[Whole]) -> None:
    """Replace the pack of a folder by one of these records, in their order, atomically."""
    with (
        atomic_write(folder / FILE) as file,
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive,
    ):
        for record in records:
            day = time.gmtime(record.stamp.written / 1e9)[:6]
            year = min(max(day[0], FIRST_YEAR), LAST_YEAR)
            member = zipfile.ZipInfo(record.name, (year, *day[1:]))
            member.comment = str(record.stamp).encode()
            member.external_attr = 0o644 << 16
            archive.writestr(member, record.content, zipfile.ZIP_DEFLATED)


@contextmanager
def _opened(folder: Path) -> Iterator[tuple[BinaryIO | None, Members]]:
    """Open the pack of a folder, and give the directory that belongs to what was opened."""
    path = folder / FILE
    try:
        file = path.open("rb")
    except FileNotFoundError:
        yield None, MappingProxyType({})
        return
    with file:
        there = _version(os.fstat(file.fileno()))
        if path not in _known or _known[path][0] != there:
            _known[path] = there, _directory(path, file)
        yield file, _known[path][1]


def _directory(path: Path, file: BinaryIO) -> Members:
    try:
        with zipfile.ZipFile(file) as archive:
            found = {
                m.filename: Member(
                    Stamp.read(m.comment.decode()), m.CRC, m.header_offset, m.compress_size
                )
                for m in archive.infolist()
            }
    except (zipfile.BadZipFile, ValueError) as error:
        raise DamagedPackError(f"{path} is no pack of records: {error}") from error
    return MappingProxyType(found)


def _version(stat: os.stat_result) -> Version:
    return stat.st_ino, stat.st_mtime_ns, stat.st_size

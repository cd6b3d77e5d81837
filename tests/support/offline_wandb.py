"""Reads what W&B wrote offline: protobuf records in LevelDB's log format."""

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from wandb.proto.wandb_internal_pb2 import Record

BLOCK = 32768
FILE_HEADER = 7
RECORD_HEADER = 7
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4


class Tracked(NamedTuple):
    """One W&B run as its file tells it."""

    run: Any
    config: dict[str, Any]
    history: list[dict[str, Any]]
    summary: dict[str, Any]
    exit_code: int | None
    files: list[str]


def read_all(folder: Path) -> dict[str, Tracked]:
    """Return the runs under a folder by id."""
    found = [read(path) for path in sorted(folder.glob("offline-run-*/*.wandb"))]
    return {tracked.run.run_id: tracked for tracked in found}


def read(path: Path) -> Tracked:
    """Return the run in one file."""
    run, config, history, summary, exit_code, files = None, {}, [], {}, None, []
    for record in map(Record.FromString, payloads(path.read_bytes())):
        kind = record.WhichOneof("record_type")
        if kind == "run":
            run = record.run
            config |= {item.key: json.loads(item.value_json) for item in run.config.update}
        if kind == "history":
            history.append({_name(i): json.loads(i.value_json) for i in record.history.item})
        if kind == "summary":
            summary |= {_name(i): json.loads(i.value_json) for i in record.summary.update}
        if kind == "exit":
            exit_code = record.exit.exit_code
        if kind == "files":
            files += [file.path for file in record.files.files]
    return Tracked(run, config, history, summary, exit_code, files)


def _name(item: Any) -> str:
    return item.key or "/".join(item.nested_key)


def payloads(data: bytes) -> Iterator[bytes]:
    """Yield the payload of every record, put together where it crosses a block."""
    at, parts = FILE_HEADER, b""
    while at + RECORD_HEADER <= len(data):
        left = BLOCK - at % BLOCK
        if left < RECORD_HEADER:
            at += left
            continue
        _, length, kind = struct.unpack_from("<IHB", data, at)
        if kind == 0:
            at += left
            continue
        parts += data[at + RECORD_HEADER : at + RECORD_HEADER + length]
        at += RECORD_HEADER + length
        if kind in (FULL, LAST):
            yield parts
            parts = b""

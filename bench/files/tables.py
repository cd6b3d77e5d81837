"""Tables of columns by name, from npz, HDF5, CSV and Parquet files; they are read as a whole."""

import csv
import importlib.util
import re
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from bench.files.flat import UnusableFile

Table = dict[str, np.ndarray]

# What a CSV file may say of a flag.
FLAGS = {"true": 1.0, "false": 0.0}


def read_table(path: Path) -> Table:
    """Return a file's columns ``[rows, ...]`` by name.

    Raises:
        UnusableFile: If it is of another format, damaged, or holds other than numbers.
    """
    read = READERS.get(path.suffix.lower())
    if read is None:
        allowed = ", ".join(READERS)
        raise UnusableFile(f"{path} should end in one of {allowed}, which tells its format")
    # Opened plainly first: a missing file or right is not the reader's to explain.
    path.open("rb").close()
    with _one_sentence(path):
        table = read(path)
    for name, column in table.items():
        if column.dtype.kind not in "fiub":
            raise UnusableFile(f"{path}: {name} has type {column.dtype}, but should hold numbers")
    return table


@contextmanager
def _one_sentence(path: Path) -> Iterator[None]:
    """Turn what readers raise where a file is damaged into one sentence."""
    try:
        yield
    except (UnusableFile, MemoryError):
        raise
    except Exception as error:
        cause = (" ".join(str(error).split())[:200] or type(error).__name__).rstrip(".")
        kind = path.suffix.lower().lstrip(".")
        raise UnusableFile(f"{path} is no readable {kind} file ({cause})") from error


def _npz(path: Path) -> Table:
    if not zipfile.is_zipfile(path):
        raise ValueError("it is no archive of arrays")
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files if np.ndim(file[name])}


def _hdf5(path: Path) -> Table:
    with h5py.File(path, "r") as file:
        columns = {k: v for k, v in file.items() if isinstance(v, h5py.Dataset) and v.shape}
        return {name: column[:] for name, column in columns.items()}


def _csv(path: Path) -> Table:
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = csv.reader(file)
        names, first = next(rows, []), next(rows, [])
    if not first:
        raise ValueError("it should have a line of names and at least one of numbers")
    if len(set(names)) < len(names):
        raise ValueError("two of its columns have one name")
    cells: dict[str, Any] = {"delimiter": ",", "skiprows": 1, "ndmin": 2, "encoding": "utf-8-sig"}
    try:
        values = np.loadtxt(path, **cells)
    except ValueError:
        values = np.loadtxt(path, **cells, converters=_cell)
    if values.shape[1] != len(names):
        raise ValueError(f"it names {len(names)} columns and has {values.shape[1]}")
    table = {}
    for name, text, column in zip(names, first, values.T, strict=True):
        whole = re.fullmatch(r"\s*[+-]?\d+\s*", text) and np.isfinite(column).all()
        numbered = whole and (column == np.round(column)).all()
        table[name.strip()] = column.astype(np.int64) if numbered else column
    return table


def _cell(text: str) -> float:
    """Return the number in a cell, which may be quoted or the word for a flag."""
    bare = text.strip().strip('"')
    flag = FLAGS.get(bare.lower())
    return float(bare) if flag is None else flag


def _parquet(path: Path) -> Table:
    if importlib.util.find_spec("pyarrow") is None:
        raise UnusableFile(f'{path} needs `pip install -e ".[parquet]"` to be read')
    from pyarrow import parquet

    read = parquet.read_table(path).to_pydict()
    return {name: np.array(values) for name, values in read.items()}


READERS: dict[str, Callable[[Path], Table]] = {
    ".npz": _npz,
    ".hdf5": _hdf5,
    ".h5": _hdf5,
    ".csv": _csv,
    ".parquet": _parquet,
}

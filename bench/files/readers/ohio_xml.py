"""The XML files of OhioT1DM: a patient's events, by the names of their elements."""

import math
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import numpy as np

from bench.files.flat import UnusableFile

STAMP = "%d-%m-%Y %H:%M:%S"
# What is read of each element's events: stamps first, then numbers with the largest possible one.
ELEMENTS: dict[str, tuple[tuple[str, ...], dict[str, float]]] = {
    "glucose_level": (("ts",), {"value": 1000}),
    "finger_stick": (("ts",), {"value": 1000}),
    "basal": (("ts",), {"value": 50}),
    "temp_basal": (("ts_begin", "ts_end"), {"value": 50}),
    "bolus": (("ts_begin", "ts_end"), {"dose": 100}),
    "meal": (("ts",), {"carbs": 1000}),
    "exercise": (("ts",), {"duration": 1440}),
}
POSITIVE = ("glucose_level", "finger_stick")


class Patient(NamedTuple):
    """A patient's events, one row each in order of time.

    Attributes:
        id: As the file says.
        events: By element, ``[n, 2 or 3]``: seconds of the stamps, then the number: mg/dL of
            glucose, units per hour of basal, units of a bolus, grams of a meal, minutes of
            exercise.
    """

    id: str
    events: dict[str, np.ndarray]


def read_patient(path: Path) -> Patient:
    """Return the events of a file.

    Raises:
        UnusableFile: If it is no XML, lacks an element, or holds a wrong stamp or number.
    """
    try:
        root = ElementTree.parse(path).getroot()
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise UnusableFile(f"{path} is no whole XML file ({error})") from None
    if root.tag != "patient" or not root.get("id"):
        raise UnusableFile(f"{path} should begin with a <patient> that has an id")
    return Patient(str(root.get("id")), {name: _events(path, root, name) for name in ELEMENTS})


def _events(path: Path, root: ElementTree.Element, name: str) -> np.ndarray:
    found = root.find(name)
    if found is None:
        raise UnusableFile(f"{path} has no element <{name}>")
    stamps, numbers = ELEMENTS[name]
    rows = []
    for event in found.iter("event"):
        times = [_seconds(path, name, stamp, event.get(stamp)) for stamp in stamps]
        if times[-1] < times[0]:
            raise UnusableFile(
                f"{path}: a <{name}> of {event.get(stamps[0])} ends before it begins"
            )
        rows.append(
            [*times, *(_number(path, name, n, event.get(n), most) for n, most in numbers.items())]
        )
    table = np.array(rows, dtype=np.float64).reshape(-1, len(stamps) + len(numbers))
    return table[np.argsort(table[:, 0], kind="stable")]


def _seconds(path: Path, name: str, stamp: str, text: str | None) -> float:
    try:
        return datetime.strptime(text or "", STAMP).replace(tzinfo=UTC).timestamp()
    except ValueError:
        raise UnusableFile(
            f"{path}: {stamp} of a <{name}> is {text!r}, but should be dd-mm-YYYY HH:MM:SS"
        ) from None


def _number(path: Path, element: str, name: str, text: str | None, most: float) -> float:
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not 0 <= value <= most or (value == 0 and element in POSITIVE):
        least = "above 0" if element in POSITIVE else "from 0"
        raise UnusableFile(
            f"{path}: {name} of a <{element}> is {text!r}, but should be a number {least} to "
            f"{most:g}"
        )
    return value

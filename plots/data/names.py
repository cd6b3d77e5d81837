"""Printed names of learners, environments, degradations and measures, from ``names.yaml``.

Identifiers stay what they are in records and CSV files; people read these. A label such as
``fqi (initial_value=v_max)`` is printed part by part: ``FQI (initial value maximal)``.
"""

import re
from functools import cache
from pathlib import Path

import yaml

from bench.errors import UserError

FILE = Path(__file__).with_name("names.yaml")
KINDS = ("learners", "environments", "degradations", "values", "measures", "kinds")
# Of a world that the file does not sort.
OTHER = "other"
# A setting within a label: up to the next one or the end.
SETTING = re.compile(r"([\w.]+)=(.*?)(?=, [\w.]+=|$)")


@cache
def names() -> dict[str, dict[str, str]]:
    """Return the printed names of each kind.

    Raises:
        UserError: If the file is no mapping of kinds to names.
    """
    try:
        found = yaml.safe_load(FILE.read_text("utf-8")) or {}
        return {k: {str(a): str(b) for a, b in (found.get(k) or {}).items()} for k in KINDS}
    except (yaml.YAMLError, AttributeError) as error:
        raise UserError(f"{FILE} should map {', '.join(KINDS)} to names of each.") from error


def learner(label: str) -> str:
    """Return a learner's printed name, its settings in words."""
    return _with_settings(label, "learners")


def degradation(label: str) -> str:
    """Return a degradation's printed name."""
    return _with_settings(label, "degradations")


def environment(name: str) -> str:
    """Return a dataset's printed name: that of its world, then who collected if its name says so.

    The longest beginning that has a name of its own is the world's.
    """
    found, rest = _longest(name, "environments")
    return ", ".join(filter(None, [found, " ".join(rest)])) if found else name.replace("_", " ")


def kind(name: str) -> str:
    """Return what kind of world a dataset's is: that of the longest beginning which has one."""
    return _longest(name, "kinds")[0] or OTHER


def measure(name: str) -> str:
    """Return a measure's printed name."""
    return _plain(name, "measures")


def setting(name: str) -> str:
    """Return a setting's printed name, its last part in words."""
    return name.rpartition(".")[2].replace("_", " ")


def value(text: str, of: str = "") -> str:
    """Return the value of a setting as printed: a long number in powers of ten.

    What has an entry of its own for that setting, as ``ridge=null``, is printed so.
    """
    known = names()["values"]
    if (found := known.get(f"{of.rpartition('.')[2]}={text}", known.get(text))) is not None:
        return found
    try:
        number = float(text)
    except ValueError:
        return text.replace("_", " ")
    short = f"{number:g}"
    long = len(short) > 5 or "e" in short
    return re.sub(r"e([+-])0*", r"e\1", f"{number:.0e}").replace("e+", "e") if long else short


def _with_settings(label: str, kind: str) -> str:
    base, _, rest = label.partition(" (")
    printed = " + ".join(
        ": ".join(_plain(part, kind) for part in step.split(": ")) for step in base.split(" + ")
    )
    found = SETTING.findall(rest.removesuffix(")"))
    if not found:
        return printed
    told = ", ".join(f"{setting(name)} {value(text, name)}" for name, text in found)
    return f"{printed} ({told})"


def _longest(name: str, kind: str) -> tuple[str | None, list[str]]:
    """Return what stands for the longest beginning of a name that has an entry, and the rest."""
    parts = name.split("_")
    for end in range(len(parts), 0, -1):
        if found := names()[kind].get("_".join(parts[:end])):
            return found, parts[end:]
    return None, parts


def _plain(name: str, kind: str) -> str:
    return names()[kind].get(name, name.replace("_", " "))

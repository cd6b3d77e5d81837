"""Type 1 diabetes as thirteen differential equations, many patients at once.

The model of Dalla Man et al. 2007 and 2014 (UVA/Padova) with the virtual patients and the steps of
the public simulator simglucose (Xie 2018, MIT): parameters/ holds its tables and licence. A minute
is one Runge-Kutta step of fourth order, or several.
"""

import csv
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

FOLDER = Path(__file__).parent / "parameters"
EATEN = 5.0
"""Grams of carbohydrates a minute."""
NAMES = (
    "BW", "kabs", "kmax", "kmin", "b", "d", "Vg", "Vi", "Vmx", "Km0", "k2", "k1", "p2u", "m1",
    "m2", "m4", "m30", "ki", "kp1", "kp2", "kp3", "f", "ke1", "ke2", "Fsnc", "Vm0", "kd", "ksc",
    "ka1", "ka2", "u2ss", "Ib",
)  # fmt: skip
NUM_STATES = 13
HELD = (3, 4, 5, 9, 10, 11, 12)
"""Amounts that stay as they are where rounding has taken them below 0."""
FREE = torch.tensor([[index not in HELD] for index in range(NUM_STATES)])
"""``[13, 1]``, the others."""


@cache
def virtual_patients(kind: str) -> dict[str, np.ndarray]:
    """Return the columns ``[patients]`` of ``adult``, ``adolescent`` or ``child`` patients by name.

    Beside the parameters: ``start`` ``[patients, 13]``; ``CR``, grams that a unit of insulin
    covers; ``CF``, by how many mg/dL it lowers glucose; ``basal``, units a minute.
    """
    rows = [row for row in _read("vpatient_params.csv") if row["Name"].startswith(kind)]
    told = {row["Name"]: row for row in _read("Quest.csv")}
    found = {name: np.array([float(row[name]) for row in rows]) for name in NAMES}
    found["start"] = np.array([[float(row[f"x0_{i:2d}"]) for i in range(1, 14)] for row in rows])
    for name in ("CR", "CF"):
        found[name] = np.array([float(told[row["Name"]][name]) for row in rows])
    found["basal"] = found["u2ss"] * found["BW"] / 6000
    return found


def _read(name: str) -> list[dict[str, str]]:
    with (FOLDER / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


class Bodies:
    """Patients ``[n]`` as they are at a minute.

    Attributes:
        state: ``[13, n]``: stomach (solid, liquid), gut, glucose (plasma, tissue), insulin (plasma,
            its action in three parts, liver, two places under the skin), glucose under the skin.
    """

    def __init__(self, kind: str, number: np.ndarray, substeps: int, dtype: torch.dtype):
        """Start patients ``number[n]`` of a kind; a minute takes so many steps."""
        table = virtual_patients(kind)
        self.of = p = {name: torch.as_tensor(table[name][number], dtype=dtype) for name in NAMES}
        # What of the equations never changes.
        p |= {f"{a} + {b}": p[a] + p[b] for a, b in (("m2", "m4"), ("m1", "m30"), ("ka1", "kd"))}
        p |= {"f * kabs": p["f"] * p["kabs"], "1 - b": 1 - p["b"]}
        p |= {"(kmax - kmin) / 2": (p["kmax"] - p["kmin"]) / 2}
        self.basal = torch.as_tensor(table["basal"][number], dtype=dtype)
        self.state = torch.as_tensor(table["start"][number].T.copy(), dtype=dtype)
        self.substeps = substeps
        zeros = torch.zeros(len(number), dtype=dtype)
        self.to_eat, self.stomach_before, self.eaten = zeros, zeros, zeros
        self.eating = torch.zeros(len(number), dtype=torch.bool)

    @property
    def glucose(self) -> Tensor:
        """Glucose under the skin in mg/dL, ``[n]``, as a sensor sees it."""
        return self.state[12] / self.of["Vg"]

    def minute(self, carbohydrates: Tensor | float, bolus: Tensor | float) -> None:
        """Go on by a minute, after grams are served ``[n]``, with units injected ``[n]``."""
        self.to_eat = self.to_eat + carbohydrates
        eats = self.to_eat.clamp_max(EATEN)
        self.to_eat = self.to_eat - eats
        eating = eats > 0
        begins = eating & ~self.eating
        self.stomach_before = torch.where(
            begins, self.state[0] + self.state[1], self.stomach_before
        )
        self.eaten = torch.where(begins, eats, self.eaten + eats)
        self.eating = eating
        insulin = (self.basal + bolus) * 6000 / self.of["BW"]
        meal = self.stomach_before + 1000 * self.eaten
        for _ in range(self.substeps):
            self.state = self._step(1 / self.substeps, eats * 1000, insulin, meal)

    def _step(self, size: float, eats: Tensor, insulin: Tensor, meal: Tensor) -> Tensor:
        x = self.state
        one = self.change(x, eats, insulin, meal)
        two = self.change(x.add(one, alpha=size / 2), eats, insulin, meal)
        three = self.change(x.add(two, alpha=size / 2), eats, insulin, meal)
        four = self.change(x.add(three, alpha=size), eats, insulin, meal)
        return x.add(one.add_(two.add_(three), alpha=2).add_(four), alpha=size / 6)

    def change(self, x: Tensor, eats: Tensor, insulin: Tensor, meal: Tensor) -> Tensor:
        """Return the derivative ``[13, n]`` by minutes of states ``[13, n]``.

        At mg eaten and pmol/kg injected a minute; `meal` is what the stomach's emptying depends on,
        what was in it before the meal and what was eaten of it.
        """
        p = self.of
        solid, liquid, gut, plasma, tissue, insulin_plasma, *others = x.unbind()
        action, delayed, later, liver, first, second, skin = others
        emptied = self._emptying(solid + liquid, meal) * liquid
        appears = p["f * kabs"] * gut / p["BW"]
        produced = (p["kp1"] - p["kp2"] * plasma - p["kp3"] * later).clamp_min(0)
        excreted = p["ke1"] * (plasma - p["ke2"]).clamp_min(0)
        leaves = p["k1"] * plasma - p["k2"] * tissue
        used = (p["Vm0"] + p["Vmx"] * action) * tissue / (p["Km0"] + tissue)
        absorbed = p["ka1"] * first + p["ka2"] * second
        concentration = insulin_plasma / p["Vi"]
        ground = p["kmax"] * solid
        change = torch.stack(
            [
                eats - ground,
                ground - emptied,
                emptied - p["kabs"] * gut,
                produced + appears - p["Fsnc"] - excreted - leaves,
                leaves - used,
                p["m1"] * liver - p["m2 + m4"] * insulin_plasma + absorbed,
                p["p2u"] * (concentration - p["Ib"] - action),
                p["ki"] * (concentration - delayed),
                p["ki"] * (delayed - later),
                p["m2"] * insulin_plasma - p["m1 + m30"] * liver,
                insulin - p["ka1 + kd"] * first,
                p["kd"] * first - p["ka2"] * second,
                p["ksc"] * (plasma - skin),
            ]
        )
        return change.mul_((x >= 0).logical_or_(FREE))

    def _emptying(self, stomach: Tensor, meal: Tensor) -> Tensor:
        """Return how fast the stomach empties, which depends on how full it is, ``[n]``."""
        p, per = self.of, 2.5 / meal.clamp_min(1e-9)
        high = torch.tanh(per / p["1 - b"] * (stomach - p["b"] * meal))
        low = torch.tanh(per / p["d"] * (stomach - p["d"] * meal))
        slow = p["kmin"] + p["(kmax - kmin) / 2"] * (high - low + 2)
        return torch.where(meal > 0, slow, p["kmax"])

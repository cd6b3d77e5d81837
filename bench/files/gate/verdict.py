"""Verdict: what the gate has compared of a file and a world, in how many rows, with the outcome."""

from typing import Literal

from pydantic import BaseModel

# Part of a verdict's name: raise it when the same file and world would be judged otherwise.
GATE_VERSION = 1

Trust = Literal["check", "refuse", "ignore"]


class RewardMap(BaseModel):
    """Recorded rewards as ``slope * reward + offset`` of the world's."""

    slope: float
    offset: float

    def __str__(self) -> str:
        """Return it as a formula."""
        offset = f" {'-' if self.offset < 0 else '+'} {abs(self.offset):g}" if self.offset else ""
        return f"{self.slope:g} x the world's{offset}"


class Verdict(BaseModel):
    """What was compared.

    Attributes:
        world: What the data was compared with; None where there is nothing to compare with.
        compared: Rows that were compared, by what of them.
        not_compared: Why something could not be compared, by what.
        disagreements: What the file says and the world denies, each a clause of a sentence.
        fits: Whether policies that are learned on the data could act in the world at all.
        reward_map: How recorded rewards follow from the world's; None where they are the same.
    """

    world: str | None = None
    compared: dict[str, int] = {}
    not_compared: dict[str, str] = {}
    disagreements: list[str] = []
    fits: bool = True
    reward_map: RewardMap | None = None

    @property
    def result(self) -> str:
        """The outcome in a word or two."""
        if self.disagreements:
            return "disagrees"
        if self.reward_map is not None:
            return "agrees but for rewards"
        return "agrees" if self.compared else "not compared"

    def told(self, name: str, trust: Trust) -> dict[str, object]:
        """Return what a record says of it."""
        found = self.model_dump(exclude={"fits"})
        said = self.said(name, trust)
        return {"trust": trust, "result": self.result, **found, "said": said}

    def said(self, name: str, trust: Trust) -> str | None:
        """Return what whoever reads the numbers must know, as a sentence; None if nothing."""
        if self.disagreements and trust == "ignore":
            return f"{self.world} is not the world of {name}, which is ignored: {self.sentence}."
        if self.reward_map is not None and trust == "ignore":
            return f"Rewards of {name} are {self.reward_map}, which is ignored."
        if self.reward_map is not None:
            return f"Rewards of {name} are {self.reward_map}: so are its values and regrets."
        return None

    @property
    def sentence(self) -> str:
        """What disagrees, without a full stop."""
        return ", and ".join(self.disagreements)

    @classmethod
    def nothing(cls, why: str) -> "Verdict":
        """Return that nothing was compared."""
        return cls(not_compared={"world": why})

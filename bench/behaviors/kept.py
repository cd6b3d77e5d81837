"""What a training of behavior policies leaves in the user's cache folder, and the way back.

A folder per environment: ``card.json``, ``curve.csv``, a file per policy and the replay buffer.
"""

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from bench.behaviors.actor import Actor
from bench.data.storage import Storage
from bench.files.flat import UnusableFile, accessible, cache_folder

CARD, CURVE, REPLAY = "card.json", "curve.csv", "medium_replay"


class Returns(BaseModel):
    """Mean return of a policy's episodes, and what their rewards range over."""

    mean: float
    standard_error: float
    episodes: int
    reward_min: float
    reward_max: float


class Policy(Returns):
    """A kept policy: its returns, and the steps of training after which it was kept."""

    steps: int


class Card(BaseModel):
    """How policies of an environment were trained, and what they return.

    Attributes:
        id: The environment's id in gymnasium.
        seed: Of the training.
        settings: Of the training.
        versions: Of the packages that it was made with.
        random: Returns of the uniform policy.
        policies: Those that were kept, by name; ``expert`` and ``medium`` among them.
        replay: Transitions seen before ``medium`` was reached.
    """

    id: str
    seed: int
    settings: dict[str, Any]
    versions: dict[str, str]
    random: Returns
    policies: dict[str, Policy]
    replay: int


def folder_of(gymnasium_id: str) -> Path:
    """Return the folder of an environment's policies."""
    return cache_folder() / "behaviors" / gymnasium_id


def policy_path(folder: Path, name: str) -> Path:
    """Return the file of a policy."""
    return folder / f"policy_{name}.npz"


def card_of(gymnasium_id: str) -> Card | None:
    """Return the card of an environment's policies, None if there are none.

    Raises:
        UnusableFile: If it is damaged.
    """
    path = folder_of(gymnasium_id) / CARD
    with accessible():
        try:
            return Card.model_validate_json(path.read_text("utf-8"))
        except FileNotFoundError:
            return None
        except ValidationError:
            raise UnusableFile(f"{path} is damaged: remove the folder and train again") from None


def digest_of(card: Card) -> str:
    """Return what tells one training from another, 16 hexadecimal digits."""
    return hashlib.sha256(card.model_dump_json().encode()).hexdigest()[:16]


@lru_cache(16)
def actor_of(gymnasium_id: str, name: str, digest: str) -> Actor:
    """Return a kept policy of the training that `digest` names."""
    del digest
    with accessible():
        return Actor.load(policy_path(folder_of(gymnasium_id), name))


def replay_of(gymnasium_id: str) -> Storage:
    """Return the transitions seen in training before ``medium`` was reached.

    Raises:
        UnusableFile: If they are damaged.
    """
    path = folder_of(gymnasium_id) / REPLAY
    with accessible():
        storage = Storage.load(path)
    if storage is None:
        raise UnusableFile(f"{path} is damaged: remove the folder above and train again")
    return storage

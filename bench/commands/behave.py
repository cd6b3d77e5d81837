"""`python -m bench behave dataset=hopper`: policies that collect data, trained once."""

from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError

from bench import CONF
from bench.behaviors.kept import CARD, Card, card_of, folder_of
from bench.behaviors.source import Trained
from bench.behaviors.training import TrainingSettings, train
from bench.settings.groups import file_of, known_names
from bench.settings.typed import ConfigError, checked
from bench.types import Seed

TARGET = f"{Trained.__module__}.{Trained.__qualname__}"
HELP = """\
python -m bench behave dataset=NAME [dataset.id=ID] [seed=0] [behave.KEY=VALUE ...]
  Trains behavior policies in an environment by stable-baselines3 (`pip install -e ".[behavior]"`)
  and keeps the expert, a medium one, its replay buffer, a learning curve and a card.
  `dataset=NAME behavior=expert` collects by them. Names are {names}; keys and
  their values: {keys}."""


def main(words: list[str]) -> int:
    """Train, say what was kept, and return the exit status."""
    defaults = yaml.safe_load((CONF / "behave.yaml").read_text("utf-8"))
    names = [
        name for name in known_names("dataset") if file_of("dataset", name)["target"] == TARGET
    ]
    if "--help" in words or "-h" in words:
        keys = ", ".join(f"behave.{key}={value}" for key, value in defaults.items())
        print(HELP.format(names=", ".join(names), keys=keys))
        return 0
    gymnasium_id, seed, given = _understood(words, names)
    settings: TrainingSettings = checked(TrainingSettings, {**defaults, **given}, "behave")
    card = card_of(gymnasium_id)
    folder = folder_of(gymnasium_id)
    if card is None:
        try:
            card = train(gymnasium_id, seed, settings, print)
        except ValueError as error:
            raise ConfigError(f"{error}.") from None
    elif (card.seed, card.settings) != (seed, settings.model_dump(mode="json")):
        raise ConfigError(
            f"{folder} holds policies of another training, as its {CARD} says: remove it first."
        )
    _print(card)
    print(f"They are in {folder}.")
    return 0


def _print(card: Card) -> None:
    print(f"random: mean return {card.random.mean:.1f} ({card.random.standard_error:.1f})")
    for name, policy in card.policies.items():
        print(
            f"{name}: mean return {policy.mean:.1f} ({policy.standard_error:.1f}) after "
            f"{policy.steps:,} steps"
        )
    print(f"medium_replay: {card.replay:,} transitions")


def _understood(words: list[str], names: list[str]) -> tuple[str, int, dict[str, Any]]:
    """Return the environment's id, the seed and what is said of the training."""
    given: dict[str, Any] = {}
    for word in words:
        key, found, value = word.partition("=")
        known = key in ("dataset", "dataset.id", "seed") or key.startswith("behave.")
        if not found or not known:
            raise ConfigError(f"{word!r} is no word of behave; `python -m bench behave --help`.")
        if key in given:
            raise ConfigError(f"{key} is given twice.")
        try:
            given[key] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise ConfigError(f"{word!r} cannot be understood.") from None
    name = given.pop("dataset", None)
    if name is not None and name not in names:
        raise ConfigError(f"dataset is {name!r}, but should be one of: {', '.join(names)}.")
    gymnasium_id = given.pop("dataset.id", None if name is None else file_of("dataset", name)["id"])
    if not isinstance(gymnasium_id, str):
        raise ConfigError(f"behave needs dataset=NAME, one of: {', '.join(names)}.")
    try:
        seed = TypeAdapter(Seed).validate_python(given.pop("seed", 0), strict=True)
    except ValidationError:
        raise ConfigError("seed should be a whole number from 0.") from None
    return gymnasium_id, seed, {key.removeprefix("behave."): v for key, v in given.items()}

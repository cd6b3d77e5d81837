"""Training of behavior policies by stable-baselines3, once per environment.

The policy is measured in fixed intervals, by its mode. ``expert`` is the best one measured,
``medium`` the first that reaches a third of the way from the uniform policy's return to the
expert's, ``return_R`` the first that reaches R. What training saw up to ``medium`` is kept.
"""

import csv
import importlib.metadata
import importlib.util
import io
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import gymnasium

from bench import seeding
from bench.atomic import atomic_folder
from bench.behaviors.actor import Actor
from bench.behaviors.kept import CARD, CURVE, REPLAY, Card, Policy, Returns, folder_of, policy_path
from bench.behaviors.models import TrainingSettings, actor_in, model_of, num_worlds
from bench.behaviors.seen import Seen, seen_by
from bench.data.registered import MAX_STEPS
from bench.settings.typed import ConfigError
from bench.types import Seed
from bench.worlds.simulators.live import LiveEnvironment
from bench.worlds.simulators.registered import Registered, Rollouts, episodes_of, uniform_episodes
from bench.worlds.spaces import from_unit

MEDIUM_SHARE = 1 / 3
PACKAGES = ("stable-baselines3", "gymnasium", "mujoco", "torch", "numpy")


class Measured(NamedTuple):
    """A policy on the way, with the returns of its episodes."""

    steps: int
    actor: Actor
    rollouts: Rollouts


def train(
    gymnasium_id: str, seed: Seed, settings: TrainingSettings, on_measure: Callable[[str], None]
) -> Card:
    """Train and keep policies, all files or none; `on_measure` is told of every measurement.

    Raises:
        ConfigError: If the extra is missing, or no measurement reaches above the uniform policy.
        ValueError: If gymnasium cannot make the environment, or its actions are no finite box.
    """
    if importlib.util.find_spec("stable_baselines3") is None:
        raise ConfigError('Training behavior policies needs `pip install -e ".[behavior]"`.')
    limit = gymnasium.spec(gymnasium_id).max_episode_steps or MAX_STEPS
    environment = Registered(gymnasium_id, None).environment(gymnasium_id, 0, 0.99, limit)
    if not isinstance(environment, LiveEnvironment) or environment.spec.action_bounds is None:
        raise ConfigError(f"{gymnasium_id} needs no training: its behaviors are known here.")
    copies = num_worlds(settings)
    worlds = [
        Seen(gymnasium.make(gymnasium_id), settings.num_steps // copies) for _ in range(copies)
    ]
    measured: list[Measured] = []

    def measure(steps: int, actor: Actor) -> None:
        found = _rollouts(environment, actor, seed, settings.eval_episodes)
        measured.append(Measured(steps, actor, found))
        on_measure(f"{steps:,} of {settings.num_steps:,} steps: {found}")

    _learn(worlds, seed, settings, measure)
    random = uniform_episodes(gymnasium_id, limit)
    kept = _kept(measured, random.mean_return, settings)
    seen = seen_by(worlds, kept["medium"].steps)
    card = Card(
        id=gymnasium_id,
        seed=seed,
        settings=settings.model_dump(mode="json"),
        versions=_versions(),
        random=Returns(**_returns(random)),
        policies={
            name: Policy(
                steps=found.steps,
                **_returns(_rollouts(environment, found.actor, seed, settings.final_episodes)),
            )
            for name, found in kept.items()
        },
        replay=len(seen),
    )
    with atomic_folder(folder_of(gymnasium_id)) as folder:
        for name, found in kept.items():
            found.actor.save(policy_path(folder, name))
        (folder / CURVE).write_text(_curve(measured), "utf-8")
        seen.save(folder / REPLAY)
        (folder / CARD).write_text(card.model_dump_json(indent=1), "utf-8")
    return card


def _learn(
    worlds: Sequence[Seen],
    seed: int,
    settings: TrainingSettings,
    measure: Callable[[int, Actor], None],
) -> None:
    from stable_baselines3.common.callbacks import BaseCallback

    model = model_of(worlds, seed, settings)

    class Measure(BaseCallback):
        measured = 0

        def _on_step(self) -> bool:
            if self.num_timesteps // settings.eval_every > self.measured:
                self.measured = self.num_timesteps // settings.eval_every
                measure(self.num_timesteps, actor_in(model))
            return self.num_timesteps < settings.num_steps

    model.learn(settings.num_steps, callback=Measure())


def _rollouts(environment: LiveEnvironment, actor: Actor, seed: int, num_episodes: int) -> Rollouts:
    bounds = environment.spec.action_bounds
    assert bounds is not None
    rng = seeding.numpy_generator("behavior", seed)
    return episodes_of(environment, lambda x: from_unit(actor(x), bounds), rng, num_episodes)


def _kept(
    measured: list[Measured], random: float, settings: TrainingSettings
) -> dict[str, Measured]:
    if not measured:
        raise ConfigError(
            f"behave.eval_every is {settings.eval_every}, but should be at most behave.num_steps, "
            f"which is {settings.num_steps}."
        )
    best = max(measured, key=lambda m: m.rollouts.mean_return)
    top = best.rollouts.mean_return
    if top <= random:
        raise ConfigError(
            f"Nothing was learned in {settings.num_steps} steps: the best mean return is "
            f"{top:.4g}, the uniform policy's {random:.4g}; set behave.num_steps higher."
        )
    wanted = {"medium": random + MEDIUM_SHARE * (top - random)}
    wanted |= {f"return_{value:g}": value for value in settings.returns if value <= top}
    reached = {
        name: next(m for m in measured if m.rollouts.mean_return >= value)
        for name, value in wanted.items()
    }
    return {"expert": best, **reached}


def _returns(found: Rollouts) -> dict[str, Any]:
    return {
        "mean": found.mean_return,
        "standard_error": found.standard_error,
        "episodes": len(found.returns),
        "reward_min": found.reward_min,
        "reward_max": found.reward_max,
    }


def _curve(measured: list[Measured]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("steps", "return_mean", "standard_error", "episodes"))
    for found in measured:
        told = found.rollouts
        writer.writerow((found.steps, told.mean_return, told.standard_error, len(told.returns)))
    return text.getvalue()


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found

"""How stable-baselines3 trains a policy, and its networks as an `Actor`."""

from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any, Literal

import gymnasium
import numpy as np
from pydantic import BaseModel, Field

from bench.behaviors.actor import Actor, End
from bench.settings.typed import STRICT
from bench.types import Count, Positive, Seed

World = gymnasium.Env[Any, Any]

# PPO acts in so many copies of the world at once, which is what makes it cheap.
COPIES = 8
# Its steps between two updates, a minibatch of them, and the logarithm of its policy's first
# standard deviation, in actions of [-1, 1].
ROLLOUT = 2048
MINIBATCH = 256
LOG_STD = -0.5


class TrainingSettings(BaseModel):
    """Settings of conf/behave.yaml.

    Attributes:
        algorithm: Of stable-baselines3. SAC and TD3 learn from fewer steps, PPO costs less a step:
            some ten minutes of one core for a million of Hopper's.
        hidden_sizes: Of policy and critics.
        learning_rate: Of all networks.
        num_steps: Length of training in steps of the environment.
        eval_every: Steps between measurements.
        eval_episodes: Episodes of each; kept policies are measured again by `final_episodes`.
        returns: Mean returns at which a policy is kept, beside expert and medium.
    """

    model_config = STRICT
    algorithm: Literal["SAC", "TD3", "PPO"]
    hidden_sizes: Annotated[tuple[Count, ...], Field(strict=False)]
    learning_rate: Positive
    num_steps: Count
    eval_every: Count
    eval_episodes: Annotated[int, Field(ge=2)]
    final_episodes: Annotated[int, Field(ge=2)]
    returns: Annotated[tuple[float, ...], Field(strict=False)]


def num_worlds(settings: TrainingSettings) -> int:
    """Return in how many copies of a world a training acts at once."""
    return COPIES if settings.algorithm == "PPO" else 1


def model_of(worlds: Sequence[World], seed: Seed, settings: TrainingSettings) -> Any:
    """Return a model of stable-baselines3 that is to learn in `num_worlds` worlds."""
    if settings.algorithm == "PPO":
        return _on_policy(worlds, seed, settings)
    import stable_baselines3

    return getattr(stable_baselines3, settings.algorithm)(
        "MlpPolicy",
        worlds[0],
        seed=seed,
        learning_rate=settings.learning_rate,
        buffer_size=settings.num_steps,
        policy_kwargs={"net_arch": list(settings.hidden_sizes)},
        device="cpu",
    )


def _on_policy(worlds: Sequence[World], seed: Seed, settings: TrainingSettings) -> Any:
    """Return PPO as it is commonly run in MuJoCo: observations and rewards in running units.

    Its actions are in [-1, 1] per dimension, as those of SAC and TD3 are by themselves.
    """
    from stable_baselines3 import PPO
    from stable_baselines3.common.monitor import Monitor
    from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize
    from torch import nn

    def made(world: World) -> Monitor:
        return Monitor(gymnasium.wrappers.RescaleAction(world, np.float32(-1), np.float32(1)))

    per_copy = max(2, min(ROLLOUT, settings.eval_every) // COPIES)
    return PPO(
        "MlpPolicy",
        VecNormalize(DummyVecEnv([partial(made, world) for world in worlds])),
        seed=seed,
        learning_rate=settings.learning_rate,
        n_steps=per_copy,
        batch_size=min(MINIBATCH, per_copy * COPIES),
        policy_kwargs={
            "net_arch": list(settings.hidden_sizes),
            "activation_fn": nn.ReLU,
            "log_std_init": LOG_STD,
        },
        device="cpu",
    )


def actor_in(model: Any) -> Actor:
    """Return the policy of a model of stable-baselines3, by its mode."""
    policy, running = model.policy, model.get_vec_normalize_env()
    if running is None:
        actor = policy.actor
        return _actor([*getattr(actor, "latent_pi", []), *actor.mu.modules()], "tanh")
    plain = _actor([*policy.mlp_extractor.policy_net, policy.action_net], "clip")
    seen = running.obs_rms
    return plain.standardised(seen.mean.ravel(), np.sqrt(seen.var.ravel() + running.epsilon))


def _actor(parts: list[Any], end: End) -> Actor:
    from torch import nn

    layers = [part for part in parts if isinstance(part, nn.Linear)]
    return Actor(
        tuple(layer.weight.detach().cpu().numpy().copy() for layer in layers),
        tuple(layer.bias.detach().cpu().numpy().copy() for layer in layers),
        end,
    )

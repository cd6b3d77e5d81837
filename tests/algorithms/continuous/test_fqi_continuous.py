"""FQI of continuous actions: both ways to the maximum against plain torch."""

import pytest
import torch

from algorithms.continuous.fqi import NEW_ITERATION, SAME_ITERATION, State
from algorithms.optimizers import adam_init
from tests.support.builders import (
    as_module,
    build_algorithm,
    random_batch,
    random_network,
    same,
    same_weights,
)
from tests.support.continuous import (
    ACTOR_RATE,
    CLOSE,
    DISCOUNT,
    RATE,
    SPEC,
    mean_of,
    step,
    uniform,
    value_of,
)

INTERVAL = 4


def learner(maximizer):
    return build_algorithm(
        "fqi",
        "continuous",
        maximizer=maximizer,
        target_interval=INTERVAL,
        **{"learning_rate": RATE, "maximizer.learning_rate": ACTOR_RATE, "num_actions": 6},
    )


def new_state(maximizer, scale=1.0):
    critic = random_network((6, 8, 1), seed=1)
    kept, training = 2 * uniform({"drawn": (6, 2)}, 5)["drawn"] - 1, ()
    if maximizer == "policy":
        kept = random_network((4, 8, 2), seed=2)
        training = adam_init(kept)
    scale = torch.tensor(scale).double()
    return State(critic, critic, kept, kept, adam_init(critic), training, scale)


class Policy:
    """A network that is trained to maximise."""

    def __init__(self, kept):
        self.actor = as_module(kept)
        self.optimizer = torch.optim.Adam(self.actor.parameters(), lr=ACTOR_RATE)

    def best(self, critic, observation):
        return self.actor(observation).tanh()

    def update(self, critic, batch):
        value = value_of(critic, batch.observation, self.best(critic, batch.observation))
        step(self.optimizer, -mean_of(value, batch))


class Sampled:
    """The best of some actions, one state after the other."""

    def __init__(self, kept):
        self.actions = kept

    def best(self, critic, observation):
        def of(row):
            here = row.expand(len(self.actions), -1)
            return self.actions[value_of(critic, here, self.actions).argmax()]

        return torch.stack([of(row) for row in observation])

    def update(self, critic, batch):
        pass


@pytest.mark.parametrize(("name", "kind"), [("policy", Policy), ("sampled", Sampled)])
@pytest.mark.parametrize("scale", [1.0, 0.3])
def test_ten_updates_are_those_of_torch(name, kind, scale):
    algorithm, state = learner(name), new_state(name, scale)
    critic, maximizer = as_module(state.critic), kind(state.maximizer)
    optimizer = torch.optim.Adam(critic.parameters(), lr=RATE)
    for index in range(10):
        batch = random_batch(SPEC, 12, index)
        phase = algorithm.phase(index)
        assert phase == (NEW_ITERATION if index % INTERVAL == 0 else SAME_ITERATION)
        if phase == NEW_ITERATION:
            frozen, best = as_module(state.critic), kind(state.maximizer).best
        with torch.no_grad():
            following = best(frozen, batch.next_observation)
            value = value_of(frozen, batch.next_observation, following)
            target = scale * batch.reward + DISCOUNT * (1 - batch.terminated) * value
        state, metrics = algorithm.update(state, None, batch, {}, phase)
        error = mean_of((value_of(critic, batch.observation, batch.action) - target) ** 2, batch)
        torch.testing.assert_close(metrics["loss"], error.detach(), **CLOSE)
        step(optimizer, error)
        maximizer.update(critic, batch)
    same_weights(state.critic, critic, **CLOSE)
    if name == "policy":
        same_weights(state.maximizer, maximizer.actor, **CLOSE)
    observation = random_batch(SPEC, 8, 99).observation
    acted = algorithm.policy(state, observation.reshape(2, 4, 4)).mode().reshape(8, 2)
    torch.testing.assert_close(acted, maximizer.best(critic, observation).detach(), **CLOSE)


@pytest.mark.parametrize("name", ["policy", "sampled"])
def test_within_an_iteration_the_target_stays(name):
    algorithm, state = learner(name), new_state(name)
    state, _ = algorithm.update(state, None, random_batch(SPEC, 12), {}, NEW_ITERATION)
    later, _ = algorithm.update(state, None, random_batch(SPEC, 12, 1), {}, SAME_ITERATION)
    assert same((later.target_critic, later.target_maximizer),
                (state.target_critic, state.target_maximizer))  # fmt: skip
    assert not same(later.critic, later.target_critic)


def test_sampled_actions_are_drawn_once_and_uniform():
    algorithm = learner("sampled")
    state = algorithm.init(SPEC, None, torch.Generator().manual_seed(0))
    assert state.maximizer.shape == (6, 2)
    assert same(state.maximizer, state.target_maximizer)
    many = build_algorithm("fqi", "continuous", maximizer="sampled", num_actions=4000)
    drawn = many.init(SPEC, None, torch.Generator().manual_seed(0)).maximizer
    torch.testing.assert_close(drawn.mean(0), torch.zeros(2), atol=0.03, rtol=0)
    torch.testing.assert_close(drawn.var(0), torch.full((2,), 1 / 3), atol=0.02, rtol=0)

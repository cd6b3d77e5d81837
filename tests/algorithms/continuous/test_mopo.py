"""MOPO: its updates against plain torch, its rollouts against loops over single rows."""

import math

import torch
from torch.distributions import Bernoulli, Normal

from algorithms.continuous.mopo import MODEL, POLICY, State
from algorithms.optimizers import adam_init
from algorithms.pieces.dynamics import NARROWEST, WIDEST, Model
from tests.support import continuous
from tests.support.builders import as_module, random_batch, random_network, same, same_weights
from tests.support.continuous import (
    CLOSE,
    RATE,
    SPEC,
    EntropyWeight,
    Twins,
    mean_of,
    new_soft_learner,
    noise_of,
    normal_of,
    squashed,
    step,
    value_of,
)

MODELS, HORIZON, SCALE, PENALTY, REAL = 3, 2, 2.0, 0.7, 0.4
SIZES = (6, 8, 11)  # four observations and two actions; means and log-stds of five, and the end


def learner(**settings):
    given = {"num_models": MODELS, "horizon": HORIZON, "penalty": PENALTY, "real_share": REAL}
    return continuous.learner("mopo", **{"model_learning_rate": RATE} | given | settings)


def new_models(scale=1.0):
    drawn = [random_network(SIZES, seed=50 + i, scale=scale) for i in range(MODELS)]
    return tuple(
        {
            "weight": torch.stack([layer["weight"] for layer in several]),
            "bias": torch.stack([layer["bias"] for layer in several]).unsqueeze(1),
        }
        for several in zip(*drawn, strict=True)
    )


def modules_of(models):
    return [
        as_module(tuple({"weight": x["weight"][i], "bias": x["bias"][i, 0]} for x in models))
        for i in range(MODELS)
    ]


def new_state():
    ensemble = new_models(0.3)
    return State(Model(ensemble, adam_init(ensemble)), new_soft_learner(SCALE))


def prediction(module, observation, action):
    """Return mean, standard deviation and logit that a module gives for a row or for many."""
    outputs = module(torch.cat([observation, action], -1))
    mean, spread, ended = outputs[..., :5], outputs[..., 5:10], outputs[..., 10]
    return mean, (NARROWEST + (WIDEST - NARROWEST) * spread.sigmoid()).exp(), ended


def rows_of(batch):
    names = ("observation", "action", "reward", "next_observation", "terminated", "weight")
    return {name: getattr(batch, name) for name in names}


def rolled_out(state, batch, noise):
    """Return the rows that the model makes, by a loop over rows and steps."""
    models = modules_of(state.model.networks)
    actor = as_module(state.learner.actor.network)
    total = batch.weight.sum()
    made = {name: [] for name in rows_of(batch)}
    observation, alive = batch.observation.clone(), batch.weight / total * (1 - REAL) / HORIZON
    for at in range(HORIZON):
        following, action = torch.empty_like(observation), torch.empty_like(batch.action)
        reward, ended = torch.empty_like(alive), torch.empty_like(alive)
        for row in range(len(alive)):
            action[row] = squashed(actor, observation[row], noise["action"][at, row])[0]
            found = [prediction(m, observation[row], action[row]) for m in models]
            doubt = max(std.norm().item() for _, std, _ in found)
            mean, std, logit = found[int(MODELS * noise["model"][at, row])]
            outcome = mean + std * normal_of(noise["outcome"][at, row])
            following[row] = observation[row] + outcome[:4]
            reward[row] = outcome[4] - PENALTY * doubt
            ended[row] = float(logit > 0)
        here = (observation, action, reward, following, ended, alive)
        for name, column in zip(made, here, strict=True):
            made[name].append(column)
        alive = alive * (1 - ended)
        observation = following
    return {name: torch.cat(columns) for name, columns in made.items()}


def test_a_rollout_is_that_of_a_loop_and_what_has_ended_has_no_weight():
    algorithm, state, batch = learner(), new_state(), random_batch(SPEC, 12)
    noise = noise_of(algorithm, batch)
    with torch.no_grad():
        found, expected = algorithm.rollout(state, batch, noise), rolled_out(state, batch, noise)
    assert 0 < expected["terminated"].sum() < len(expected["terminated"])
    for name, column in rows_of(found).items():
        torch.testing.assert_close(column[12:], expected[name], rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(found.weight[:12].sum().item(), REAL)
    ended = (found.terminated[12:24] * found.weight[12:24]) > 0
    assert ended.any()
    assert (found.weight[24:][ended] == 0).all()


def test_the_model_s_updates_are_those_of_torch_and_move_nothing_else():
    algorithm, state = learner(), new_state()
    models, before = modules_of(state.model.networks), state
    optimizer = torch.optim.Adam([p for m in models for p in m.parameters()], lr=RATE)
    for index in range(10):
        batch = random_batch(SPEC, 12, index)
        state, told = algorithm.update(state, None, batch, noise_of(algorithm, batch), MODEL)
        change = batch.next_observation - batch.observation
        outcome = torch.cat([change, SCALE * batch.reward[:, None]], 1)
        loss = 0.0
        for model in models:
            mean, std, ended = prediction(model, batch.observation, batch.action)
            known = Normal(mean, std).log_prob(outcome).sum(1)
            known = known + Bernoulli(logits=ended).log_prob(batch.terminated)
            loss = loss - mean_of(known, batch)
        constant = MODELS * 5 * 0.5 * math.log(2 * math.pi)
        torch.testing.assert_close(told["model_loss"], loss.detach() - constant, **CLOSE)
        step(optimizer, loss)
    for mine, theirs in zip(modules_of(state.model.networks), models, strict=True):
        for left, right in zip(mine.parameters(), theirs.parameters(), strict=True):
            torch.testing.assert_close(left, right, **CLOSE)
    assert same(state.learner, before.learner)


def test_the_policy_s_updates_are_those_of_soft_actor_critic_on_both_kinds_of_rows():
    algorithm, state = learner(), new_state()
    twins, weight = Twins(state.learner), EntropyWeight(state.learner.actor)
    weight.optimizer = torch.optim.Adam([weight.log], lr=RATE)
    actor = as_module(state.learner.actor.network)
    optimizer = torch.optim.Adam(actor.parameters(), lr=RATE)
    for index in range(5):
        batch = random_batch(SPEC, 12, index)
        noise = noise_of(algorithm, batch, index)
        onward, here = (noise[name].flatten(0, 1) for name in ("target", "actor"))
        with torch.no_grad():
            made = rolled_out(state, batch._replace(reward=SCALE * batch.reward), noise)
        real = rows_of(batch._replace(reward=SCALE * batch.reward))
        real["weight"] = REAL * real["weight"] / real["weight"].sum()
        rows = batch._replace(**{name: torch.cat([real[name], made[name]]) for name in real})
        state, _ = algorithm.update(state, None, batch, noise, POLICY)
        with torch.no_grad():
            following, density = squashed(actor, rows.next_observation, onward)
            worth = -weight.log.exp() * density
            goes_on = continuous.DISCOUNT * (1 - rows.terminated)
            target = twins.target(rows, rows.reward, following) + goes_on * worth
        action, density = squashed(actor, rows.observation, here)
        value = torch.min(*(value_of(critic, rows.observation, action) for critic in twins.fast))
        actor_loss = weight.actor_loss(rows, density, value)
        entropy_loss = weight.loss(rows, density)
        step(optimizer, actor_loss)
        step(twins.optimizer, twins.error(rows, target))
        step(weight.optimizer, entropy_loss)
        twins.follow()
    same_weights(state.learner.actor.network, actor, **CLOSE)
    twins.check(state.learner)
    weight.check(state.learner.actor)


def test_doubt_is_the_largest_of_the_models_and_taken_off_rewards():
    batch, state = random_batch(SPEC, 12), new_state()
    noise = noise_of(learner(), batch)
    free, paid, dear = (
        learner(penalty=p).rollout(state, batch, noise).reward[12:] for p in (0.0, 1.0, 3.0)
    )
    assert (free > paid).all()
    # What is done next does not depend on rewards.
    torch.testing.assert_close(free - dear, 3 * (free - paid))
    first = tuple(
        {k: v[:1].expand_as(v) for k, v in layer.items()} for layer in state.model.networks
    )
    agreed = state._replace(model=state.model._replace(networks=first))
    less = learner(penalty=1.0).rollout(agreed, batch, noise).reward[12:24]
    own = learner(penalty=0.0).rollout(agreed, batch, noise).reward[12:24] - less
    assert (own <= (free - paid)[:12] + 1e-12).all()


def test_the_model_learns_first():
    algorithm = learner(model_updates=3)
    assert [algorithm.phase(index) for index in range(5)] == [MODEL] * 3 + [POLICY] * 2

"""ATAC of numbered actions: losses by loops, pessimism and consistency on tables."""

import numpy as np
import torch

from algorithms.atac import ADVERSARIAL, WARM, State
from algorithms.optimizers import adam_init
from bench.worlds import exact
from bench.worlds.mdps import Garnet
from tests.support.builders import (
    as_module,
    build_algorithm,
    make_cohort,
    make_dataset,
    make_spec,
    random_batch,
    random_network,
    same_weights,
    train,
)

SPEC = make_spec("vector", size=4, num_actions=3)
DISCOUNT, RATE, ACTOR_RATE, POLYAK = 0.9, 0.01, 0.003, 0.1
RANGE, BETA, RESIDUAL, WANTED = (-1.5, 1.0), 3.0, 0.3, 0.2


def learner(**settings):
    given = {"learning_rate": RATE, "actor_learning_rate": ACTOR_RATE, "polyak": POLYAK}
    given |= {"beta": BETA, "residual_weight": RESIDUAL, "target_entropy": WANTED}
    return build_algorithm("atac", **given | {"warm_updates": 5, "largest_norm": 4.0} | settings)


def pair(seed):
    networks = [random_network((4, 8, 3), seed=10 * seed + twin) for twin in range(2)]
    stacked = tuple(
        {part: torch.stack([layer[part] for layer in both]) for part in both[0]}
        for both in zip(*networks, strict=True)
    )
    return [as_module(network) for network in networks], stacked


def stepped(optimizer, loss):
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def loss_of_critics(fast, slow, policy, batch, pessimistic):
    """Return the critics' loss, one transition at a time."""
    total = 0.0
    for row in range(len(batch.action)):
        here, following = batch.observation[row], batch.next_observation[row]
        with torch.no_grad():
            now, then = policy(here).softmax(-1), policy(following).softmax(-1)

        def backup(value, row=row):
            worth = batch.reward[row] + DISCOUNT * (1 - batch.terminated[row]) * value
            return worth.clamp(*RANGE)

        with torch.no_grad():
            target = backup(then @ torch.min(*(c(following) for c in slow)))
        for critic in fast:
            value = critic(here)[batch.action[row]]
            loss = (value - target) ** 2
            if pessimistic:
                residual = (value - backup(then @ critic(following))) ** 2
                relative = now @ critic(here) - value
                loss = relative / BETA + (1 - RESIDUAL) * loss + RESIDUAL * residual
            total = total + batch.weight[row] * loss
    return total / batch.weight.sum()


def test_twelve_updates_are_those_of_loops_in_torch():
    actor, weight = random_network((4, 8, 3), seed=1), torch.tensor(-1.0).double()
    (fast, critics), (slow, targets) = pair(3), pair(4)
    optimizers = adam_init(actor), adam_init(weight), adam_init(critics)
    state = State(actor, weight, critics, targets, *optimizers, torch.tensor(RANGE).double())
    policy, log_weight = as_module(actor), weight.clone().requires_grad_()
    critic_adam, actor_adam, weight_adam = (
        torch.optim.Adam(parameters, lr=rate)
        for parameters, rate in (
            ([p for critic in fast for p in critic.parameters()], RATE),
            (policy.parameters(), RATE),
            ([log_weight], ACTOR_RATE),
        )
    )
    algorithm = learner()
    for index in range(12):
        batch, phase = random_batch(SPEC, 12, index), algorithm.phase(index)
        assert phase == (WARM if index < 5 else ADVERSARIAL)
        state, _ = algorithm.update(state, None, batch, {}, phase)
        stepped(critic_adam, loss_of_critics(fast, slow, policy, batch, phase == ADVERSARIAL))
        with torch.no_grad():
            for layer in [x for critic in fast for x in critic if isinstance(x, torch.nn.Linear)]:
                layer.weight.mul_(min(1.0, 4.0 / layer.weight.norm()))
            for left, right in zip(slow, fast, strict=True):
                for old, new in zip(left.parameters(), right.parameters(), strict=True):
                    old.copy_((1 - POLYAK) * old + POLYAK * new)
        log_prob = policy(batch.observation).log_softmax(-1)
        share = batch.weight / batch.weight.sum()
        if phase == WARM:
            stepped(actor_adam, -share @ log_prob[torch.arange(12), batch.action])
            continue
        actor_adam.param_groups[0]["lr"] = ACTOR_RATE
        spread = -share @ (log_prob.exp() * log_prob).sum(-1)
        worth = share @ (log_prob.exp() * fast[0](batch.observation).detach()).sum(-1)
        wanted = WANTED * np.log(3)
        weight_loss = log_weight * (spread.detach() - wanted)
        stepped(actor_adam, -log_weight.exp().detach() * spread - worth)
        stepped(weight_adam, weight_loss)
    same_weights(state.actor, policy, rtol=1e-5, atol=1e-6)
    for twin in range(2):
        for stack, modules in ((state.critics, fast), (state.target_critics, slow)):
            alone = tuple({k: x[twin] for k, x in layer.items()} for layer in stack)
            same_weights(alone, modules[twin], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(state.log_entropy_weight, log_weight.detach())


# On tables: hardly any entropy, and an actor as fast as a table allows.
QUICK = {"learning_rate": 0.02, "actor_learning_rate": 0.01, "warm_updates": 100}
QUICK |= {"largest_norm": 1e6, "initial_log_entropy_weight": -8.0, "target_entropy": 0.0}
GARNET = Garnet(5, 3, 2, 0.5).environment("garnet", 0, 0.9, 40)


def test_with_all_data_and_little_pessimism_it_comes_near_the_optimum():
    rng, rows = np.random.default_rng(0), []
    simulator = GARNET.simulator([GARNET], [rng], 400)
    state = simulator.reset()
    for _ in range(10):
        action = rng.integers(3, size=state.shape)
        following, *rest = simulator.step(action)
        columns = (state, action, rest[0], following, rest[1])
        rows += zip(*(column.ravel() for column in columns), strict=True)
        state = following
    algorithm = learner(hidden_sizes=[], beta=100.0, **QUICK)
    dataset = make_dataset(GARNET.spec, rows)
    cohort = train(make_cohort([algorithm], [dataset], batch_size=128, mode="traced"), 500)
    probabilities = cohort.policy(np.arange(5)[None]).mode_probabilities()
    value = exact.policy_value(GARNET.mdp, probabilities.double().numpy(), 0.9)[0]
    assert GARNET.optimum - value < 0.05 * (GARNET.optimum - GARNET.uniform)


def test_what_the_data_lacks_is_avoided_where_the_critics_are_free_to_find_fault():
    lacking = GARNET.reference_action(np.arange(5))
    algorithm = learner(hidden_sizes=[], **QUICK)
    rng = np.random.default_rng(0)
    rows = [
        (s, a, 0.0, int(rng.integers(5)), False)
        for s in range(5)
        for a in range(3)
        if a != lacking[s]
        for _ in range(20)
    ]
    dataset = make_dataset(GARNET.spec, rows)
    cohort = train(make_cohort([algorithm], [dataset], batch_size="full", mode="traced"), 300)
    chosen = cohort.policy(np.arange(5)[None]).mode()[0]
    assert not np.any(chosen.numpy() == lacking)
    values = cohort.state.critics[0]["weight"][0, 0]
    unseen = values[torch.arange(5), torch.as_tensor(lacking)]
    assert (unseen < 0).all()

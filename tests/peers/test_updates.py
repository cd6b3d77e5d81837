"""The updates in JAX are the same ones as ours, and learn."""

import importlib.util
from importlib import import_module
from operator import attrgetter
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils._pytree import tree_leaves, tree_map

import bench.peers
from bench.cohorts.cohort import Member
from bench.peers import comparison
from tests.support.builders import (
    build_algorithm,
    from_columns,
    make_cohort,
    make_spec,
    random_batch,
)
from tests.support.continuous import CLOSE, uniform
from tests.support.sweeps import run_here

jax = pytest.importorskip("jax", reason='jax is not installed: pip install -e ".[peers]"')
pytest.importorskip("optax", reason='optax is not installed: pip install -e ".[peers]"')

from bench.peers.in_jax import JaxRuns, initial  # noqa: E402
from bench.peers.transitions import Transitions, transitions  # noqa: E402

ROOM = Path(bench.peers.__path__[0])
PEERS = sorted(
    (kind, path.stem)
    for kind in ("discrete", "continuous")
    for path in (ROOM / kind).glob("[!_]*.py")
)


@pytest.fixture
def double():
    """Let JAX compute in double precision."""
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", before)


def without(absent):
    """Return what finds all libraries but one."""
    find = importlib.util.find_spec
    return lambda name: None if name == absent else find(name)


def world_kind(kind):
    return "vector" if kind == "discrete" else kind


def learner(kind, name):
    settings = {"hidden_sizes": (32, 32), "learning_rate": 0.003, "polyak": 0.1}
    return build_algorithm(name, world_kind(kind), **settings)


def in_torch(tree):
    return jax.tree.map(lambda leaf: torch.tensor(np.array(leaf)), tree)


def doubles(tree):
    return tree_map(lambda leaf: leaf.double(), tree)


def in_order(network, moments):
    """Return moments of JAX's trees, which sort names, in a row as our Adam keeps them."""
    ordered = tree_map(lambda _, moment: torch.tensor(np.array(moment)), network, moments)
    return torch.cat([leaf.flatten() for leaf in tree_leaves(ordered)])


def parts(state, optimizers, within=""):
    """Return all fields of a state that are no optimizer, those inside of others as ``a.b``."""
    found = []
    for name in state._fields:
        path = within + name
        if any(optimizer.startswith(path + ".") for optimizer in optimizers):
            found += parts(getattr(state, name), optimizers, path + ".")
        elif path not in optimizers:
            found.append(path)
    return found


@pytest.mark.parametrize(("kind", "name"), PEERS)
def test_an_update_is_the_same_one_as_ours(kind, name, double):
    algorithm = learner(kind, name)
    spec = make_spec(world_kind(kind), uniform_regret=4.0 if kind == "continuous" else None)
    # Slow copies are to differ from what they follow: those of other draws.
    state, other = (
        doubles(algorithm.init(spec, None, torch.Generator().manual_seed(seed))) for seed in (0, 1)
    )
    slow = [field for field in state._fields if field.startswith("target_")]
    state = state._replace(**{field: getattr(other, field) for field in slow})
    peer = import_module(f"bench.peers.{kind}.{name}")
    stacked = tree_map(lambda leaf: leaf[None], state)
    theirs = jax.tree.map(lambda leaf: leaf[0], initial(peer, stacked))
    scale = getattr(state, "reward_scale", torch.ones(()))
    # Compiling takes far longer than the few updates.
    quick = {"xla_backend_optimization_level": 0}
    update = jax.jit(peer.update, static_argnums=(0, 4), compiler_options=quick)
    for step in range(4):
        batch = random_batch(spec, 16, seed=step)
        batch = batch._replace(weight=torch.ones(16).double())
        noise = uniform(algorithm.noise_shapes(spec, 16), seed=step)
        seen = batch._replace(reward=batch.reward * scale)
        columns = Transitions(*(getattr(seen, field).numpy() for field in Transitions._fields))
        arrays = {key: value.numpy() for key, value in noise.items()}
        theirs, _ = update(algorithm, theirs, columns, arrays, algorithm.phase(step))
        state, _ = algorithm.update(state, None, batch, noise, algorithm.phase(step))
        for field in parts(state, peer.OPTIMIZED):
            ours, others = (attrgetter(field)(of) for of in (state, theirs))
            moved = tree_map(lambda _, x: torch.tensor(np.array(x)), ours, others)
            torch.testing.assert_close(moved, ours, **CLOSE)
        # Adam's steps are blind to a factor of the loss; its moments are not.
        for field, of in peer.OPTIMIZED.items():
            first = in_order(attrgetter(of)(state), attrgetter(field)(theirs)[0].mu)
            torch.testing.assert_close(first, attrgetter(field)(state).first, **CLOSE)


def rewarding(kind):
    """Return episodes of one step; the best action is the observation's sign, or (1, -1)."""
    rng = np.random.default_rng(0)
    spec = make_spec(world_kind(kind), size=2, num_actions=2)
    observation, following = rng.normal(size=(2, 2000, 2))
    if kind == "discrete":
        action = rng.integers(2, size=2000)
        reward = (action == (observation[:, 0] > 0)).astype(float)
    else:
        action = rng.uniform(-1, 1, size=(2000, 2))
        reward = action[:, 0] - action[:, 1]
    ends, episode, step = np.ones(2000), np.arange(2000), np.zeros(2000, dtype=int)
    return from_columns(spec, observation, action, reward, following, ends, episode, step)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "name"), PEERS)
def test_runs_learn_the_best_action(kind, name):
    algorithm, data = learner(kind, name), rewarding(kind)
    cohort = make_cohort([algorithm] * 2, [data] * 2, batch_size=64)
    peer = import_module(f"bench.peers.{kind}.{name}")
    columns = transitions(Member(algorithm, 0, data, data))
    runs = JaxRuns(peer, algorithm, cohort, columns, 64)
    losses = runs.train(400)
    assert losses.shape == (2, 400)
    assert (losses[:, -50:].mean(1) < losses[:, :10].mean(1)).all()
    for run in range(2):
        state = in_torch(jax.tree.map(lambda leaf, run=run: leaf[run], runs.state))
        chosen = algorithm.policy(state, torch.tensor(columns.observation)).mode()
        if kind == "discrete":
            best = torch.tensor(np.asarray(data.observation)[:, 0] > 0)
            assert (chosen == best).float().mean() > 0.9
        else:
            assert (chosen * torch.tensor([1.0, -1.0])).mean(0).min() > 0.3
    # They draw apart.
    assert not np.array_equal(losses[0], losses[1])


def test_a_comparison_times_both_sides(monkeypatch, capsys):
    for name, value in {"WIDTHS": (8,), "COHORTS": (1,), "BATCH_SIZE": 8, "BLOCKS": 1}.items():
        monkeypatch.setattr(comparison, name, value)
    monkeypatch.setattr(comparison.importlib.util, "find_spec", without("d3rlpy"))
    assert run_here(monkeypatch, "speed", "--peers", "--algorithm", "bcq", "--seconds", "0.01") == 0
    told = capsys.readouterr().out
    (row,) = (line.split("│") for line in told.splitlines() if "bcq" in line)
    ours, others, ratio = row[6].strip(), row[7].strip(), row[8].split()[0]
    rates = [float(number.replace(",", "")) for number in (ours, others)]
    assert rates[0] / rates[1] == pytest.approx(float(ratio), abs=0.01)
    assert f"jax {jax.__version__}" in told
    assert "d3rlpy is not installed" in told

"""Small worlds, datasets, batches and algorithms that several test files share."""

import copy
import itertools
from pathlib import Path

import numpy as np
import torch
from torch.utils._pytree import tree_leaves, tree_map

from bench.cohorts.cohort import Cohort, Member
from bench.data.datasets import OfflineDataset
from bench.data.storage import Storage
from bench.measures import evaluation
from bench.settings.groups import file_of
from bench.settings.run import TrainingConfig
from bench.settings.typed import typed_object
from bench.types import Batch, EnvSpec
from bench.worlds.cartpole import CartPole
from bench.worlds.continuous.lqr import LQR
from bench.worlds.mdps import Garnet

# Many tiny operations: threads would only wait for each other.
torch.set_num_threads(1)

FOLDER = Path(__file__).resolve().parents[2] / "conf" / "algorithm"
ALGORITHMS = sorted(path.stem for path in FOLDER.glob("*.yaml"))


def settings_of(name):
    """Return what `conf/algorithm/<name>.yaml` says, which may be changed."""
    return copy.deepcopy(file_of("algorithm", name))


def build_algorithm(name, kind=None, **settings):
    """Return the algorithm of `conf/algorithm/<name>.yaml`, read as the bench reads it.

    Of what was chosen for a kind of world only the parts and the leader are taken, no numbers but
    the ridge that a network as follower needs; but a class that is named there, with all its
    settings. Settings that neither the algorithm nor a part of it has are left out, so that one
    call serves all of them; where both have one, that of the part is named with it:
    ``{"follower.learning_rate": 5}``.
    """
    given = settings_of(name)
    del given["name"]
    chosen = given.pop("kinds", {}).get("table" if kind == "discrete" else kind, {})
    if "target" in chosen:
        given = {k: v for k, v in chosen.items() if k not in TrainingConfig.model_fields}
    network = str(chosen.get("follower")).startswith("neural")
    taken = ("leader", "ridge") if network else ("leader",)
    given |= {"discount": 0.9} | {k: v for k, v in chosen.items() if k in taken}
    for several in [key for key in given if key.removesuffix("s") in given.keys() - {key}]:
        part, parts = several.removesuffix("s"), given.pop(several)
        own = dict(parts[settings.pop(part, chosen.get(part, given[part]))])
        own |= {k: settings[k] for k in own if k in settings and k not in given}
        own |= {k: settings[f"{part}.{k}"] for k in own if f"{part}.{k}" in settings}
        given[part] = own
    return typed_object(given | {k: v for k, v in settings.items() if k in given}, "algorithm", ())


def kinds_of(name):
    """Return the kinds of worlds that an algorithm has a class for, as this file calls them."""
    kinds = settings_of(name).get("kinds", {})
    algorithm = build_algorithm(name)
    found = {kind for kind, chosen in kinds.items() if "target" in chosen} | {"continuous"} & {
        *kinds
    }
    if "discrete" in algorithm.action_kinds:
        found |= {"discrete"} if algorithm.tabular_only else {"discrete", "vector"}
    if "continuous" in algorithm.action_kinds:
        found.add("continuous")
    return [kind for kind in ("discrete", "vector", "continuous") if kind in found]


def make_spec(kind="discrete", size=4, num_actions=3, **settings):
    """Return a spec of the given sizes; where actions are continuous they have two dimensions."""
    if kind == "continuous":
        kind, num_actions = "vector", 0
        settings = {"action_bounds": ((-1.0, -1.0), (1.0, 1.0))} | settings
    defaults = {
        "name": "made_up",
        "observation_kind": kind,
        "observation_size": size,
        "num_actions": num_actions,
        "discount": 0.9,
        "horizon": 20,
        "reward_min": -1.0,
        "reward_max": 1.0,
        "v_min": -10.0,
        "v_max": 10.0,
    }
    return EnvSpec(**defaults | settings)


def make_dataset(spec, transitions, seed=0):
    """Return the dataset of ``(observation, action, reward, next_observation, terminated)`` rows.

    An episode ends where a row terminates or where the next row does not go on from it.
    """
    observation, action, reward, following, terminated = map(
        np.array, zip(*transitions, strict=True)
    )
    goes_on = np.array(
        [
            not end and np.array_equal(a, b)
            for end, a, b in zip(terminated[:-1], following[:-1], observation[1:], strict=True)
        ]
    )
    episode = np.concatenate([[0], np.cumsum(~goes_on)]).astype(int)
    step = np.arange(len(action)) - np.searchsorted(episode, episode)
    return from_columns(
        spec, observation, action, reward, following, terminated, episode, step, seed
    )


def from_columns(spec, observation, action, reward, following, terminated, episode, step, seed=0):
    """Return the dataset of whole columns."""
    raw = np.int64 if spec.observation_kind == "discrete" else np.float32
    chosen = np.int64 if spec.action_kind == "discrete" else np.float32
    storage = Storage(
        observation=observation.astype(raw),
        action=action.astype(chosen),
        reward=reward.astype(np.float64),
        next_observation=following.astype(raw),
        terminated=terminated.astype(bool),
        episode=episode,
        step=step,
        comparator_action=np.zeros(action.shape, dtype=chosen),
    )
    return OfflineDataset.full(storage, spec, {"seed": seed})


def world(kind, horizon=20):
    """Return a small random MDP, CartPole, or a linear-quadratic world."""
    families = {"discrete": Garnet(5, 3, 2, 0.5), "vector": CartPole(), "continuous": LQR(0.1, 2)}
    return families[kind].environment(kind, seed=0, discount=0.9, horizon=horizon)


def random_dataset(kind, n, seed, spec=None, episode_length=7):
    """Return `n` transitions of noise in episodes of at most `episode_length` steps.

    Some continuous actions are outside of their bounds.
    """
    rng = np.random.default_rng(seed)
    spec = world(kind).spec if spec is None else spec
    if kind == "discrete":
        observation = rng.integers(spec.observation_size, size=n + 1)
    else:
        scale = 1 + np.arange(spec.observation_size)
        observation = scale * rng.normal(size=(n + 1, spec.observation_size)) + scale
    position = np.arange(n)
    continuous = spec.action_kind == "continuous"
    return from_columns(
        spec,
        observation[:-1],
        rng.normal(scale=0.6, size=(n, spec.action_size))
        if continuous
        else rng.integers(spec.num_actions, size=n),
        rng.normal(size=n),
        observation[1:],
        rng.random(n) < 0.1,
        position // episode_length,
        position % episode_length,
        seed,
    )


def random_batch(spec, n, seed=0, dtype=torch.float64):
    """Return a batch of noise in which every field matters: weights and ends of both kinds."""
    draw = torch.Generator().manual_seed(seed)

    def observations():
        if spec.observation_kind == "vector":
            return torch.randn(n, spec.observation_size, generator=draw, dtype=dtype)
        return torch.randint(spec.observation_size, (n,), generator=draw)

    def actions():
        if spec.action_kind == "continuous":
            drawn = 1.5 * torch.randn(n, spec.action_size, generator=draw, dtype=dtype).tanh()
            return drawn.clamp(-1, 1)
        return torch.randint(spec.num_actions, (n,), generator=draw)

    return Batch(
        observation=observations(),
        action=actions(),
        reward=2 * torch.randn(n, generator=draw, dtype=dtype),
        next_observation=observations(),
        terminated=(torch.rand(n, generator=draw) < 0.3).to(dtype),
        weight=torch.randint(3, (n,), generator=draw).to(dtype),
        episode_return=torch.randn(n, generator=draw, dtype=dtype),
        initial_observation=observations(),
        next_action=actions(),
        followed=(torch.rand(n, generator=draw) < 0.7).to(dtype),
    )


def random_network(sizes, seed=0, dtype=torch.float64, scale=1.0):
    """Return a network with the given layer sizes; two sizes make a table without bias."""
    draw = torch.Generator().manual_seed(seed)
    layers = []
    for size_in, size_out in itertools.pairwise(sizes):
        layer = {"weight": scale * torch.randn(size_in, size_out, generator=draw, dtype=dtype)}
        if len(sizes) > 2:
            layer["bias"] = scale * torch.randn(size_out, generator=draw, dtype=dtype)
        layers.append(layer)
    return tuple(layers)


def as_module(network):
    """Return the network as a `torch.nn.Sequential` with the same weights, which can be trained."""
    modules = []
    for layer in network:
        size_in, size_out = layer["weight"].shape
        linear = torch.nn.Linear(
            size_in, size_out, bias="bias" in layer, dtype=layer["weight"].dtype
        )
        with torch.no_grad():
            linear.weight.copy_(layer["weight"].T)
            if "bias" in layer:
                linear.bias.copy_(layer["bias"])
        modules += [linear, torch.nn.ReLU()]
    return torch.nn.Sequential(*modules[:-1])


def flat_gradient(module):
    """Return the gradient of a module made by `as_module`, all numbers in a network's order."""
    linears = [layer for layer in module if isinstance(layer, torch.nn.Linear)]
    parts = [part for linear in linears for part in _gradients(linear)]
    return torch.cat([part.flatten() for part in parts])


def _gradients(linear):
    weight = linear.weight.grad.T
    return [weight] if linear.bias is None else [weight, linear.bias.grad]


def same_weights(network, module, **tolerance):
    """Assert that a network and a module made by `as_module` hold the same numbers."""
    linears = [layer for layer in module if isinstance(layer, torch.nn.Linear)]
    for layer, linear in zip(network, linears, strict=True):
        torch.testing.assert_close(layer["weight"], linear.weight.detach().T, **tolerance)
        if "bias" in layer:
            torch.testing.assert_close(layer["bias"], linear.bias.detach(), **tolerance)


def make_cohort(algorithms, datasets, seeds=None, batch_size=16, **settings):
    """Return a cohort of runs whose data nothing was taken from."""
    seeds = range(len(datasets)) if seeds is None else seeds
    members = [
        Member(algorithm, seed, dataset, dataset)
        for algorithm, seed, dataset in zip(algorithms, seeds, datasets, strict=True)
    ]
    return Cohort(members, batch_size, **settings)


def train(cohort, num_updates):
    """Make updates and return the cohort."""
    for _ in cohort.train(num_updates):
        pass
    return cohort


def evaluate(cohort, environments, seeds, num_episodes):
    """Return the evaluations of a cohort's policies as they are now."""
    return evaluation.evaluate(cohort.policy, cohort.step, environments, seeds, num_episodes)


def of_run(tree, run):
    """Return the part of a cohort's tree that belongs to one run."""
    return tree_map(lambda leaf: leaf[run] if isinstance(leaf, torch.Tensor) else leaf, tree)


def tensors(tree):
    """Return the tensors of a tree."""
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)]


def same(left, right):
    """Return whether two trees hold the same numbers bit for bit; a NaN is no number."""
    pairs = list(zip(tensors(left), tensors(right), strict=True))
    assert pairs
    return all(torch.equal(a, b) for a, b in pairs)


def assert_close(left, right, **tolerance):
    """Assert that two trees hold the same numbers to a tolerance."""
    torch.testing.assert_close(tensors(left), tensors(right), **tolerance)

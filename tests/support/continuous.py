"""Twin critics and optimisers of plain torch, for what learns continuous actions."""

import torch

from algorithms.optimizers import adam_init
from algorithms.pieces.soft_actor import SoftActor
from algorithms.pieces.soft_actor_critic import SoftActorCritic
from tests.support.builders import as_module, build_algorithm, make_spec, random_network

SPEC = make_spec("continuous", size=4)
DISCOUNT, RATE, ACTOR_RATE, POLYAK = 0.9, 0.01, 0.003, 0.1
# After a dozen updates in double precision; the learners' Adam rounds some constants.
CLOSE = {"rtol": 1e-5, "atol": 1e-6}


def learner(name, **settings):
    """Return the algorithm of continuous actions with the rates of the references here."""
    rates = {"learning_rate": RATE, "actor_learning_rate": ACTOR_RATE, "polyak": POLYAK}
    return build_algorithm(name, "continuous", **rates, **settings)


def noise_of(algorithm, batch, seed=0):
    """Return the uniform noise that an update on a batch of this size draws."""
    return uniform(algorithm.noise_shapes(SPEC, len(batch.reward)), seed)


def new_critics():
    """Return two critics on SPEC and their slow copies, which differ from them."""
    return random_twins((6, 8, 1), seed=1), random_twins((6, 8, 1), seed=2)


def random_twins(sizes, seed=0, dtype=torch.float64):
    """Return two networks side by side, as `algorithms.critics` makes them."""
    pair = [random_network(sizes, seed=100 * seed + twin, dtype=dtype) for twin in range(2)]
    return tuple(
        {
            "weight": torch.stack([one["weight"], other["weight"]]),
            "bias": torch.stack([one["bias"], other["bias"]]).unsqueeze(1),
        }
        for one, other in zip(*pair, strict=True)
    )


def twin_modules(critics):
    """Return both critics as modules."""
    return [
        as_module(tuple({"weight": x["weight"][i], "bias": x["bias"][i, 0]} for x in critics))
        for i in range(2)
    ]


class Twins:
    """Two critics as modules, their slow copies, and an optimiser of the former."""

    def __init__(self, state):
        """Take the numbers of a learner's state."""
        self.fast, self.slow = twin_modules(state.critics), twin_modules(state.target_critics)
        self.optimizer = torch.optim.Adam([p for c in self.fast for p in c.parameters()], lr=RATE)

    def target(self, batch, reward, following):
        """Return the targets by the smaller slow value of the actions that follow."""
        with torch.no_grad():
            slow = [value_of(critic, batch.next_observation, following) for critic in self.slow]
            return reward + DISCOUNT * (1 - batch.terminated) * torch.min(*slow)

    def error(self, batch, target):
        """Return the sum of both mean squared errors."""
        known = [value_of(critic, batch.observation, batch.action) for critic in self.fast]
        return sum(mean_of((value - target) ** 2, batch) for value in known)

    def follow(self):
        """Move the slow copies."""
        for slow, fast in zip(self.slow, self.fast, strict=True):
            follow(slow, fast, POLYAK)

    def check(self, state):
        """Assert that a learner's state holds the same numbers."""
        pairs = (state.critics, self.fast), (state.target_critics, self.slow)
        for critics, modules in pairs:
            for mine, theirs in zip(twin_modules(critics), modules, strict=True):
                for left, right in zip(mine.parameters(), theirs.parameters(), strict=True):
                    torch.testing.assert_close(left, right, **CLOSE)


class EntropyWeight:
    """The weight of a tanh-normal actor's entropy, tuned towards minus its two dimensions."""

    def __init__(self, actor):
        """Take the number of a soft actor."""
        self.log = actor.log_entropy_weight.clone().requires_grad_()
        self.optimizer = torch.optim.Adam([self.log], lr=ACTOR_RATE)

    def loss(self, batch, density):
        """Return its own loss."""
        return -self.log * (mean_of(density, batch).detach() - 2)

    def actor_loss(self, batch, density, value):
        """Return the loss of an actor whose actions have this log-density and value."""
        return mean_of(self.log.exp().detach() * density - value, batch)

    def check(self, actor):
        """Assert that a soft actor holds the same number."""
        torch.testing.assert_close(actor.log_entropy_weight, self.log.detach())


def new_actor(seed=1):
    """Return a soft actor of SPEC in double precision."""
    network, weight = random_network((4, 8, 4), seed=seed), torch.tensor(-1.0).double()
    return SoftActor(network, weight, adam_init(network), adam_init(weight))


def new_soft_learner(scale, critics=None):
    """Return soft actor-critic on SPEC, with critics and their slow copies that differ."""
    fast, slow = critics or new_critics()
    scale = torch.tensor(scale).double()
    return SoftActorCritic(new_actor(), fast, slow, adam_init(fast), scale)


def value_of(module, observation, action):
    """Return a critic module's values ``[batch]``."""
    return module(torch.cat([observation, action], 1)).squeeze(1)


def mean_of(values, batch):
    """Return the weighted mean over a batch."""
    return (values * batch.weight).sum() / batch.weight.sum()


def step(optimizer, loss):
    """Take a step of a torch optimiser."""
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def follow(slow, fast, polyak):
    """Move a module's parameters towards another's."""
    with torch.no_grad():
        for old, new in zip(slow.parameters(), fast.parameters(), strict=True):
            old.copy_((1 - polyak) * old + polyak * new)


def uniform(shapes, seed, dtype=torch.float64):
    """Return uniform noise of the shapes, by name."""
    draw = torch.Generator().manual_seed(seed)
    return {name: torch.rand(shape, generator=draw, dtype=dtype) for name, shape in shapes.items()}


def normal_of(noise):
    """Return the normal numbers that uniform noise stands for."""
    return torch.distributions.Normal(torch.zeros(()).to(noise), 1.0).icdf(noise)


def squashed(module, observation, noise):
    """Return actions of a tanh-normal policy ``[..., size]`` and their log-densities by torch."""
    mean, log_std = module(observation).chunk(2, -1)
    std = log_std.clamp(-5, 2).exp()
    before = mean + std * normal_of(noise)
    density = torch.distributions.Normal(mean, std).log_prob(before)
    slope = torch.distributions.transforms.TanhTransform().log_abs_det_jacobian(before, None)
    return before.tanh(), (density - slope).sum(-1)

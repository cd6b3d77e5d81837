"""Evaluation environments: rollouts, CartPole against gymnasium, anchors and bounds."""

from dataclasses import replace

import gymnasium
import numpy as np
import pytest
from scipy import stats

from bench.worlds.base import Simulator, rollout
from bench.worlds.cartpole import CartPole
from bench.worlds.continuous.cliff_2d import Cliff2D
from bench.worlds.continuous.lqr import LQR
from bench.worlds.continuous.pendulum import Pendulum
from bench.worlds.continuous.swamp import Swamp
from bench.worlds.mdps import CombinationLock, Garnet, ToyText
from bench.worlds.tabular import TabularEnvironment, value_bounds
from tests.support.worlds import all_policies, random_mdp, slow_values

SKEWED = np.array([0.5, 0.0, 1.0, 0.1])
"""A CartPole controller: half of its episodes fall after 200 steps or more, half never do."""


def rng(seed=0):
    return np.random.default_rng(seed)


def cartpole(horizon=500):
    return CartPole().environment("cartpole", 0, 0.99, horizon)


def skewed(observation):
    return (observation @ SKEWED > 0).astype(np.int64)


def play(environments, generators, num_episodes, act):
    """Return the steps of a rollout as arrays ``[time, run, episode, ...]`` by name."""
    simulator = environments[0].simulator(environments, generators, num_episodes)
    steps = list(rollout(simulator, act, environments[0].spec.horizon))
    return {
        name: np.stack([getattr(step, name) for step in steps])
        for name in steps[0]._fields
        if name != "measured"
    }


def returns_of(steps):
    return (steps["reward"] * steps["active"]).sum(0)


# Rollouts


class Scripted(Simulator):
    """Ends when the script ``[time, run, episode]`` says so, then starts anew by itself."""

    def __init__(self, ends):
        self.ends = np.array(ends, dtype=bool)

    def reset(self):
        self.time = 0
        return np.zeros(self.ends.shape[1:], dtype=int)

    def step(self, action):
        ended = self.ends[self.time]
        self.time += 1
        return np.full(ended.shape, self.time), np.ones(ended.shape), ended.copy()


def stay(observation):
    return np.zeros_like(observation)


def test_a_copy_is_active_up_to_and_including_its_first_end():
    # The second copy ends again later: what it does after its first end means nothing.
    script = [[[0, 0, 1]], [[0, 1, 0]], [[0, 0, 1]], [[0, 1, 1]]]
    steps = list(rollout(Scripted(script), stay, 4))
    assert [step.active[0].tolist() for step in steps] == [
        [True, True, True],
        [True, True, False],
        [True, False, False],
        [True, False, False],
    ]
    assert np.argwhere([step.terminated[0] for step in steps]).tolist() == [[0, 2], [1, 1]]


def test_a_rollout_stops_when_every_copy_has_ended():
    script = [[[1, 0]], [[0, 0]], [[0, 1]], [[0, 0]], [[0, 0]]]
    assert len(list(rollout(Scripted(script), stay, 5))) == 3


def test_a_rollout_stops_at_the_limit_without_a_termination():
    steps = list(rollout(Scripted(np.zeros((9, 1, 2))), stay, 4))
    assert len(steps) == 4
    assert not any(step.terminated.any() for step in steps)


def test_a_step_starts_where_the_last_one_led():
    steps = list(rollout(Scripted(np.zeros((3, 1, 1))), stay, 3))
    assert [int(step.observation[0, 0]) for step in steps] == [0, 1, 2]
    assert [int(step.next_observation[0, 0]) for step in steps] == [1, 2, 3]


# CartPole


@pytest.mark.parametrize("horizon", [250, 500])
def test_cartpole_episodes_equal_those_of_a_single_gymnasium_environment(horizon):
    environment, world = cartpole(horizon), gymnasium.make("CartPole-v1", max_episode_steps=horizon)
    simulator = environment.simulator([environment], [rng(3)], 20)
    starts = simulator.start.T.copy()
    steps = list(rollout(simulator, skewed, horizon))
    lengths = set()
    for copy, start in enumerate(starts):
        observation, _ = world.reset()
        world.unwrapped.state = tuple(start)
        observation, done, expected = start.astype(np.float32), False, []
        while not done:
            action = int(skewed(observation))
            following, reward, terminated, truncated, _ = world.step(action)
            expected.append((observation, action, reward, terminated, following))
            observation, done = following, terminated or truncated
        lasts = len(expected)
        names = ("observation", "action", "reward", "terminated", "next_observation")
        for name, column in zip(names, zip(*expected, strict=True), strict=True):
            found = np.stack([getattr(step, name)[0, copy] for step in steps[:lasts]])
            np.testing.assert_allclose(found, column, rtol=1e-5, atol=1e-6)
        active = [bool(step.active[0, copy]) for step in steps]
        assert active == [True] * lasts + [False] * (len(steps) - lasts)
        lengths.add(lasts)
    assert len(lengths) > 3


def test_cartpole_counts_nothing_after_the_environment_resets_itself():
    # Half of the copies fall within ten steps or so while the others stand for 200.
    environment, falls = cartpole(200), np.arange(10) % 2 == 1

    def act(observation):
        return np.where(falls, 1, environment.reference_action(observation))

    steps = play([environment], [rng()], 10, act)
    lengths = steps["active"].sum(0)[0]
    assert np.all(lengths[~falls] == 200)
    assert np.all(lengths[falls] < 15)
    np.testing.assert_array_equal(steps["terminated"].sum(0)[0], falls)
    # Active steps are the first ones: no copy comes back.
    assert np.all(np.diff(steps["active"].astype(int), axis=0) <= 0)


def test_an_active_cartpole_step_starts_where_the_last_one_led():
    steps = play([cartpole()], [rng()], 20, skewed)
    before, after, active = (steps[key] for key in ("next_observation", "observation", "active"))
    np.testing.assert_array_equal(before[:-1][active[1:]], after[1:][active[1:]])


def test_cartpole_starts_are_uniform_in_a_small_box():
    starts = play([cartpole(1)], [rng()], 2000, skewed)["observation"][0, 0]
    for column in starts.T:
        assert stats.kstest(column, stats.uniform(-0.05, 0.1).cdf).pvalue > 1e-4


def test_the_reference_controller_never_lets_the_pole_fall():
    environment = cartpole()
    steps = play([environment], [rng()], 2000, environment.reference_action)
    assert np.all(returns_of(steps) == 500)


def test_the_stored_uniform_return_of_cartpole_is_right():
    draw, num_episodes = rng(1), 40_000
    steps = play([cartpole()], [rng()], num_episodes, lambda o: draw.integers(2, size=o.shape[:2]))
    returns = returns_of(steps)
    error = np.hypot(returns.std() / np.sqrt(num_episodes), 0.03)
    assert abs(returns.mean() - cartpole().uniform) < 4 * error


@pytest.mark.parametrize("horizon", [10, 50])
def test_the_uniform_return_of_cartpole_respects_the_step_limit(horizon):
    draw, num_episodes = rng(1), 20_000
    environment = cartpole(horizon)
    steps = play([environment], [rng()], num_episodes, lambda o: draw.integers(2, size=o.shape[:2]))
    returns = returns_of(steps)
    error = np.hypot(returns.std() / np.sqrt(num_episodes), 0.03)
    assert abs(returns.mean() - environment.uniform) < 4 * error


def test_the_optimum_of_cartpole_is_a_pole_that_stands_to_the_limit():
    environment = cartpole(37)
    assert environment.optimum == 37
    assert np.all(returns_of(play([environment], [rng()], 5, environment.reference_action)) == 37)


# Runs side by side


def control(world):
    return world.environment("control", 0, 0.9, 30)


def toy(seed):
    return TabularEnvironment.from_mdp("toy", random_mdp(seed), 0.9, 9)


def garnet(seed):
    return Garnet(9, 2, 3, 0.5).environment("g", seed, 0.9, 9)


@pytest.mark.parametrize(
    ("four", "act"),
    [
        (lambda: [toy(seed) for seed in range(4)], lambda state: state % 2),
        (
            lambda: [Garnet(9, 2, 3, 0.5).environment("g", s, 0.9, 9) for s in range(4)],
            lambda s: s % 2,
        ),
        (lambda: [cartpole()] * 4, skewed),
        (lambda: [control(LQR(0.1, 2))] * 4, lambda o: np.tanh(o[..., ::2])),
        (lambda: [control(Pendulum(0.1))] * 4, lambda o: 2 * o[..., :1]),
        # Noise, or depth, that differs from run to run is each run's own.
        (
            lambda: [control(Cliff2D(0.1, noise)) for noise in (0.03, 0.05, 0.03, 0.01)],
            lambda o: 0.5 - o,
        ),
        (
            lambda: [control(Swamp(0.1, 0.02, depth)) for depth in (1.0, 2.0, 3.0, 1.0)],
            lambda o: 0.5 - o,
        ),
    ],
    ids=["toy", "garnet", "cartpole", "lqr", "pendulum", "cliff_2d", "swamp"],
)
def test_a_runs_episodes_are_the_same_alone_and_beside_others(four, act):
    environments = four()
    together = play(environments, [rng(s) for s in range(4)], 5, act)
    for run, environment in enumerate(environments):
        alone = play([environment], [rng(run)], 5, act)
        length = len(alone["active"])
        active = alone["active"][:, 0]
        np.testing.assert_array_equal(together["active"][:length, run], active)
        assert not together["active"][length:, run].any()
        for name, column in alone.items():
            np.testing.assert_array_equal(
                together[name][:length, run][active], column[:, 0][active]
            )


def test_runs_with_different_generators_differ():
    steps = play([cartpole()] * 2, [rng(0), rng(1)], 5, skewed)
    assert not np.any(steps["observation"][0, 0] == steps["observation"][0, 1])


# Finite MDPs


def test_simulated_outcomes_are_as_frequent_as_the_table_says():
    mdp = replace(
        random_mdp(0, num_states=4, num_outcomes=5), initial=np.array([0.1, 0.0, 0.3, 0.6])
    )
    environment = TabularEnvironment.from_mdp("toy", mdp, 0.9, 1)
    steps = play([environment], [rng()], 20_000, lambda state: state % 2)
    state, reward = steps["observation"][0, 0], steps["reward"][0, 0]
    starts = np.bincount(state, minlength=4)
    assert starts[1] == 0
    assert stats.chisquare(starts[[0, 2, 3]], 20_000 * mdp.initial[[0, 2, 3]]).pvalue > 1e-4
    for s in (0, 2, 3):
        # Every outcome pays differently, so that the reward tells which one it was.
        here = state == s
        drawn = (reward[here][:, None] == mdp.reward[s, s % 2]).astype(int)
        assert np.all(drawn.sum(1) == 1)
        expected = here.sum() * mdp.probability[s, s % 2]
        assert stats.chisquare(drawn.sum(0), expected).pvalue > 1e-4
        outcome = drawn.argmax(1)
        for name, column in (("next_observation", "next_state"), ("terminated", "terminated")):
            expected = getattr(mdp, column)[s, s % 2][outcome]
            np.testing.assert_array_equal(steps[name][0, 0][here], expected)


def test_an_outcome_of_probability_zero_never_happens():
    mdp = random_mdp(0)
    first_and_last_impossible = np.broadcast_to([0.0, 1.0, 0.0], mdp.probability.shape)
    mdp = replace(mdp, probability=first_and_last_impossible)
    environment = TabularEnvironment.from_mdp("toy", mdp, 0.9, 20)
    steps = play([environment], [rng()], 500, lambda state: state % 2)
    active = steps["active"]
    state = steps["observation"][active]
    np.testing.assert_array_equal(steps["reward"][active], mdp.reward[state, state % 2, 1])


def test_simulated_discounted_returns_average_to_the_exact_value():
    mdp = random_mdp(2, num_states=5)
    environment = TabularEnvironment.from_mdp("toy", mdp, 0.8, 80)
    steps = play([environment], [rng()], 4000, lambda state: state % 2)
    weights = 0.8 ** np.arange(len(steps["reward"]))[:, None, None]
    returns = (weights * steps["reward"] * steps["active"]).sum(0)[0]
    exact = mdp.initial @ slow_values(mdp, np.eye(2)[np.arange(5) % 2], 0.8)
    assert abs(returns.mean() - exact) < 4 * returns.std() / np.sqrt(4000)


def test_a_finite_mdps_episodes_respect_the_horizon():
    environment = Garnet(10, 3, 3, 0.5).environment("garnet", 0, 0.9, 13)
    steps = play([environment], [rng()], 4, environment.reference_action)
    assert steps["active"].shape == (13, 1, 4)
    assert steps["active"].all()
    assert not steps["terminated"].any()


@pytest.mark.parametrize("seed", range(4))
def test_the_anchors_of_a_finite_mdp_are_the_best_and_the_uniform_policys_values(seed):
    mdp = random_mdp(seed)
    environment = TabularEnvironment.from_mdp("toy", mdp, 0.8, 50)
    values = [mdp.initial @ slow_values(mdp, policy, 0.8) for policy in all_policies(3, 2)]
    assert environment.optimum == pytest.approx(max(values))
    uniform = mdp.initial @ slow_values(mdp, np.full((3, 2), 0.5), 0.8)
    assert environment.uniform == pytest.approx(uniform)


def test_the_reference_policy_of_a_finite_mdp_attains_the_optimum():
    mdp = random_mdp(7)
    environment = TabularEnvironment.from_mdp("toy", mdp, 0.8, 50)
    policy = np.eye(2)[environment.reference_action(np.arange(3))]
    assert mdp.initial @ slow_values(mdp, policy, 0.8) == pytest.approx(environment.optimum)


# Bounds


def only_final_rewards(mdp):
    return replace(mdp, reward=np.where(mdp.terminated, mdp.reward, 0.0))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("shift", [-3.0, 0.0, 3.0])
@pytest.mark.parametrize("change", [lambda mdp: mdp, only_final_rewards])
def test_value_bounds_hold_for_every_policy_and_state(seed, shift, change):
    mdp = random_mdp(seed, end_probability=0.4)
    mdp = change(replace(mdp, reward=mdp.reward + shift))
    low, high = value_bounds(mdp, 0.9)
    for policy in all_policies(3, 2):
        values = slow_values(mdp, policy, 0.9)
        assert low - 1e-12 <= values.min()
        assert values.max() <= high + 1e-12


def test_value_bounds_are_tight_where_a_reward_can_repeat():
    mdp = Garnet(10, 3, 2, 1.0).mdp(rng())
    assert value_bounds(mdp, 0.9) == pytest.approx((0.0, 10 * mdp.reward.max()))


def test_a_reward_that_comes_with_the_end_is_earned_once():
    assert value_bounds(CombinationLock(4, 3, 0.1).mdp(rng()), 0.99) == (-1.0, 1.0)
    assert value_bounds(ToyText("FrozenLake-v1").mdp(rng()), 0.99) == (0.0, 1.0)


def test_rewards_that_cannot_happen_do_not_widen_the_bounds():
    mdp = random_mdp(0)
    probability, reward = mdp.probability.copy(), mdp.reward.copy()
    probability[0, 0], reward[0, 0, 2] = [0.5, 0.5, 0.0], 1e6
    changed = replace(mdp, probability=probability, reward=reward)
    assert value_bounds(changed, 0.9)[1] < 100
    assert TabularEnvironment.from_mdp("toy", changed, 0.9, 5).spec.reward_max < 100


def test_the_spec_carries_the_bounds_and_the_range_of_rewards():
    mdp = random_mdp(1)
    spec = TabularEnvironment.from_mdp("toy", mdp, 0.9, 50).spec
    assert (spec.v_min, spec.v_max) == value_bounds(mdp, 0.9)
    assert (spec.reward_min, spec.reward_max) == (mdp.reward.min(), mdp.reward.max())
    assert (spec.observation_size, spec.num_actions, spec.discount, spec.horizon) == (3, 2, 0.9, 50)


def test_cartpole_bounds_hold_for_its_discounted_return():
    spec = cartpole().spec
    assert spec.v_min <= 1.0
    assert spec.v_max >= (1 - 0.99**500) / (1 - 0.99)

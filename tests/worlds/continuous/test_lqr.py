"""The linear-quadratic world: closed forms against simulation, quadrature and each other."""

import numpy as np
import pytest
from scipy.linalg import solve_discrete_are

from bench.worlds.base import rollout
from bench.worlds.continuous.lqr import ACTION_COST, LQR

DISCOUNT, HORIZON = 0.95, 100
# Of (oscillators): optimum, value of doing nothing, uniform; and the bounds of returns.
KNOWN = {1: (-2.7695, -3.717, -13.379, -159.187), 2: (-6.0284, -7.4349, -25.545, -318.374)}

sizes = pytest.mark.parametrize("oscillators", [1, 2])


def world(oscillators):
    return LQR(behavior_noise=0.1, oscillators=oscillators)


def environment(oscillators):
    return world(oscillators).environment("lqr", 0, DISCOUNT, HORIZON)


def simulated(env, act, num_episodes=20_000):
    """Return mean and standard error of discounted returns."""
    simulator = env.simulator([env], [np.random.default_rng(3)], num_episodes)
    steps = rollout(simulator, act, HORIZON)
    value = sum(DISCOUNT**t * step.reward[0] for t, step in enumerate(steps))
    return value.mean(), value.std() / np.sqrt(num_episodes)


@sizes
def test_the_anchors_and_bounds_are_the_known_ones(oscillators):
    env, (optimum, nothing, uniform, v_min) = environment(oscillators), KNOWN[oscillators]
    assert env.optimum == pytest.approx(optimum, abs=5e-5)
    assert env.uniform == pytest.approx(uniform, abs=5e-4)
    assert (env.spec.v_min, env.spec.v_max) == (pytest.approx(v_min, abs=5e-4), 0)
    lazy = np.zeros((oscillators, 2 * oscillators))
    value = env.world.linear_value(lazy, DISCOUNT, HORIZON)
    assert value == pytest.approx(nothing, abs=5e-4)


@sizes
def test_the_optimal_gain_solves_the_riccati_equation(oscillators):
    lqr, root = world(oscillators), np.sqrt(DISCOUNT)
    costs = np.diag(lqr.state_cost), ACTION_COST * np.eye(oscillators)
    value = solve_discrete_are(root * lqr.drift, root * lqr.effect, *costs)
    effect = DISCOUNT * lqr.effect.T @ value
    gain = -np.linalg.solve(costs[1] + effect @ lqr.effect, effect @ lqr.drift)
    np.testing.assert_allclose(lqr.gain(DISCOUNT), gain, atol=1e-10)


def test_the_gain_of_one_oscillator_is_the_known_one():
    np.testing.assert_allclose(world(1).gain(DISCOUNT), [[-0.41, -0.47]], atol=5e-3)


@sizes
def test_the_optimal_action_stays_within_its_bounds(oscillators):
    lqr = world(oscillators)
    gain = lqr.gain(DISCOUNT)
    assert lqr.largest_action(gain) == pytest.approx(0.8839, abs=5e-5)
    # From every corner of the box, where a linear function is largest.
    corners = np.stack(np.meshgrid(*[[-1.0, 1.0]] * (2 * oscillators)), -1)
    state, largest = corners.reshape(-1, 2 * oscillators), 0.0
    for _ in range(HORIZON):
        action = state @ gain.T
        largest = max(largest, np.abs(action).max())
        state = lqr.step(state, action, None).state
    assert largest == pytest.approx(lqr.largest_action(gain))


def test_a_discount_at_which_it_does_not_is_refused():
    world(1).check_discount(0.97)
    with pytest.raises(ValueError, match=r"dataset\.discount is 0\.99"):
        world(1).check_discount(0.99)


@sizes
def test_quadrature_and_closed_form_agree_on_linear_policies(oscillators):
    lqr, env = world(oscillators), environment(oscillators)
    rng = np.random.default_rng(0)
    for _ in range(3):
        gain = lqr.gain(DISCOUNT) + rng.uniform(-0.05, 0.05, (oscillators, 2 * oscillators))
        assert lqr.largest_action(gain) < 1
        by_quadrature = env.policy_value(lambda x, gain=gain: x @ gain.T)
        assert by_quadrature == pytest.approx(lqr.linear_value(gain, DISCOUNT, HORIZON), abs=1e-12)


@sizes
def test_the_reference_policy_attains_the_optimum_and_no_linear_policy_beats_it(oscillators):
    lqr, env = world(oscillators), environment(oscillators)
    reference = lqr.reference(DISCOUNT, HORIZON)
    assert env.policy_value(reference) == pytest.approx(env.optimum, abs=1e-12)
    # As data stores actions, rounded, it is worth hardly less.
    assert env.policy_value(env.reference_action) == pytest.approx(env.optimum, abs=1e-6)
    rng = np.random.default_rng(0)
    for _ in range(20):
        other = lqr.gain(DISCOUNT) + rng.normal(scale=0.02, size=(oscillators, 2 * oscillators))
        assert lqr.linear_value(other, DISCOUNT, HORIZON) < env.optimum


@sizes
def test_quadrature_of_a_clipped_policy_agrees_with_simulation(oscillators):
    env = environment(oscillators)

    def act(observation):
        return np.clip(-3 * observation[..., ::2] - 2 * observation[..., 1::2], -1, 1)

    mean, error = simulated(env, act)
    assert abs(mean - env.policy_value(act)) < 4 * error


@sizes
def test_closed_forms_agree_with_simulation(oscillators):
    env, draw = environment(oscillators), np.random.default_rng(1)
    mean, error = simulated(env, env.reference_action)
    assert abs(mean - env.optimum) < 4 * error
    mean, error = simulated(env, lambda x: draw.uniform(-1, 1, (*x.shape[:2], oscillators)))
    assert abs(mean - env.uniform) < 4 * error


def test_the_value_of_exploring_now_and_then_agrees_with_simulation():
    # Weak enough that no action leaves its bounds, however far exploration leads.
    gain, draw = np.array([[-0.1, -0.1]]), np.random.default_rng(1)

    def act(observation):
        uniform = draw.uniform(-1, 1, (*observation.shape[:2], 1))
        return np.where(draw.random(uniform.shape) < 0.4, uniform, observation @ gain.T)

    mean, error = simulated(environment(1), act)
    assert abs(mean - world(1).linear_value(gain, DISCOUNT, HORIZON, 0.4)) < 4 * error


@sizes
def test_no_policy_leaves_the_bounds_of_rewards_and_returns(oscillators):
    # Always pushing in the direction of motion goes as far as one gets.
    env = environment(oscillators)
    mean, _ = simulated(env, lambda x: np.sign(x[..., 1::2]), 200)
    assert env.spec.v_min < mean < env.spec.v_max
    corner = np.ones((1, 2 * oscillators))
    outcome = env.world.step(corner, np.ones((1, oscillators)), None)
    assert env.spec.reward_min < outcome.reward[0] < 0


def test_two_oscillators_feel_both_actions():
    lqr = world(2)
    pushed = lqr.step(np.zeros((1, 4)), np.array([[1.0, 0.0]]), None).state[0]
    assert pushed[0] == pushed[2] == 0
    assert pushed[3] == pytest.approx(0.3 * pushed[1])
    assert pushed[1] + pushed[3] == pytest.approx(1.2 * 0.2)
    assert environment(2).spec.observation_names == (
        "position_0", "velocity_0", "position_1", "velocity_1",
    )  # fmt: skip

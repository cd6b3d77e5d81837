"""The tabular worlds, against gymnasium itself, hand-written rules and closed forms."""

import itertools

import gymnasium
import numpy as np
import pytest
from scipy import stats

from bench.worlds import exact
from bench.worlds.mdps import (
    TOY_TEXT_SHAPES,
    Cliff,
    CombinationLock,
    Garnet,
    SignedGarnet,
    ToyText,
    TwoGoals,
)

TOY_TEXT = (
    "FrozenLake-v1",
    "FrozenLake8x8-v1",
    "CliffWalking-v1",
    "CliffWalkingSlippery-v1",
    "Taxi-v4",
)


def rng(seed=0):
    return np.random.default_rng(seed)


def outcomes(mdp, state, action):
    """Return {(next state, reward, terminated): probability} of a pair; next state None at ends."""
    table = {}
    for k in range(mdp.probability.shape[-1]):
        ends = bool(mdp.terminated[state, action, k])
        following = None if ends else int(mdp.next_state[state, action, k])
        key = (following, float(mdp.reward[state, action, k]), ends)
        table[key] = table.get(key, 0.0) + mdp.probability[state, action, k]
    return {key: probability for key, probability in table.items() if probability > 0}


def optimal_value(mdp, discount):
    return mdp.initial @ exact.optimal_values(mdp, discount).max(-1)


# Toy text


@pytest.mark.parametrize("name", TOY_TEXT)
def test_every_step_of_the_gymnasium_environment_is_in_the_table(name):
    mdp, world, draw = ToyText(name).mdp(rng()), gymnasium.make(name), rng(1)
    state, _ = world.reset(seed=0)
    starts = {state}
    for _ in range(3000):
        action = int(draw.integers(mdp.num_actions))
        following, reward, terminated, truncated, _ = world.step(action)
        expected = (None if terminated else following, float(reward), terminated)
        assert expected in outcomes(mdp, state, action)
        if terminated or truncated:
            following, _ = world.reset()
            starts.add(following)
        state = following
    assert np.all(mdp.initial[list(starts)] > 0)


@pytest.mark.parametrize("name", ["FrozenLake-v1", "CliffWalkingSlippery-v1"])
def test_slips_are_as_frequent_as_the_table_says(name):
    mdp, world = ToyText(name).mdp(rng()), gymnasium.make(name).unwrapped
    world.reset(seed=0)
    # A state in the middle of either map, from which every direction leads elsewhere.
    state, action = {"FrozenLake-v1": (9, 1), "CliffWalkingSlippery-v1": (17, 1)}[name]
    expected = outcomes(mdp, state, action)
    counts = dict.fromkeys(expected, 0)
    for _ in range(3000):
        world.s = state
        following, reward, terminated, _, _ = world.step(action)
        counts[None if terminated else int(following), float(reward), terminated] += 1
    assert len(expected) == 3
    observed, wanted = list(counts.values()), 3000 * np.array(list(expected.values()))
    assert stats.chisquare(observed, wanted).pvalue > 1e-4


def test_deterministic_cliff_walking_is_worth_thirteen_steps():
    mdp = ToyText("CliffWalking-v1").mdp(rng())
    for discount in (0.9, 0.99):
        assert optimal_value(mdp, discount) == pytest.approx(-(1 - discount**13) / (1 - discount))


def test_frozen_lake_is_worth_what_the_literature_says():
    mdp = ToyText("FrozenLake-v1").mdp(rng())
    assert optimal_value(mdp, 0.99) == pytest.approx(0.54202593, abs=1e-7)


def test_the_optimal_taxi_earns_its_value_in_gymnasium():
    mdp, world = ToyText("Taxi-v4").mdp(rng()), gymnasium.make("Taxi-v4")
    q = exact.optimal_values(mdp, 0.9)
    for seed in range(10):
        state, _ = world.reset(seed=seed)
        start, earned, steps, ended = state, 0.0, 0, False
        while not ended:
            state, reward, ended, truncated, _ = world.step(int(exact.greedy(q)[state]))
            assert not truncated
            earned, steps = earned + 0.9**steps * reward, steps + 1
        assert earned == pytest.approx(q[start].max())


def test_a_taxi_starts_away_from_its_destination():
    mdp = ToyText("Taxi-v4").mdp(rng())
    # 25 places, 4 passenger locations, 3 other destinations.
    assert np.count_nonzero(mdp.initial) == 25 * 4 * 3
    np.testing.assert_allclose(mdp.initial[mdp.initial > 0], 1 / 300)


# Combination lock


@pytest.mark.parametrize(("length", "num_actions", "slip"), [(2, 2, 0.0), (5, 3, 0.1), (8, 4, 0.5)])
def test_the_right_combination_of_a_lock_has_a_closed_form_value(length, num_actions, slip):
    mdp = CombinationLock(length, num_actions, slip).mdp(rng())
    advance, discount = 1 - slip + slip / num_actions, 0.9
    ends_at = [(1 - advance) * (advance * discount) ** k for k in range(length)]
    value = (advance * discount) ** (length - 1) * advance - sum(ends_at)
    assert optimal_value(mdp, discount) == pytest.approx(value)


@pytest.mark.parametrize("slip", [0.0, 0.2, 1.0])
def test_a_lock_opens_with_the_chance_that_every_step_advances(slip):
    mdp = CombinationLock(6, 3, slip).mdp(rng())
    best = exact.greedy(exact.optimal_values(mdp, 0.9))
    optimal, uniform = exact.deterministic(best, 3), np.full((6, 3), 1 / 3)
    # Undiscounted, the value is P(open) - P(fail) = 2 P(open) - 1.
    for policy, advance in ((optimal, 1 - slip + slip / 3), (uniform, 1 / 3)):
        opens = (exact.policy_value(mdp, policy, 1.0) + 1) / 2
        assert opens == pytest.approx(advance**6)


def test_in_a_lock_without_slips_one_action_advances_and_the_others_end_with_minus_one():
    mdp = CombinationLock(4, 3, 0.0).mdp(rng())
    for state in range(4):
        certain = [outcome for a in range(3) for outcome in outcomes(mdp, state, a)]
        assert certain.count((None, -1.0, True)) == 2
        assert certain.count((None, 1.0, True) if state == 3 else (state + 1, 0.0, False)) == 1


def test_the_combination_is_uniform_over_instances():
    lock = CombinationLock(8, 3, 0.1)
    right = [exact.greedy(exact.optimal_values(lock.mdp(rng(s)), 0.9)) for s in range(40)]
    assert stats.chisquare(np.bincount(np.concatenate(right))).pvalue > 1e-4
    assert len({tuple(combination) for combination in right}) > 30


# Cliff


def walk(height, width, row, column, direction):
    """Return (next state, reward, terminated) of a move, by the rules in words."""
    down, right = {0: (-1, 0), 1: (0, 1), 2: (1, 0), 3: (0, -1)}[direction]
    row, column = row + down, column + right
    row, column = min(max(row, 0), height - 1), min(max(column, 0), width - 1)
    if row == height - 1 and column == width - 1:
        return None, 1.0, True
    if row == height - 1 and column > 0:
        return None, -1.0, True
    return row * width + column, 0.0, False


@pytest.mark.parametrize(("height", "width"), [(2, 3), (4, 6), (5, 3)])
@pytest.mark.parametrize("slip", [0.0, 0.1, 1.0])
def test_every_move_on_the_cliff_follows_the_rules(height, width, slip):
    mdp = Cliff(height, width, slip).mdp(rng())
    acting = [(r, c) for r, c in np.ndindex(height, width) if r < height - 1 or c == 0]
    for (row, column), action in itertools.product(acting, range(4)):
        expected = {}
        for direction in range(4):
            likely = slip / 4 + (1 - slip) * (direction == action)
            outcome = walk(height, width, row, column, direction)
            expected[outcome] = expected.get(outcome, 0.0) + likely
        expected = {key: likely for key, likely in expected.items() if likely > 0}
        assert outcomes(mdp, row * width + column, action) == pytest.approx(expected)


def test_the_cliff_without_slips_is_crossed_along_its_edge():
    # One step up, width - 1 to the right, one down: the reward comes with the last step.
    for height, width in ((2, 3), (4, 6)):
        mdp = Cliff(height, width, 0.0).mdp(rng())
        assert optimal_value(mdp, 0.9) == pytest.approx(0.9**width)


def test_the_cliff_starts_at_the_left_of_its_bottom_row():
    mdp = Cliff(4, 6, 0.1).mdp(rng())
    assert np.flatnonzero(mdp.initial) == 18


def test_no_policy_on_the_cliff_reaches_the_cells_one_cannot_act_in():
    mdp = Cliff(4, 6, 0.3).mdp(rng())
    occupancy = exact.occupancy(mdp, np.full((24, 4), 0.25), 0.9)
    assert np.all(occupancy[19:] == 0)
    assert np.all(occupancy[:19] > 0)


def test_where_one_cannot_act_on_the_cliff_everything_ends_with_nothing():
    mdp = Cliff(4, 6, 0.1).mdp(rng())
    for cell, action in itertools.product(range(19, 24), range(4)):
        assert outcomes(mdp, cell, action) == {(None, 0.0, True): pytest.approx(1.0)}


# Garnet


def garnet(num_states=60, num_actions=4, branching=3, reward_density=0.3, seed=0):
    return Garnet(num_states, num_actions, branching, reward_density).mdp(rng(seed))


def test_a_garnets_pairs_lead_to_distinct_states():
    for branching in (1, 3, 60):
        mdp = garnet(branching=branching)
        assert mdp.next_state.shape == (60, 4, branching)
        in_order = np.sort(mdp.next_state, axis=-1)
        assert np.all(np.diff(in_order, axis=-1) > 0)
        assert in_order.min() >= 0
        assert in_order.max() < 60


def test_a_garnets_successors_are_uniform_over_states():
    counts = np.bincount(garnet(num_actions=20).next_state.ravel(), minlength=60)
    assert stats.chisquare(counts).pvalue > 1e-4


def test_a_garnets_probabilities_are_a_uniform_partition_of_the_unit_interval():
    mdp = garnet(num_states=100, num_actions=10, branching=3)
    np.testing.assert_allclose(mdp.probability.sum(-1), 1)
    # Each of three parts between two uniform cuts is distributed as Beta(1, 2).
    for part in range(3):
        shares = mdp.probability[..., part].ravel()
        assert stats.kstest(shares, stats.beta(1, 2).cdf).pvalue > 1e-4


def test_the_density_of_a_garnets_rewards_is_the_share_of_paying_pairs():
    for density in (0.0, 0.3, 1.0):
        mdp = garnet(num_states=200, num_actions=10, branching=1, reward_density=density)
        paying = np.count_nonzero(mdp.reward) / 2000
        assert abs(paying - density) <= 4 * np.sqrt(density * (1 - density) / 2000)


def test_a_garnets_rewards_are_uniform_in_the_unit_interval_whatever_the_outcome():
    mdp = garnet(num_states=200, num_actions=10, reward_density=0.5)
    assert np.all(mdp.reward == mdp.reward[..., :1])
    paid = mdp.reward[..., 0][mdp.reward[..., 0] != 0]
    assert stats.kstest(paid, "uniform").pvalue > 1e-4


def test_a_garnet_never_ends_and_starts_in_state_zero():
    mdp = garnet()
    assert not mdp.terminated.any()
    assert mdp.initial.tolist() == [1.0] + [0.0] * 59


def test_more_successors_than_states_are_refused():
    with pytest.raises(ValueError, match="branching is 4, but can be at most num_states=3"):
        Garnet(3, 2, 4, 0.1)


@pytest.mark.parametrize("world", [Garnet(10, 3, 2, 0.5), CombinationLock(8, 3, 0.1)])
def test_the_seed_fixes_the_instance(world):
    first, again, other = (world.environment("x", seed, 0.9, 50).mdp for seed in (0, 0, 1))
    for field in ("probability", "next_state", "reward", "terminated", "initial"):
        np.testing.assert_array_equal(getattr(first, field), getattr(again, field))
    assert not np.array_equal(first.reward, other.reward)


# Coordinates


def test_a_states_coordinates_say_where_it_lies():
    for name, width in (("FrozenLake-v1", 4), ("FrozenLake8x8-v1", 8), ("CliffWalking-v1", 12)):
        places = ToyText(name).coordinates()
        assert [divmod(state, width) for state in range(len(places))] == list(map(tuple, places))
    assert Cliff(4, 6, 0.1).coordinates()[8].tolist() == [1, 2]
    assert CombinationLock(5, 3, 0.0).coordinates().tolist() == [[0], [1], [2], [3], [4]]
    assert Garnet(4, 2, 2, 0.5).coordinates().tolist() == np.eye(4).tolist()


def test_a_taxis_coordinates_are_what_gymnasium_decodes():
    world, places = gymnasium.make("Taxi-v4").unwrapped, ToyText("Taxi-v4").coordinates()
    assert [tuple(world.decode(state)) for state in range(500)] == list(map(tuple, places))


@pytest.mark.parametrize("name", [*TOY_TEXT_SHAPES])
def test_every_state_has_coordinates_of_its_own(name):
    world = ToyText(name)
    places = world.coordinates()
    assert len(np.unique(places, axis=0)) == len(places) == world.mdp(rng()).num_states


# Grid with two goals


@pytest.mark.parametrize("seed", range(5))
def test_a_detour_along_two_sides_leads_past_the_traps_to_the_large_goal(seed):
    size = 6
    mdp = TwoGoals(size, 0.4, 0.9, 0.0).mdp(rng(seed))
    up, right, down = 0, 1, 2
    assert up == 0
    state, steps = 0, 0
    for action in [right] * (size - 1) + [down] * (size - 1):
        ((following, reward, ended),) = outcomes(mdp, state, action)
        steps += 1
        state = following
    assert (reward, ended, steps) == (1.0, True, 2 * (size - 1))
    best = exact.optimal_values(mdp, 0.9)
    assert best[0].max() >= 0.9 ** (2 * size - 3) - 1e-9


def test_traps_and_goals_pay_what_they_say_and_end_episodes():
    mdp = TwoGoals(5, 0.4, 0.5, 0.0).mdp(rng(3))
    paid = {
        (reward, ended)
        for state in range(25)
        for action in range(4)
        for _, reward, ended in outcomes(mdp, state, action)
    }
    assert paid == {(0.0, False), (0.0, True), (-1.0, True), (0.4, True), (1.0, True)}


# Random MDP with rewards of both signs


def test_a_signed_garnet_is_a_garnet_with_rewards_of_both_signs():
    signed, plain = SignedGarnet(30, 4, 3, 0.5).mdp(rng()), Garnet(30, 4, 3, 0.5).mdp(rng())
    assert np.array_equal(signed.next_state, plain.next_state)
    paid = plain.reward != 0
    np.testing.assert_allclose(signed.reward[paid], 2 * plain.reward[paid] - 1)
    assert not signed.reward[~paid].any()
    assert signed.reward.min() < -0.9
    assert signed.reward.max() > 0.9

"""Data that is not what the file says of it: no number of it comes without a word."""

import json

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from bench.files.flat import UnusableFile
from bench.files.gate.gate import BOUNDS, LENGTH, REWARDS, STARTS, STEPS
from bench.measures.regret import FINAL
from bench.worlds.exact import deterministic, policy_value
from bench.worlds.simulators.recorded import RecordedEnvironment
from bench.worlds.tabular import TabularEnvironment
from tests.support import files
from tests.support.sweeps import records, run_here

ID = "toy/data-v0"
SHORT = ("dataset=minari", f"dataset.id={ID}", "algorithm=bc", "num_updates=3", "batch_size=8",
         "eval_episodes=2", "tracking=none", "launcher=local")  # fmt: skip


def episodes_of(world_id, num_episodes=8, max_steps=40, **settings):
    """Return a world as gymnasium makes it, and random episodes in it."""
    world = gymnasium.make(world_id, **settings)
    limit = world.spec.max_episode_steps or max_steps
    return world, files.random_episodes(world.unwrapped, num_episodes, min(max_steps, limit))


def write(world, episodes, seen=None, acted=None, said=None, **changes):
    """Write episodes, changed by functions of their columns, as data of a world."""
    as_it_is = {name: lambda column: column for name in ("observations", "actions", "rewards")}
    change = as_it_is | changes
    files.write_minari(
        ID,
        [
            files.episode(
                *(change[name](getattr(one, name)) for name in as_it_is), one.terminations
            )
            for one in episodes
        ],
        seen or world.observation_space,
        acted or world.action_space,
        env_spec=(said or world.spec).to_json(),
    )


def load(trust="check", discount=0.9):
    """Return the task of what was written."""
    return files.minari_source(ID, trust=trust).load("minari", 0, discount, None)


def refused():
    """Return the sentence that the data is refused in."""
    with pytest.raises(UnusableFile) as caught:
        load()
    sentence = str(caught.value)
    assert "dataset.trust=refuse trains on the data without a world" in sentence
    assert len(sentence.splitlines()) == 1
    return sentence


# Honest data


@pytest.mark.parametrize(
    "world_id",
    ["FrozenLake-v1", "CliffWalking-v1", "Taxi-v4", "CartPole-v1", "Pendulum-v1", "Acrobot-v1",
     "MountainCar-v0", "MountainCarContinuous-v0"],
)  # fmt: skip
def test_what_happens_in_a_world_agrees_with_it(world_id):
    write(*episodes_of(world_id))
    check = load().data.provenance["world_check"]
    assert (check["result"], check["world"], check["disagreements"]) == ("agrees", world_id, [])
    assert check["not_compared"] == {}
    assert {STARTS, STEPS, REWARDS, LENGTH} <= set(check["compared"])
    assert check["said"] is None


@pytest.mark.parametrize("world_id", ["Hopper-v5", "HalfCheetah-v4", "Ant-v5"])
def test_what_happens_in_mujoco_agrees_with_it(world_id):
    pytest.importorskip("mujoco")
    write(*episodes_of(world_id, 3, 15))
    check = load().data.provenance["world_check"]
    assert (check["result"], check["not_compared"]) == ("agrees", {})
    assert {STARTS, STEPS, REWARDS, BOUNDS} <= set(check["compared"])


def test_a_world_with_other_settings_agrees_with_its_own_data_alone():
    lake, steady = episodes_of("FrozenLake-v1", 40, is_slippery=False)
    write(lake, steady)
    assert load().data.provenance["world_check"]["result"] == "agrees"
    files.forget()
    slippery = gymnasium.make("FrozenLake-v1")
    files.remove_minari(ID)
    write(slippery, steady)
    assert "lead to what is rare in the world" in refused()


# Other spaces


def test_states_recorded_one_hot_are_not_numbered_states(tmp_path, monkeypatch, capsys):
    lake, episodes = episodes_of("FrozenLake-v1")
    one_hot = spaces.Box(0, 1, (16,), np.float32)
    write(lake, episodes, one_hot, observations=lambda o: np.eye(16, dtype=np.float32)[o])
    sentence = refused()
    assert "vectors of 16 in the data and 16 numbered states in the world" in sentence
    assert "ignore" not in sentence
    monkeypatch.chdir(tmp_path)
    assert run_here(monkeypatch, *SHORT) == 2
    assert "16 numbered states" in capsys.readouterr().err
    assert run_here(monkeypatch, *SHORT, "dataset.trust=ignore") == 2
    assert records(tmp_path) == {}
    assert run_here(monkeypatch, *SHORT, "dataset.trust=refuse") == 0
    (record,) = records(tmp_path).values()
    assert record["final"] == dict.fromkeys(FINAL)
    assert record["evaluation_reason"] == "dataset.trust=refuse takes no world"
    assert record["dataset"]["world_check"]["result"] == "not compared"


def test_observations_in_bins_are_no_vectors():
    pole, episodes = episodes_of("CartPole-v1")
    write(pole, episodes, spaces.Discrete(4), observations=lambda o: (o[:, 2] > 0).astype(int))
    assert "4 numbered states in the data and vectors of 4 in the world" in refused()


def test_other_actions_are_not_the_world_s():
    pole, episodes = episodes_of("CartPole-v1")
    write(pole, episodes, acted=spaces.Discrete(3))
    assert "actions are 3 numbered ones in the data and 2 numbered ones" in refused()


# Other units


def test_other_units_are_not_the_world_s():
    pole, episodes = episodes_of("CartPole-v1")
    degrees = np.float32([1, 1, 180 / np.pi, 180 / np.pi])
    write(pole, episodes, observations=lambda o: o * degrees)
    sentence = refused()
    assert "recorded steps lead where the world does not" in sentence
    assert "recorded episodes begin where the world's do not" in sentence
    assert "observation 2 goes from" in sentence


def test_an_ignored_disagreement_is_said():
    pole, episodes = episodes_of("CartPole-v1")
    write(pole, episodes, observations=lambda o: o * np.float32(2))
    task = load("ignore")
    assert task.environment.can_evaluate
    check = task.data.provenance["world_check"]
    assert (check["trust"], check["result"]) == ("ignore", "disagrees")
    assert check["said"].startswith("CartPole-v1 is not the world of toy/data-v0, which is ignored")


def test_other_actions_of_a_box_are_found_by_their_steps():
    pendulum, episodes = episodes_of("Pendulum-v1")
    write(pendulum, episodes, acted=spaces.Box(-1, 1, (1,)), actions=lambda a: a / 2)
    assert "recorded steps lead where the world does not" in refused()


@pytest.mark.parametrize(("recorded", "agrees"), [(3.0, True), (1.0, False)])
def test_actions_beyond_the_bounds_agree_if_the_world_takes_them_like_that(recorded, agrees):
    pendulum = gymnasium.make("Pendulum-v1").unwrapped
    seen, rewards = [pendulum.reset(seed=0)[0]], []
    for _ in range(30):
        following, reward, *_ = pendulum.step(np.float32([2.0]))
        seen.append(following)
        rewards.append(reward)
    actions = np.full((30, 1), recorded, dtype=np.float32)
    one = files.episode(np.array(seen), actions, rewards, False)
    write(gymnasium.make("Pendulum-v1"), [one], acted=spaces.Box(-9, 9, (1,)))
    if agrees:
        assert load().data.provenance["world_check"]["result"] == "agrees"
    else:
        assert "of 30 recorded steps lead where the world does not" in refused()


def test_a_d4rl_file_in_other_units_is_not_evaluated_in_the_counterpart():
    pytest.importorskip("mujoco")
    _, episodes = episodes_of("Hopper-v4", 4, 30)
    columns = {
        "observations": np.concatenate([one.observations[:-1] for one in episodes]),
        "actions": np.concatenate([one.actions for one in episodes]),
        "rewards": np.concatenate([one.rewards for one in episodes]),
        "terminals": np.concatenate([one.terminations for one in episodes]),
        "timeouts": np.concatenate([one.truncations for one in episodes]),
    }
    files.write_d4rl(columns)
    honest = files.d4rl_source().load("d4rl", 0, 0.9, None)
    assert honest.environment.can_evaluate
    assert honest.data.provenance["world_check"]["result"] == "agrees"
    files.forget()
    files.write_d4rl(columns | {"observations": 10 * columns["observations"]})
    task = files.d4rl_source().load("d4rl", 0, 0.9, None)
    assert not task.environment.can_evaluate
    assert "lead where the world does not" in task.environment.without_evaluation
    assert task.data.provenance["world_check"]["result"] == "disagrees"


# Wrappers and limits


def wrapped(world, *entries):
    """Return the world's spec with wrappers in it."""
    spec = json.loads(world.spec.to_json())
    spec["additional_wrappers"] = [
        {"name": name, "entry_point": f"gymnasium.wrappers:{name}", "kwargs": kwargs}
        for name, kwargs in entries
    ]
    return type(world.spec).from_json(json.dumps(spec))


@pytest.mark.parametrize(
    ("name", "kwargs", "held"),
    [
        ("NormalizeObservation", {"epsilon": 1e-8}, "statistics"),
        ("NormalizeReward", {"gamma": 0.99, "epsilon": 1e-8}, "statistics"),
        ("TimeAwareObservation", {}, "time"),
    ],
)
def test_a_wrapper_whose_state_is_in_no_file_is_refused(name, kwargs, held):
    pole, episodes = episodes_of("CartPole-v1")
    write(pole, episodes, said=wrapped(pole, (name, kwargs)))
    assert f"the world is wrapped in {name}, whose {held} the file does not hold" in refused()
    assert isinstance(load("refuse").environment, RecordedEnvironment)


def test_a_wrapper_without_a_state_is_none_the_worse():
    pole, episodes = episodes_of("CartPole-v1")
    write(pole, episodes, said=wrapped(pole, ("FlattenObservation", {})))
    task = load()
    assert task.environment.can_evaluate
    assert task.data.provenance["world_check"]["result"] == "agrees"


def test_a_spec_that_may_not_be_made_is_named_as_the_reason():
    pole, episodes = episodes_of("CartPole-v1")
    spec = json.loads(pole.spec.to_json()) | {"id": "Pole-v7", "entry_point": "mine:Pole"}
    write(pole, episodes, said=type("Spec", (), {"to_json": lambda self: json.dumps(spec)})())
    environment = load().environment
    assert (
        environment.without_evaluation == "Pole-v7 is not registered here, and of no known package"
    )


def test_a_limit_below_the_longest_recorded_episode_is_refused():
    car, episodes = episodes_of("MountainCar-v0", 2, 40)
    short = gymnasium.make("MountainCar-v0", max_episode_steps=25)
    write(car, episodes, said=short.spec)
    assert "the longest recorded episode has 40 steps, but the world stops after 25" in refused()


def test_episodes_that_begin_elsewhere_are_refused():
    car, episodes = episodes_of("MountainCar-v0", 8, 60)
    later = [
        files.episode(one.observations[50:], one.actions[50:], one.rewards[50:], False)
        for one in episodes
    ]
    write(car, later, observations=lambda o: o + np.float32([0.9, 0]))
    assert "recorded episodes begin where the world's do not" in refused()


# Other rewards


@pytest.mark.parametrize(("slope", "offset"), [(1.0, 2.0), (3.0, 0.0), (0.5, -1.0)])
def test_rewards_of_a_table_are_mapped_and_values_with_them(slope, offset):
    lake, episodes = episodes_of("CliffWalking-v1", 20)
    write(lake, episodes, rewards=lambda r: slope * r + offset)
    task = load()
    environment = task.environment
    assert isinstance(environment, TabularEnvironment)
    check = task.data.provenance["world_check"]
    assert check["result"] == "agrees but for rewards"
    assert check["reward_map"] == pytest.approx({"slope": slope, "offset": offset}, abs=1e-5)
    assert f"Rewards of {ID} are" in check["said"]
    files.forget()
    files.remove_minari(ID)
    write(lake, episodes)
    plain = load().environment
    right = deterministic(np.ones(48, dtype=int), 4)
    usual = policy_value(plain.mdp, right, 0.9)
    # To the right falls off the cliff for ever: a reward of 1 at each step is worth 10.
    assert policy_value(environment.mdp, right, 0.9) == pytest.approx(
        slope * usual + offset * 10, rel=1e-5
    )
    assert environment.spec.reward_min == pytest.approx(slope * -100 + offset, rel=1e-5)
    assert environment.spec.v_min == pytest.approx(min(0, slope * -100 + offset) * 10, rel=1e-5)


def test_rewards_of_cartpole_are_scaled():
    pole, episodes = episodes_of("CartPole-v1")
    write(pole, episodes, rewards=lambda r: 0.1 * r)
    environment = load().environment
    assert environment.optimum == pytest.approx(50)
    assert environment.uniform == pytest.approx(2.223)
    assert environment.spec.v_max == pytest.approx(1.0)
    simulator = environment.simulator([environment], [np.random.default_rng(0)], 3)
    simulator.reset()
    assert simulator.step(np.zeros((1, 3), dtype=int))[1] == pytest.approx(0.1)


def test_rewards_of_pendulum_are_mapped():
    pendulum, episodes = episodes_of("Pendulum-v1")
    write(pendulum, episodes)
    plain = load().environment
    files.forget()
    files.remove_minari(ID)
    write(pendulum, episodes, rewards=lambda r: 0.1 * r + 1)
    mapped = load().environment
    steps = (1 - 0.9**200) / 0.1
    assert mapped.optimum == pytest.approx(0.1 * plain.optimum + steps, rel=1e-4)
    assert mapped.uniform == pytest.approx(0.1 * plain.uniform + steps, rel=1e-4)
    assert mapped.cells.reward.max() == pytest.approx(1, abs=1e-3)
    assert mapped.spec.v_max == pytest.approx(steps, rel=1e-4)


@pytest.mark.parametrize(
    ("world_id", "change", "why"),
    [
        ("CliffWalking-v1", lambda r: np.clip(r, -1, 1), "they do not rise with the world's"),
        ("Pendulum-v1", lambda r: np.clip(r, -1, 0), "nor are they an affine map"),
        ("Pendulum-v1", lambda r: -r, "they do not rise with the world's"),
        ("MountainCar-v0", lambda r: r + 2, "the compared steps have one reward in the world"),
    ],
)
def test_rewards_of_no_map_are_refused(world_id, change, why):
    write(*episodes_of(world_id, 20), rewards=change)
    assert why in refused()


def test_mapped_rewards_are_said_in_record_card_and_last_line(tmp_path, monkeypatch, capsys):
    lake, episodes = episodes_of("CliffWalking-v1", 10)
    write(lake, episodes, rewards=lambda r: 2 * r + 1)
    monkeypatch.chdir(tmp_path)
    assert run_here(monkeypatch, *SHORT) == 0
    said = f"Rewards of {ID} are 2 x the world's + 1: so are its values and regrets."
    assert capsys.readouterr().out.splitlines()[-1] == said
    (record,) = records(tmp_path).values()
    check = record["dataset"]["world_check"]
    assert check["said"] == said
    assert check["compared"][STEPS] == record["dataset"]["num_transitions"]
    assert record["final"]["improvement"] == pytest.approx(
        record["final"]["value"] - record["values"]["behavior"]
    )
    assert run_here(monkeypatch, "describe", "dataset=minari", f"dataset.id={ID}") == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "agrees but for rewards with CliffWalking-v1" in printed
    assert "2 x the world's + 1" in printed


def test_an_export_with_rewards_altered_on_purpose_keeps_its_world(monkeypatch):
    words = ("dataset=lock", "coverage=rewards", "coverage.kind=zero", "coverage.severity=1",
             "dataset.num_transitions=300")  # fmt: skip
    assert run_here(monkeypatch, "export", ID, *words) == 0
    task = load()
    assert task.environment.optimum > 0
    check = task.data.provenance["world_check"]
    assert check["result"] == "agrees"
    assert check["not_compared"] == {REWARDS: "the file says that they were altered"}


def test_a_verdict_is_found_again():
    write(*episodes_of("CartPole-v1"))
    first = load().data.provenance["world_check"]
    files.forget()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bench.files.gate.believed.compare", lambda *_: pytest.fail("compared again"))
        assert load().data.provenance["world_check"] == first

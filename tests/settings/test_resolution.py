"""Settings by kind of world: who decides, and in which order."""

import pytest
import yaml

from bench import CONF
from bench.data.collected import Collected
from bench.settings import resolution
from bench.settings.groups import file_of, known_names
from bench.settings.run import run_config
from bench.settings.typed import ConfigError
from tests.support import commands, files

LEARNERS = [n for n in known_names("algorithm") if "kinds" in file_of("algorithm", n)]
WORLDS = {"table": "lock", "vector": "cartpole", "continuous": "lqr", "mujoco": "d4rl"}


def one(*words):
    (job,) = commands.settings(*words)
    return job


@pytest.mark.parametrize(
    ("name", "kind"), [(n, kind) for n in LEARNERS for kind in file_of("algorithm", n)["kinds"]]
)
def test_a_learner_has_what_its_file_says_for_the_kind_of_world(name, kind):
    if kind == "mujoco":
        files.write_d4rl(files.d4rl_columns())
    chosen = file_of("algorithm", name)["kinds"][kind]
    job = one(f"algorithm={name}", f"dataset={WORLDS[kind]}")
    assert "kinds" not in job["algorithm"]
    settings = file_of("algorithm", name) | chosen
    for key, value in chosen.items():
        if key.removesuffix("s") in chosen.keys() - {key}:
            continue  # the parts to choose from, or what is chosen of one
        # The name of a part has become the part.
        several = f"{key}s"
        wanted = value
        if several in settings:
            parts = [x.get(several, {}) for x in (file_of("algorithm", name), chosen)]
            wanted = {k: v for part in parts for k, v in part.get(value, {}).items()}
        assert (job["algorithm"] | job)[key] == wanted
    run_config(job)


def test_what_is_said_comes_before_what_was_chosen():
    job = one("algorithm=stackelberg", "dataset=cartpole", "num_updates=7", "algorithm.ridge=null")
    assert job["num_updates"] == 7
    assert job["algorithm"]["ridge"] is None
    assert job["batch_size"] == 64
    assert job["algorithm"]["discount"] == 0.99


def test_what_was_chosen_reaches_a_part_and_what_is_said_of_it_comes_first():
    words = "algorithm=stackelberg", "dataset=cartpole"
    neural = file_of("algorithm", "stackelberg")["followers"]["neural"]
    chosen = {"regularization": 0.001, "curvature_minibatches": 1}
    assert {k: neural[k] for k in chosen} != chosen
    assert one(*words)["algorithm"]["follower"] == neural | chosen
    said = one(*words, "algorithm.followers.neural.regularization=0.02")["algorithm"]["follower"]
    assert said == neural | chosen | {"regularization": 0.02}
    for mapping in (".neural={regularization:0.02}", "={neural:{regularization:0.02}}"):
        whole = one(*words, f"algorithm.followers{mapping}")["algorithm"]["follower"]
        assert whole == said
    linear = one(*words, "chosen=linear_follower")
    assert linear["algorithm"]["follower"]["target"].endswith("LinearFollower")
    assert linear["batch_size"] == 1024


@pytest.mark.parametrize(
    ("chosen", "told"),
    [
        ({"followers": {"neural": {"speed": 1}}}, "followers.neural.speed; allowed: curvature, "),
        ({"followers": {"quadratic": {}}}, "followers.quadratic; allowed: features, linear, "),
        ({"ridge": {"deep": 1}}, "ridge.deep; allowed: nothing below it"),
    ],
)
def test_a_choice_that_no_part_has_is_refused(chosen, told):
    settings = one("algorithm=bc", "dataset=lock")
    algorithm = file_of("algorithm", "stackelberg") | {"kinds": {"table": chosen}}
    with pytest.raises(ConfigError, match=f"kinds.table of stackelberg holds {told}"):
        resolution.resolved({**settings, "algorithm": algorithm})


def test_a_grid_and_an_experiment_s_own_settings_come_before_what_was_chosen():
    runs = commands.settings("experiment=tuning", "algorithm=bc", "dataset=garnet", "seed=1000")
    assert {job["algorithm"]["top_fraction"] for job in runs} == {0.1, 0.25, 0.5, 1}
    assert {job["eval_every"] for job in runs} == {3000}  # null: at the end, of 3000 updates


def test_settings_of_an_experiment_come_before_the_learner_s_own():
    (job,) = commands.settings(
        "experiment=coverage_ablation", "algorithm=bc", "dataset=lock", "seed=0",
        "coverage=thin", "coverage.severity=0.5",
    )  # fmt: skip
    hand = yaml.safe_load((CONF / "chosen" / "hand.yaml").read_text())["bc"]["table"]
    assert job["num_updates"] == job["eval_every"] == hand["num_updates"]
    assert job["algorithm"]["learning_rate"] == hand["learning_rate"]
    assert job["algorithm"]["hidden_sizes"] == []


def test_chosen_files_name_learners_and_kinds_that_there_are():
    for name in known_names("chosen"):
        for learner, kinds in file_of("chosen", name).items():
            assert learner in known_names("algorithm")
            assert set(kinds) <= set(WORLDS)


def test_a_choice_that_no_setting_has_is_refused():
    settings = one("algorithm=cql", "dataset=lock")
    algorithm = {**settings["algorithm"], "kinds": {"table": {"nonsense": 1}}}
    with pytest.raises(ConfigError, match="holds 'nonsense'; allowed: batch_size, conservatism"):
        resolution.resolved({**settings, "algorithm": algorithm})


def test_a_slab_is_one_of_the_dimension_that_the_world_says():
    assert one("dataset=cartpole", "coverage=region")["coverage"]["dimension"] == "angle"
    assert one("dataset=lock", "coverage=region")["coverage"]["dimension"] is None
    inner = one("dataset=cartpole", "coverage=size_matched", "coverage.of=region")["coverage"]["of"]
    assert inner["dimension"] == "angle"
    said = one("dataset=cartpole", "coverage=region", "coverage.dimension=velocity")
    assert said["coverage"]["dimension"] == "velocity"


def test_resolving_twice_changes_nothing():
    job = one("algorithm=stackelberg", "dataset=cartpole", "coverage=region")
    assert resolution.resolved(job) == job


def test_pairs_that_cannot_be_are_left_out_with_a_line():
    plan = commands.plan("algorithm=fqi_exact,bc", "dataset=lock,cartpole")
    pairs = {(r.config.algorithm_name, r.config.dataset.name) for r in plan.runs}
    assert pairs == {("fqi_exact", "lock"), ("bc", "lock"), ("bc", "cartpole")}
    (line,) = plan.left_out
    assert "algorithm=fqi_exact needs a tabular dataset" in line
    with pytest.raises(ConfigError, match="needs a tabular dataset"):
        commands.plan("algorithm=fqi_exact", "dataset=cartpole")


def test_a_newcomer_joins_an_experiment_by_its_name():
    """Whatever is in a grid for others: data, coverage and seeds are the newcomer's, once each."""
    words = ("experiment=claim", "dataset=lock", "behavior=mixed", "seed=0")
    own = commands.plan(*words, "algorithm=bc")
    with_others = commands.plan(*words, "algorithm=bc,stackelberg")
    assert len(own.runs) == 6
    assert len(with_others.runs) == 6 + 12


# A class of its own for a kind of world


def algorithm_of(*words):
    return one(*words)["algorithm"]


def test_a_kind_with_a_target_is_whole_by_itself():
    found = algorithm_of("algorithm=bc", "dataset=lqr")
    own = dict(file_of("algorithm", "bc")["kinds"]["continuous"])
    training = {"num_updates": own.pop("num_updates"), "batch_size": own.pop("batch_size")}
    assert found == {"name": "bc", "discount": 0.95, **own}
    job = one("algorithm=bc", "dataset=lqr")
    assert {key: job[key] for key in training} == training
    assert "objective" not in algorithm_of("algorithm=bc", "dataset=lock")


def test_the_same_class_has_the_paper_s_settings_in_worlds_of_others():
    files.write_d4rl(files.d4rl_columns())
    for name in ("bc", "td3_bc", "iql"):
        short = one(f"algorithm={name}", "dataset=lqr")
        long = one(f"algorithm={name}", "dataset=d4rl")
        assert long["algorithm"]["target"] == short["algorithm"]["target"]
        assert long["algorithm"].keys() == short["algorithm"].keys()
        paper = {"hidden_sizes": [256, 256], "learning_rate": 3e-4}
        assert {key: long["algorithm"][key] for key in paper} == paper
        assert (long["num_updates"], long["batch_size"]) == (1_000_000, 256)


def test_words_reach_the_class_of_the_world_s_kind():
    words = ("algorithm=bc", "dataset=lqr", "num_updates=7")
    found = one(*words, "algorithm.learning_rate=0.5", "algorithm.objective=mse")
    assert found["algorithm"]["learning_rate"] == 0.5
    assert found["algorithm"]["objective"] == "mse"
    assert found["num_updates"] == 7
    several = commands.settings(*words, "algorithm.objective=likelihood,mse", "seed=0")
    assert [job["algorithm"]["objective"] for job in several] == ["likelihood", "mse"]
    assert algorithm_of(*words, "algorithm.discount=0.5")["discount"] == 0.5


def test_a_word_that_the_world_s_class_has_no_use_for_is_refused():
    settings = one("algorithm=bc", "dataset=lock")
    kinds = {"continuous": {"target": "x.Y", "width": 3}}
    continuous = {**settings, "dataset": one("algorithm=bc", "dataset=lqr")["dataset"]}
    continuous["algorithm"] = {**settings["algorithm"], "kinds": kinds}
    with pytest.raises(ConfigError, match=r"algorithm\.top_fraction is not a setting of") as e:
        resolution.resolved(continuous, {"algorithm.top_fraction"})
    assert str(e.value).endswith("allowed here: discount, name, target, width.")
    resolved = resolution.resolved(continuous, {"seed", "algorithm", "algorithm.discount"})
    assert resolved["algorithm"] == {"name": "bc", "discount": 0.9, "target": "x.Y", "width": 3}


@pytest.mark.parametrize("dataset", ["lock", "cartpole"])
def test_a_setting_of_another_kind_s_class_is_refused(dataset):
    with pytest.raises(ConfigError, match=r"algorithm\.objective is not a setting; allowed here"):
        commands.plan("algorithm=bc", f"dataset={dataset}", "algorithm.objective=mse")
    with pytest.raises(ConfigError, match=r"algorithm\.objective is not a setting; allowed here"):
        commands.plan("algorithm=bc", f"dataset={dataset}", "algorithm.objective=mse,likelihood")


def test_learners_without_a_class_for_the_kind_are_left_out_with_a_line():
    plan = commands.plan("algorithm=bc,fqi_exact,td3_bc", "dataset=lock,lqr")
    pairs = {(r.config.algorithm_name, r.config.dataset.name) for r in plan.runs}
    assert pairs == {("bc", "lock"), ("bc", "lqr"), ("fqi_exact", "lock"), ("td3_bc", "lqr")}
    assert len(plan.left_out) == 2
    with pytest.raises(ConfigError, match="td3_bc needs continuous actions, but those of"):
        commands.plan("algorithm=td3_bc", "dataset=lock")


def test_continuous_actions_on_numbered_states_are_refused(monkeypatch):
    facts = commands.plan("algorithm=bc", "dataset=lqr").runs[0].config.dataset.source.facts()
    monkeypatch.setattr(Collected, "facts", lambda self: facts._replace(observation_names=()))
    with pytest.raises(ConfigError, match="bc needs vector observations where actions are cont"):
        commands.plan("algorithm=bc", "dataset=lqr")

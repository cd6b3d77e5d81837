"""Words with one plain value are set on what Hydra has composed, as Hydra itself would set them."""

import pytest

from bench.settings import composition
from bench.settings.typed import ConfigError
from tests.support import commands


@pytest.mark.parametrize(
    "words",
    [
        "dataset=lock seed=3 num_updates=1e3 algorithm.learning_rate=1e38 eval_every=null",
        "dataset=cliff dataset.environment.slip=0.3 experiment_name='a_b' results_dir=x/y",
        "algorithm=stackelberg dataset=cartpole algorithm.discount=null dataset.discount=0.9",
        "experiment=coverage_ablation dataset=lock coverage=thin algorithm=bc num_updates=7",
        "algorithm=cql,bc dataset=lock batch_size=full seed=0,1 coverage=thin",
        "experiment=continuous_full algorithm=td3_bc dataset=lqr behavior=mixed launcher=local",
        "dataset=cartpole behavior=mixed tracking=none chosen=hand experiment=tuning num_updates=3",
    ],
)
def test_one_plain_value_is_set_as_hydra_sets_it(words, monkeypatch):
    said = words.split()
    mine = list(commands.composer(*said).jobs())
    monkeypatch.setattr(composition, "is_one_plain_value", lambda override: False)
    assert mine == list(commands.composer(*said).jobs())


@pytest.mark.parametrize(
    "word",
    ["++seed=3", "algorithm.hidden_sizes=[8]", "dataset.environment={num_states:9}", "grid=${seed}",
     "dataset.name=${coverage.name}"],
)  # fmt: skip
def test_other_words_are_hydra_s(word):
    (override,) = commands.composer(word).fixed
    assert not composition.is_one_plain_value(override)


def test_what_a_run_changes_reaches_no_other():
    first, second = (commands.composer("dataset=lock", "seed=3").jobs() for _ in range(2))
    changed = next(first)
    changed["dataset"]["environment"].clear()
    assert next(second)["dataset"]["environment"]


def test_one_value_of_a_setting_that_a_grid_has_selects_from_it():
    several = commands.settings("experiment=leader_gradient", "algorithm.objective=data,initial")
    one = commands.settings("experiment=leader_gradient", "algorithm.objective=initial")
    assert 0 < len(one) < len(several)
    assert one == [job for job in several if job["algorithm"]["objective"] == "initial"]


def test_a_value_of_what_a_grid_chooses_is_one_for_the_choice():
    """The default learner has no ridge, the experiment's one has."""
    words = "experiment=neural_follower", "coverage.severity=0", "seed=0", "behavior=mixed"
    jobs = commands.settings(*words, "algorithm.ridge=0.07")
    assert {job["algorithm"]["ridge"] for job in jobs} == {0.07}
    assert len(jobs) == len(commands.settings(*words))
    with pytest.raises(ConfigError, match=r"ridge is not a setting of algorithm=bc; allowed here"):
        commands.settings("experiment=claim", "dataset=lock", "algorithm.ridge=0.07")


@pytest.mark.parametrize(
    "group",
    [
        "algorithm",
        "dataset",
        "coverage",
        "behavior",
        "tracking",
        "launcher",
        "chosen",
        "experiment",
    ],
)
def test_what_no_group_has_is_refused_in_one_sentence(group):
    with pytest.raises(ConfigError, match=rf"{group}\.nonsense is not a setting"):
        commands.settings(f"{group}.nonsense=1,2")


def test_what_is_allowed_is_said_of_the_group_however_deep_the_word():
    with pytest.raises(ConfigError, match=r"of algorithm=cql; allowed here: conservatism, "):
        commands.settings("algorithm.foo.bar=1,2")

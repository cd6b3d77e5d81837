"""ICU-Sepsis: a small file of the same format, and the package's own where it is installed."""

import importlib.util

import numpy as np
import pytest

from bench.data.collected import Collected
from bench.settings.typed import ConfigError
from bench.worlds import exact
from bench.worlds.clinical import icu_sepsis
from bench.worlds.clinical.icu_sepsis import DEATH, SURVIVAL, ICUSepsis
from tests.support import commands

installed = pytest.mark.skipif(
    importlib.util.find_spec("icu_sepsis") is None, reason="the extra icu is not installed"
)
# Optimal, expert as shipped, expert on admissible actions alone, uniform.
KNOWN = (0.801334390, 0.722158, 0.722408, 0.719095)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Write a file of the package's format in which every state leads to an end, and use it."""
    states, actions = icu_sepsis.SHAPE
    rng = np.random.default_rng(0)
    survives = rng.random((states, actions))
    chance = np.zeros((states, actions, states))
    chance[..., SURVIVAL], chance[..., DEATH] = survives, 1 - survives
    paid = np.zeros_like(chance)
    paid[..., SURVIVAL] = 1.0
    policy = np.full((states, actions), 1 / actions)
    policy[DEATH:] = 0
    np.savez(
        tmp_path / "dynamics.npz", tx_mat=chance, r_mat=paid, d_0=np.eye(states)[5],
        expert_policy=policy, state_cluster_centers=rng.random((states, 47)),
        sofa_scores=np.zeros(states),
    )  # fmt: skip
    lines = [" ".join(["2"] * states), *["0 3"] * states]
    (tmp_path / "admissible_actions.txt").write_text("\n".join(lines))
    monkeypatch.setattr(icu_sepsis, "assets", lambda: tmp_path)
    return tmp_path, survives


def test_a_file_is_read_as_a_table(folder):
    _, survives = folder
    environment = ICUSepsis("mean").environment("icu", 0, 0.9, 10)
    assert environment.optimum == pytest.approx(survives[5].max())
    assert environment.uniform == pytest.approx(survives[5].mean())
    assert environment.clinician.sum(-1) == pytest.approx(1)


def test_an_action_that_nobody_took_can_lead_to_death(folder):
    _, survives = folder
    environment = ICUSepsis("terminate").environment("icu", 0, 0.9, 10)
    assert environment.optimum == pytest.approx(max(survives[5, 0], survives[5, 3]))
    assert environment.uniform == pytest.approx((survives[5, 0] + survives[5, 3]) / 25)


def test_clinicians_collect_by_their_own_policy(folder):
    source = Collected(
        ICUSepsis("mean"), ({"policy": "clinician", "epsilon": 0.0, "share": 1.0},), 2000, 10
    )
    task = source.load("icu", 0, 0.9, None)
    counts = np.bincount(task.data.action, minlength=25)
    assert counts.min() > 40
    assert task.behavior_value == pytest.approx(task.environment.uniform)


def test_runs_share_one_table(folder):
    environments = [ICUSepsis("mean").environment("icu", seed, 0.9, 10) for seed in range(3)]
    generators = [np.random.default_rng(seed) for seed in range(3)]
    simulator = environments[0].simulator(environments, generators, 4)
    assert simulator.cumulative.shape[0] == 1
    observation = simulator.reset()
    _, reward, terminated = simulator.step(np.zeros_like(observation))
    assert reward.shape == (3, 4)
    assert terminated.all()


def test_without_the_package_one_sentence_says_what_to_install(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        icu_sepsis.importlib.util, "find_spec", lambda name: None if "icu" in name else find(name)
    )
    with pytest.raises(ConfigError, match=r'dataset=icu_sepsis needs `pip install -e "\.\[icu\]"`'):
        commands.plan("dataset=icu_sepsis", "algorithm=bc")
    # An experiment goes on with the worlds that are there.
    runs = commands.plan("experiment=real_world", "algorithm=bc", "seed=0").runs
    assert {r.config.dataset.environment_name for r in runs} == {
        "sepsis_sim",
        "glucose",
        "glucose_in_units",
    }


def test_a_world_without_records_has_no_clinician():
    words = "'dataset.behavior=[{policy: clinician, epsilon: 0, share: 1}]'".strip("'")
    with pytest.raises(
        ConfigError, match="the policy of clinicians, which this world does not know"
    ):
        commands.plan("dataset=lock", "algorithm=bc", words)


@installed
def test_values_are_those_computed_elsewhere():
    environment = ICUSepsis("mean").environment("icu", 0, 0.99, 500)
    acting = slice(0, DEATH)
    allowed = icu_sepsis.admissible(icu_sepsis.assets())
    assert allowed[acting].sum() == 2238
    assert (allowed[acting].sum(-1) == 1).sum() == 237
    shipped, kept = environment.clinician, environment.clinician.copy()
    assert shipped[acting][~allowed[acting]].sum() / DEATH == pytest.approx(0.156, abs=5e-4)
    kept[acting] *= allowed[acting]
    kept /= kept.sum(-1, keepdims=True)
    uniform = np.full_like(shipped, 1 / 25)
    policies = [exact.deterministic(environment.optimal_actions, 25), shipped, kept, uniform]
    values = exact.policy_value(environment.mdp, np.stack(policies), 0.99)
    np.testing.assert_allclose(values, KNOWN, atol=1e-6)
    undiscounted = exact.policy_value(environment.mdp, np.stack([shipped, uniform]), 1.0)
    np.testing.assert_allclose(undiscounted, (0.781845, 0.780071), atol=1e-6)


@installed
def test_where_unseen_actions_end_episodes_the_uniform_policy_is_worth_nearly_nothing():
    environment = ICUSepsis("terminate").environment("icu", 0, 0.99, 500)
    assert environment.uniform == pytest.approx(0.008351, abs=1e-6)
    assert environment.optimum == pytest.approx(0.801334390, abs=1e-6)


@pytest.mark.parametrize(
    "words",
    [
        ("algorithm=cppo",),
        ("algorithm=stackelberg", "algorithm.kernel=gaussian"),
        ("algorithm=stackelberg", "algorithm.kernel_loss=squared"),
        ("algorithm=stackelberg", "algorithm.ridge=0.1"),
    ],
)
def test_a_learner_that_would_make_too_large_tables_says_so(words, folder):
    with pytest.raises(ConfigError, match="states x actions x states, of at most 10,000,000"):
        commands.plan("dataset=icu_sepsis", *words)


@pytest.mark.parametrize("algorithm", ["pspi", "stackelberg"])
def test_a_learner_that_counts_visited_pairs_alone_is_not_refused(algorithm, folder):
    commands.plan("dataset=icu_sepsis", f"algorithm={algorithm}")

"""A dataset's card says what the dataset holds."""

import re
import sys

import numpy as np
import pytest

from bench.__main__ import main
from bench.commands import describe
from bench.data import degradations
from bench.measures import coverage
from bench.measures.value_estimates.estimation import of_the_data
from bench.settings.run import run_config
from tests.support import commands, files, ohio

pytestmark = pytest.mark.usefixtures("quick_values")

SMALL = "dataset.num_transitions=400"


@pytest.fixture
def card(monkeypatch, capsys):
    """Return a function that describes data and gives exit status, card and complaint."""

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["bench", "describe", *words])
        with pytest.raises(SystemExit) as stop:
            main()
        printed = capsys.readouterr()
        return int(stop.value.code or 0), printed.out, printed.err

    return run


def loaded(*words):
    """Return the task and the degraded data of the same words."""
    (job,) = commands.settings(*words)
    config = run_config(job)
    source = config.dataset
    task = source.source.load(source.name, source.seed, source.discount, None)
    return task, config.coverage(task.data)


def entry(text, name):
    """Return what stands behind a name on its line."""
    return re.search(rf"^ *{re.escape(name)}  (.*?) *$", text, re.MULTILINE)[1]


def test_the_card_counts_what_is_there(card):
    words = (
        "dataset=cliff",
        "behavior=mixed",
        SMALL,
        "coverage=region",
        "coverage.severity=0.5",
        "seed=3",
    )
    status, text, _ = card(*words)
    task, data = loaded(*words)
    assert status == 0
    assert entry(text, "degradation") == "region 0.5"
    assert entry(text, "transitions") == f"{len(data)} of 400 ({len(data) / 400:.1%})"
    assert entry(text, "terminations") == str(data.terminated.sum())
    assert entry(text, "truncations").startswith(f"{data.truncated.sum()} ")
    assert entry(text, "initial states") == str((data.step == 0).sum())
    assert entry(text, "fingerprint") == data.fingerprint
    assert entry(text, "optimum or reference") == f"{task.environment.optimum:.4g}"
    assert entry(text, "behavior policy") == f"{task.behavior_value:.4g}"
    assert f"{len(np.unique(data.observation))} of 24" in entry(text, "states seen")


@pytest.mark.parametrize("dataset", ["dataset=cartpole", "dataset=cliff"])
def test_the_card_shows_every_measure_of_coverage_or_why_not(card, dataset):
    words = (dataset, SMALL)
    _, text, _ = card(*words)
    report = coverage.measure(*loaded(*words), "everywhere")
    assert entry(text, "comparator") == report.comparator
    for name, value in vars(report).items():
        if name not in ("comparator", "by_policy", "reasons"):
            shown = f"{value:.4g}" if value is not None else report.reasons[name]
            assert entry(text, name).endswith(shown)


def test_the_bars_of_the_histogram_count_the_episodes(card):
    _, text, _ = card("dataset=lock", "behavior=random", SMALL)
    _, data = loaded("dataset=lock", "behavior=random", SMALL)
    bars = re.search(r"episode returns\n(.*?)\n\n", text, re.DOTALL)[1].splitlines()
    counts = [int(line.split()[1].replace(",", "")) for line in bars]
    values = [float(line.split()[0]) for line in bars]
    distinct, expected = np.unique(data.episode_returns, return_counts=True)
    assert counts == expected.tolist()
    assert values == pytest.approx(distinct, rel=1e-3)
    longest = max(range(len(bars)), key=lambda row: bars[row].count("█"))
    assert counts[longest] == max(counts)


def test_many_different_returns_are_put_into_bins(card):
    _, text, _ = card("dataset=cartpole", "behavior=random", "dataset.num_transitions=3000")
    _, data = loaded("dataset=cartpole", "behavior=random", "dataset.num_transitions=3000")
    bars = re.search(r"episode returns\n(.*?)\n\n", text, re.DOTALL)[1].splitlines()
    assert len(bars) == describe.BINS
    assert sum(int(line.split()[3]) for line in bars) == data.num_episodes


def test_data_of_which_nothing_is_left_is_said_to_be_empty(card, monkeypatch):
    def nothing(dataset, severity, rng):
        return dataset.keep(np.zeros(len(dataset), dtype=bool), "nothing")

    monkeypatch.setattr(degradations, "thin", nothing)
    status, text, _ = card("dataset=lock", SMALL, "coverage=thin", "coverage.severity=1")
    assert status == 0
    assert "Nothing is left" in text
    assert entry(text, "transitions") == "0 of 400 (0.0%)"


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ("dataset=nonsense", "cartpole, cliff"),
        ("dataset=lock seed=0,1", "name 2 runs"),
        ("dataset=lock coverage.severity=0.5", "coverage=none takes nothing away"),
        ("dataset=cartpole coverage=region coverage.dimension=mood", "position, velocity"),
        ("dataset=lock nonsense=1", "nonsense"),
        ("-m", "-m"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(card, words, named):
    status, text, complaint = card(*words.split())
    assert status == 2
    assert text == ""
    assert named in complaint
    assert "Traceback" not in complaint
    assert len(complaint.splitlines()) == 1


def test_nothing_is_written(card, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert card("dataset=lock", SMALL)[0] == 0
    assert list(tmp_path.rglob("*")) == []


def test_the_card_of_continuous_actions_has_their_ranges_and_counts_bounds(card):
    words = ("dataset=pendulum", "behavior=mixed", SMALL)
    status, text, complaint = card(*words)
    assert (status, complaint) == (0, "")
    task, data = loaded(*words)
    assert "3 dimensions, continuous actions of 1 dimensions" in entry(text, "world")
    lowest, mean, _, highest = map(float, entry(text, "action 0").split())
    assert lowest == pytest.approx(data.action.min(), rel=1e-3)
    assert mean == pytest.approx(data.action.mean(), rel=1e-3)
    assert highest == pytest.approx(data.action.max(), rel=1e-3)
    reached = int((np.abs(data.action) >= 2).sum())
    assert reached > 0
    assert entry(text, "at a bound or beyond").startswith(f"{reached} of 400")
    assert entry(text, "unit") == "discounted"
    assert float(entry(text, "optimum or reference")) == pytest.approx(-122.3, abs=0.05)
    assert float(entry(text, "behavior policy")) == pytest.approx(task.behavior_value, rel=1e-3)


def test_a_file_in_which_no_episode_ends_says_so(card):
    columns = files.d4rl_columns((5, 3, 6))
    columns["terminals"][:], columns["timeouts"][:] = False, False
    files.write_d4rl(columns)
    status, text, _ = card("dataset=d4rl", f"dataset.id={files.HOPPER}")
    assert status == 0
    assert entry(text, "episodes") == "1"
    assert entry(text, "initial states") == "1"
    said = " ".join(text[text.index("no episode ends") :].split())
    assert "neither a termination nor a time limit is marked: all 13 transitions" in said
    assert "`thin` and `best_returns` take nothing, there is one return" in said


def test_a_file_whose_episodes_end_says_nothing_of_it(card):
    files.write_d4rl(files.d4rl_columns((5, 3, 6)))
    _, text, _ = card("dataset=d4rl", f"dataset.id={files.HOPPER}")
    assert "no episode ends" not in text


@pytest.mark.parametrize("kind", [int, float])
def test_whole_numbers_of_a_type_for_real_ones_are_pointed_out(card, tmp_path, kind):
    rng, ends = np.random.default_rng(0), np.arange(60) % 20 == 19
    columns = {"observations": rng.normal(size=(60, 2)), "actions": rng.integers(2, size=60)}
    columns["actions"] = columns["actions"].astype(kind)
    np.savez(tmp_path / "mine.npz", rewards=np.zeros(60), terminals=ends, **columns)
    status, text, _ = card("dataset=file", f"dataset.path={tmp_path / 'mine.npz'}")
    assert status == 0
    assert ("would be numbered actions" in " ".join(text.split())) == (kind is float)
    assert "whole states" not in text


def test_data_without_a_world_shows_what_it_says_of_its_own_policies(card, tmp_path):
    ohio.write(tmp_path / "data", "1", glucose_level=ohio.readings(60))
    words = ("dataset=ohio_t1dm", f"dataset.path={tmp_path / 'data'}")
    _, text, _ = card(*words)
    found = of_the_data(*loaded(*words))
    shown = entry(text, "fitted").split()
    expected = [found[policy]["fitted"] for policy in ("counted", "commonest")]
    assert [float(value) for value in shown] == pytest.approx(expected, rel=1e-3)
    assert "withheld: 1 effective" in text
    assert "no returns" in text
    assert "estimated values" not in card("dataset=cliff", SMALL)[1]


def test_data_that_nothing_is_estimated_from_says_why(card):
    files.write_d4rl(files.d4rl_columns((5, 3, 6)))
    _, text, _ = card("dataset=d4rl", f"dataset.id={files.HOPPER}", "dataset.trust=refuse")
    assert entry(text, "not computed") == "estimates are of numbered actions"

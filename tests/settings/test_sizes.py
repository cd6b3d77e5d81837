"""What cannot be finished is refused in the dry run, with its size."""

import pytest

from bench.data.sources import Facts
from bench.settings import sizes
from bench.settings.sizes import bytes_in_words
from tests.support.sweeps import run_here


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("num_updates=100000000000000000000", "num_updates is 100000000000000000000, but should be "
         "less than or equal to 1000000000."),
        ("num_updates=1000000001", "num_updates is 1000000001, but should be"),
        ("dataset.num_transitions=100000000000000", "dataset.num_transitions is "
         "100,000,000,000,000, which take"),
        ("batch_size=100000000000000", "batch_size is 100,000,000,000,000, which take"),
        ("eval_episodes=100000000000000", "eval_episodes is 100,000,000,000,000, which take"),
        ("algorithm.hidden_sizes=[10000000,10000000]", "algorithm.hidden_sizes is [10000000, "),
        ("dataset.num_transitions=" + "9" * 30, "more than 1,000,000 PB of memory, but there are"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("command", [("launcher.dry_run=true",), ("--dry-run",)])
def test_sizes_are_refused_before_anything_is_written(
    word, said, command, tmp_path, monkeypatch, capfd
):
    monkeypatch.chdir(tmp_path)
    assert run_here(monkeypatch, "dataset=cartpole", "algorithm=bc", word, *command) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert said in line
    assert not list(tmp_path.iterdir())


def test_an_exact_world_that_has_no_room_is_refused(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    words = ("dataset=garnet", "dataset.environment.num_states=1000000", "--dry-run")
    assert run_here(monkeypatch, "algorithm=bc", *words) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert "needs tables of 1,000,000 states x" in line


@pytest.mark.parametrize(
    ("name", "largest"),
    [
        ("bc", None),
        ("cql", None),
        ("fqi_exact", None),
        ("cppo", 10_000 * 4 * 10_000 * 8),
        ("pspi", 10_000 * 10_000 * 8),
        ("stackelberg", 10_000 * 10_000 * 8),
    ],
)
def test_counts_of_numbered_states_need_room_only_for_who_makes_tables_of_them(name, largest):
    """10,000 numbered states and 4 actions, of which nothing but the numbers is known."""
    facts = Facts(False, "discrete", False, (), 50_000, False, table_shape=(10_000, 4))
    config = run_of(name)
    found = [size for _, size in sizes._sizes(config, facts)]
    assert max(found) == largest if largest else max(found) < 10**8


def run_of(name):
    """Return the typed run of a learner on a small table."""
    from bench.settings.single import single_run

    words = [f"algorithm={name}", "dataset=lock", "num_updates=1"]
    return single_run(words, "a test").config


@pytest.mark.parametrize(
    ("size", "words"), [(0, "0 bytes"), (3_200_000_000, "3.2 GB"), (10**15, "1 PB")]
)
def test_bytes_in_words(size, words):
    assert bytes_in_words(size) == words

"""How long a plan takes: by the measured speed of each kind of its cohorts, each timed once."""

from types import SimpleNamespace

import pytest

from bench.sweeps import hours
from tests.support import commands

WORDS = ("dataset=lqr", "seed=0,1,2", "num_updates=1000",
         "algorithm.hidden_sizes=[8]", "batch_size=16", "dataset.num_transitions=500")  # fmt: skip


def test_seconds_follow_from_speed_and_length(monkeypatch, capsys):
    plan = commands.plan(*WORDS, "behavior=random", "algorithm=bc,td3_bc", "launcher=local")
    asked = []

    def rate(algorithm, task, size, batch_size, seconds, mode, device, num_updates, at_once):
        name = type(algorithm).__name__
        asked.append((name, len(task.data), size, batch_size, num_updates))
        return 50.0 if name == "TD3BC" else 200.0

    monkeypatch.setattr(hours, "updates_per_second", rate)
    monkeypatch.setattr(hours, "SAY_EVERY", -1.0)
    found = hours.measured(plan)
    said = capsys.readouterr().out.splitlines()
    assert said[1:] == ["0 of 2 timed.", "1 of 2 timed."]
    assert found.by_algorithm == {"bc": 5.0, "td3_bc": 20.0}
    assert (found.longest, found.processes, found.seconds) == (20.0, 1, 25.0)
    assert {(size, batch, length) for _, _, size, batch, length in asked} == {(3, 16, 1000)}
    # Cohorts alike are timed once.
    asked.clear()
    alike = commands.plan(*WORDS, "algorithm=bc", "behavior=random,mixed", "launcher=local")
    assert hours.measured(alike).by_algorithm == {"bc": 10.0}
    assert len(asked) == 1


def test_many_processes_share_all_but_the_longest():
    assert hours.Hours({"bc": 30.0, "iql": 50.0}, 35.0, 4).seconds == 35.0
    assert hours.Hours({"bc": 30.0, "iql": 50.0}, 35.0, 2).seconds == 40.0


@pytest.mark.parametrize("long", [True, False])
def test_a_long_plan_is_timed_for_real_and_a_short_one_is_not(long, monkeypatch, capsys):
    plan = commands.plan(*WORDS, "behavior=random", "algorithm=bc", "launcher=local")
    monkeypatch.setattr(hours, "SECONDS_EACH", 0.05)
    monkeypatch.setattr(hours, "LONG_SECONDS", 0.0 if long else 3600.0)
    hours.print_hours(plan)
    said = capsys.readouterr().out
    assert ("Timing 1 kind" in said, "bc" in said) == (long, long)


def test_nothing_is_said_of_other_machines(capsys):
    engine = SimpleNamespace(elsewhere=True)
    launcher = SimpleNamespace(engine=engine)
    hours.print_hours(SimpleNamespace(harness=SimpleNamespace(launcher=launcher)))
    assert capsys.readouterr().out == ""

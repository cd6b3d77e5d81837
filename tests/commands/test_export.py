"""What is exported is a real Minari dataset, and reading it back gives the same data and world."""

import sys

import minari
import numpy as np
import pytest
from gymnasium import spaces

from bench.__main__ import main
from bench.data.recorded_losses import patients
from bench.errors import UserError
from bench.files.minari import dataset_path
from bench.measures import regret
from bench.settings.checks import check_data
from bench.settings.run import run_config
from tests.support import files, ohio
from tests.support.commands import settings

pytestmark = pytest.mark.usefixtures("quick_values")

ID = "mine/exported-v0"
SMALL = ("dataset.num_transitions=300", "seed=3")
REGION = ("coverage=region", "coverage.severity=0.4")
COMPOSITE = ("coverage=composite",
             "coverage.steps=[{name: thin, severity: 0.3}, {name: rewards}, {name: region}]",
             "coverage.severity=0.6")  # fmt: skip


@pytest.fixture
def exported(monkeypatch, capsys):
    """Return a function that exports and gives exit status, output and complaint."""

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["bench", "export", *words])
        with pytest.raises(SystemExit) as stop:
            main()
        printed = capsys.readouterr()
        return int(stop.value.code or 0), printed.out, printed.err

    return run


def loaded(*words):
    """Return the task and the degraded data of the same words."""
    (job,) = settings(*words)
    config = run_config(job)
    chosen = config.dataset
    task = chosen.source.load(chosen.name, chosen.seed, chosen.discount, None)
    return task, config.coverage(task.data)


def read_back(printed, dataset_id=ID):
    """Return the task that the export's own words name."""
    words = printed.split("`")[1].split()
    assert f"dataset.id={dataset_id}" in words
    return loaded(*words)[0]


def assert_same(task, dataset, again):
    """Assert that data and world came back: bit by bit, and what results are compared with."""
    assert again.data.fingerprint == dataset.fingerprint
    np.testing.assert_array_equal(again.data.initial, dataset.initial)
    np.testing.assert_array_equal(again.data.truncated, dataset.truncated)
    assert again.behavior_value == task.behavior_value
    assert again.environment.optimum == task.environment.optimum
    assert again.environment.uniform == task.environment.uniform
    known = dataset.storage.comparator_action is not None
    assert (again.data.storage.comparator_action is not None) == known
    if known:
        np.testing.assert_array_equal(again.data.comparator_action, dataset.comparator_action)
    if task.behavior_occupancy is not None:
        np.testing.assert_array_equal(again.behavior_occupancy, task.behavior_occupancy)
    assert regret.anchors(again, again.data) == regret.anchors(task, dataset)
    spec, before = again.environment.spec, task.environment.spec
    assert (spec.horizon, spec.discount, spec.v_min, spec.v_max) == (
        before.horizon, before.discount, before.v_min, before.v_max,
    )  # fmt: skip


@pytest.mark.parametrize(
    "words",
    [
        ("dataset=garnet", *SMALL),
        ("dataset=cliff", "behavior=mixed", *SMALL, *REGION),
        ("dataset=lock", "behavior=random", *SMALL, "coverage=thin", "coverage.severity=0.5"),
        ("dataset=frozen_lake", *SMALL, "coverage=rewards", "coverage.severity=0.5",
         "coverage.kind=random"),
        ("dataset=cartpole", "behavior=mixed", *SMALL, *REGION, "dataset.discount=0.95"),
        ("dataset=cartpole", *SMALL, *COMPOSITE),
        ("dataset=pendulum", "behavior=mixed", *SMALL),
        ("dataset=lqr", *SMALL, "coverage=actions", "coverage.severity=0.5"),
        ("dataset=cliff", *SMALL, "coverage=quality", "coverage.severity=0.5"),
    ],
)  # fmt: skip
def test_what_was_collected_comes_back_bit_by_bit(exported, words):
    status, printed, complaint = exported(ID, *words)
    assert (status, complaint) == (0, "")
    task, dataset = loaded(*words)
    assert f"{len(dataset):,} transitions" in printed
    assert_same(task, dataset, read_back(printed))


def test_a_discount_that_the_world_has_no_values_for_is_refused(exported):
    assert exported(ID, "dataset=lqr", *SMALL)[0] == 0
    (job,) = settings(
        "dataset=minari", f"dataset.id={ID}", "algorithm=bc", "dataset.discount=0.999"
    )
    with pytest.raises(UserError, match="no closed form holds"):
        check_data(run_config(job))


@pytest.mark.parametrize(
    "degradation", [(), ("coverage=truncate", "coverage.severity=0.5"), REGION]
)
@pytest.mark.parametrize("timeouts", [True, False])
def test_a_d4rl_file_comes_back_bit_by_bit(exported, degradation, timeouts):
    lengths = (40, 30, 50) if timeouts else (1, 1000, 40)
    dataset_id = files.HOPPER if timeouts else files.OLD
    files.write_d4rl(files.d4rl_columns(lengths, timeouts=timeouts), dataset_id)
    words = ("dataset=d4rl", f"dataset.id={dataset_id}", *degradation)
    status, printed, _ = exported(ID, *words)
    assert status == 0
    task, dataset = loaded(*words)
    again = read_back(printed)
    assert again.data.fingerprint == dataset.fingerprint
    assert again.behavior_value == task.behavior_value
    assert (again.environment.uniform, again.environment.optimum) == (-20.272305, 3234.3)
    assert again.data.provenance["reference"]["source"] == "d4rl 1.1"
    assert again.environment.spec.action_bounds == task.environment.spec.action_bounds


def test_a_minari_dataset_is_exported_again(exported):
    rng = np.random.default_rng(0)
    space = spaces.Dict(a=spaces.Box(-9, 9, (2,)), b=spaces.Discrete(3))
    episodes = [
        files.episode(
            {"a": rng.normal(size=(n + 1, 2)).astype(np.float32), "b": rng.integers(3, size=n + 1)},
            rng.integers(2, 4, size=n),
            rng.normal(size=n),
            terminated=False,
        )
        for n in (3, 1, 5)
    ]
    files.write_minari("noise/parts-v0", episodes, space, spaces.Discrete(2, start=2))
    words = ("dataset=minari", "dataset.id=noise/parts-v0")
    _, printed, _ = exported(ID, *words)
    assert_same(*loaded(*words), read_back(printed))
    _, printed, _ = exported("mine/again-v0", "dataset=minari", f"dataset.id={ID}")
    assert_same(*loaded(*words), read_back(printed, "mine/again-v0"))


def test_patients_are_the_same_ones_when_their_data_comes_back(exported, tmp_path):
    for number, patient in enumerate(("540", "544", "552")):
        glucose = ohio.readings(20, seed=number, gaps=(7,))
        ohio.write(tmp_path / "people", patient, glucose_level=glucose)
    words = ("dataset=ohio_t1dm", f"dataset.path={tmp_path / 'people'}")
    _, printed, _ = exported(ID, *words)
    before, after = loaded(*words)[1], read_back(printed).data
    whose = before.storage.patient
    assert len(np.unique(whose)) == 3 < len(np.unique(before.episode))
    np.testing.assert_array_equal(after.storage.patient, whose)
    # So that who is lost is a person, not a segment, there as well.
    lost = [patients(data, 0.5, np.random.default_rng(0), by=None) for data in (before, after)]
    np.testing.assert_array_equal(*(left.rows("patient", slice(None)) for left in lost))


@pytest.mark.parametrize(
    ("episode", "patient", "complaint"),
    [
        (0, "Jim", "names patients other than by numbers"),
        (1, 5, "names the patients of some of its episodes alone"),
    ],
)
def test_patients_that_cannot_be_told_are_refused(exported, episode, patient, complaint):
    exported(ID, "dataset=cliff", *SMALL)
    stored = minari.load_dataset(ID).storage
    (said,) = stored.get_episode_metadata([episode])
    stored.update_episode_metadata([dict(said) | {"patient": patient}], [episode])
    status, _, told = exported("mine/again-v0", "dataset=minari", f"dataset.id={ID}")
    assert status == 2
    assert complaint in told


def test_an_export_of_an_export_knows_where_the_data_came_from(exported):
    words = ("dataset=cliff", *SMALL, *REGION)
    exported(ID, *words)
    _, printed, _ = exported("mine/again-v0", "dataset=minari", f"dataset.id={ID}",
                             "dataset.discount=0.99")  # fmt: skip
    again = read_back(printed, "mine/again-v0")
    assert again.behavior_occupancy is not None
    assert again.data.fingerprint == loaded(*words)[1].fingerprint


def test_minari_itself_reads_it_and_makes_its_world(exported):
    words = ("dataset=cartpole", *SMALL, "coverage=thin", "coverage.severity=0.3")
    exported(ID, *words)
    _, dataset = loaded(*words)
    theirs = minari.load_dataset(ID)
    assert (theirs.total_steps, theirs.total_episodes) == (len(dataset), dataset.num_episodes)
    starts = np.append(np.flatnonzero(dataset.initial), len(dataset))
    for episode, start, stop in zip(
        theirs.iterate_episodes(), starts[:-1], starts[1:], strict=True
    ):
        assert len(episode.observations) == stop - start + 1
        np.testing.assert_array_equal(episode.observations[:-1], dataset.observation[start:stop])
        np.testing.assert_array_equal(
            episode.observations[1:], dataset.next_observation[start:stop]
        )
        np.testing.assert_array_equal(episode.rewards, dataset.reward[start:stop])
        assert episode.truncations[-1] == (not episode.terminations[-1])
    environment = theirs.recover_environment()
    assert environment.spec.id == "CartPole-v1"
    assert environment.spec.max_episode_steps == dataset.spec.horizon
    observation, _ = environment.reset(seed=0)
    assert theirs.observation_space.contains(observation)
    assert ID in minari.list_local_datasets()


def test_an_export_whose_world_cannot_be_made_here_is_written(exported):
    files.write_random("toy/acrobot-v0", "Acrobot-v1")
    words = ("dataset=minari", "dataset.id=toy/acrobot-v0")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gymnasium.make", lambda *_: 1 / 0)
        status, printed, _ = exported(ID, *words)
    assert status == 0
    files.forget()
    assert type(read_back(printed).environment).__name__ == "LiveEnvironment"


def test_an_export_of_another_world_than_its_data_is_refused(exported):
    exported(ID, "dataset=cliff", *SMALL)
    exported("mine/other-v0", "dataset=garnet", *SMALL)
    said = minari.load_dataset("mine/other-v0").storage.metadata["stackelberg_bench"]
    minari.load_dataset(ID).storage.update_metadata({"stackelberg_bench": said})
    with pytest.raises(UserError, match="Garnet is not the world of "):
        loaded("dataset=minari", f"dataset.id={ID}")


def test_segments_out_of_order_are_refused(exported):
    exported(ID, "dataset=cliff", *SMALL)
    storage = minari.load_dataset(ID).storage
    storage.update_episode_metadata([{"episode": 0, "first_step": 0}], [1])
    with pytest.raises(UserError, match="not in order"):
        loaded("dataset=minari", f"dataset.id={ID}")


# What goes wrong


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ((), "should be the id of the new dataset"),
        (("dataset=cliff",), "should be the id of the new dataset"),
        (("../x-v0", "dataset=cliff"), "not '../x-v0'"),
        (("no-version", "dataset=cliff"), "not 'no-version'"),
        ((ID, "dataset=cliff", "seed=0,1"), "export is for one dataset"),
        ((ID, "dataset=nonsense"), "nonsense"),
        ((ID, "dataset=cliff", *SMALL, "coverage=nothing"), "nothing"),
        ((ID, "dataset=cartpole", "dataset.history=2"), "writes whole observations"),
    ],
)
def test_what_is_wrong_is_one_sentence_and_nothing_is_written(exported, words, named):
    status, printed, complaint = exported(*words)
    assert (status, printed) == (2, "")
    assert named in complaint
    assert len(complaint.splitlines()) == 1
    assert not dataset_path().exists() or list(dataset_path().iterdir()) == []


def test_an_id_that_is_taken_stays_as_it_is(exported):
    exported(ID, "dataset=cliff", *SMALL)
    before = {p: p.read_bytes() for p in dataset_path(ID).rglob("*") if p.is_file()}
    status, _, complaint = exported(ID, "dataset=garnet", *SMALL)
    assert status == 2
    assert "exists already" in complaint
    assert {p: p.read_bytes() for p in dataset_path(ID).rglob("*") if p.is_file()} == before


def test_data_of_which_nothing_is_left_is_not_exported(exported, monkeypatch):
    monkeypatch.setattr(
        "bench.data.degradations.thin",
        lambda dataset, severity, rng: dataset.keep(np.zeros(len(dataset), dtype=bool), "x"),
    )
    status, _, complaint = exported(ID, "dataset=lock", *SMALL, "coverage=thin")
    assert status == 2
    assert "Nothing is left to export" in complaint
    assert not dataset_path().exists()


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_an_export_that_breaks_off_leaves_nothing(exported, monkeypatch, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr("minari.dataset._storages.hdf5_storage._add_episode_to_group", fail)
    status, _, complaint = exported(ID, "dataset=cliff", *SMALL)
    assert status in (2, 130)
    assert len(complaint.splitlines()) == 1
    assert "None" not in complaint
    assert list(dataset_path().iterdir()) == []

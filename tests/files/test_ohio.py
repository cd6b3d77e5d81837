"""OhioT1DM's files, made up: each rule of the reader, the decision process, and bad files."""

import numpy as np
import pytest

from bench.data.recorded_losses import patients
from bench.files.flat import UnusableFile
from bench.files.ohio import OhioT1DM
from bench.files.readers.ohio import NAMES, glycaemic_reward, segments
from bench.files.readers.ohio_xml import read_patient
from tests.support import ohio
from tests.support.ohio import at


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("STACKELBERG_BENCH_CACHE", str(tmp_path / "cache"))


def source(folder, **settings):
    return OhioT1DM(**{"path": str(folder), "exponent": 1.35, "least_readings": 6} | settings)


def columns(segment, name):
    return segment.observation[:, NAMES.index(name)]


def test_the_reward_hits_published_numbers_and_takes_an_exponent():
    glucose = np.array([40.0, 80, 140, 180, 250, 400])
    expected = [-53.333, 0, 0, -4.849, -19.000, -60.687]
    assert glycaemic_reward(glucose, 1.35) == pytest.approx(expected, abs=5e-4)
    assert glycaemic_reward(np.array([240.0]), 1.0) == pytest.approx(-100 / 30)


def test_basal_lasts_until_the_next_and_a_temporary_rate_overrides(tmp_path):
    path = ohio.write(
        tmp_path,
        glucose_level=ohio.readings(5),
        basal=[{"ts": at(-30), "value": 1}, {"ts": at(150), "value": 3}],
        temp_basal=[{"ts_begin": at(30), "ts_end": at(75), "value": 0}],
    )
    (found,) = segments(read_patient(path), 6, 1.35)
    assert columns(found, "basal") == pytest.approx([0.5, 0.75, 2, 3, 3])


def test_a_bolus_is_spread_over_its_interval_and_binned(tmp_path):
    doses = [(60, 60, 4), (120, 240, 17), (300, 300, 12), (360, 360, 12.1)]
    path = ohio.write(
        tmp_path,
        glucose_level=ohio.readings(8),
        bolus=[{"ts_begin": at(b), "ts_end": at(e), "dose": d} for b, e, d in doses],
    )
    (found,) = segments(read_patient(path), 6, 1.35)
    assert columns(found, "bolus") == pytest.approx([0, 4, 8.5, 8.5, 0, 12, 12.1, 0])
    assert columns(found, "bolus_before") == pytest.approx([0, 0, 4, 8.5, 8.5, 0, 12, 12.1])
    assert found.action.tolist() == [1, 3, 3, 0, 3, 4, 0]


def test_gaps_cut_segments_and_midnight_does_not(tmp_path):
    glucose = ohio.readings(12, gaps=(6,))
    path = ohio.write(
        tmp_path / "data",
        glucose_level=glucose,
        meal=[{"ts": at(70), "carbs": 30}],
        exercise=[{"ts": at(90), "duration": 60}],
        finger_stick=[{"ts": at(5), "value": 90}],
    )
    first, second = segments(read_patient(path), 6, 1.35)
    assert (len(first.action), len(second.action)) == (5, 4)
    assert columns(first, "carbohydrates").tolist() == [0, 30, 0, 0, 0, 0]
    assert columns(first, "exercise").tolist() == [0, 30, 30, 0, 0, 0]
    assert columns(first, "finger_sticks").tolist() == [1, 0, 0, 0, 0, 0]
    hours = np.array([e["value"] for e in glucose]).reshape(11, 12)
    assert columns(first, "glucose").tolist() == hours[:6, -1].tolist()
    assert columns(first, "glucose_mean") == pytest.approx(hours[:6].mean(1))
    assert first.reward == pytest.approx(glycaemic_reward(hours[1:6, -1], 1.35))
    data = source(tmp_path / "data").load("ohio_t1dm", 0, 0.99, None).data
    assert len(data) == 9
    assert not data.terminated.any()
    assert data.observation.shape == (9, 15)


def test_patients_go_with_all_of_their_files_and_segments(tmp_path):
    for number, patient in enumerate(("1", "2", "3", "4")):
        for part in ("training", "testing"):
            glucose = ohio.readings(9, number, gaps=(4,))
            ohio.write(tmp_path / "data", patient, part, glucose_level=glucose)
    data = source(tmp_path / "data").load("ohio_t1dm", 0, 0.99, None).data
    assert len(np.unique(data.episode)) == 16
    left = patients(data, 0.5, np.random.default_rng(0), by=None)
    whose = left.rows("patient", slice(None))
    assert len(np.unique(whose)) == 2
    assert len(left) == len(data) // 2


BAD = {
    "no whole XML": lambda path: path.write_text(path.read_text()[:-20]),
    "begin with a <patient>": lambda path: path.write_text("<person/>"),
    "dd-mm-YYYY": lambda path: path.write_text(
        path.read_text().replace("07-12-2021", "2021-12-07")
    ),
    "no element <meal>": lambda path: path.write_text(path.read_text().replace("meal", "lunch")),
    "but should be a number": lambda path: path.write_text(
        path.read_text().replace('value="1.0"', 'value="-1"')
    ),
    "no file that ends in .xml": lambda path: path.unlink(),
    "no two hours": lambda path: ohio.write(path.parent),
}


@pytest.mark.parametrize("sentence", BAD)
def test_a_bad_file_is_refused_in_one_sentence(sentence, tmp_path):
    path = ohio.write(tmp_path / "data", glucose_level=ohio.readings(4))
    BAD[sentence](path)
    with pytest.raises(UnusableFile, match=sentence):
        source(tmp_path / "data").load("ohio_t1dm", 0, 0.99, None)


def test_a_missing_folder_and_a_bolus_that_ends_early_are_refused(tmp_path):
    with pytest.raises(UnusableFile, match="is no folder"):
        source(tmp_path / "none").facts()
    early = [{"ts_begin": at(60), "ts_end": at(0), "dose": 1}]
    with pytest.raises(UnusableFile, match="ends before it begins"):
        read_patient(ohio.write(tmp_path, bolus=early))

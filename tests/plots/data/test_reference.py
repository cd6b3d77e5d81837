"""Reference results: what is kept draws the same figures, and people's words stay."""

import json
import lzma
import shutil
from dataclasses import replace

import numpy as np
import pytest

from bench.errors import UserError
from bench.store import manifest
from bench.store.code import code_of
from bench.store.record import RunRecord
from plots import keeping
from plots.data.records import rounded
from plots.data.reference import FILE, pack, unpack
from plots.keeping import BEGIN, END, README, between_marks, listed
from plots.look import style
from plots.report import WRITTEN
from plots.sections.account.runs import COLUMNS
from plots.sections.curves import regret
from tests.plots.sections.test_measures import records as measured
from tests.support import sweeps
from tests.support.plotting import (
    LEARNERS,
    ROOT,
    SMALL,
    figures,
    plot,
    store,
    sweep,
    table,
    with_final,
)  # fmt: skip


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def with_curves(record):
    """Return a record with a curve, long numbers, and all that may be odd about one."""
    rng = np.random.default_rng(record.seed)
    last = record.evaluations[-1]
    early = {**last, "update": 100, "returns": rng.standard_normal(20).tolist()}
    points = [[100, 1 / 3], [2000, 1e-12 / 7]]
    return replace(
        record,
        evaluations=[early, {**last, "returns": (10 * rng.standard_normal(20)).tolist()}],
        metrics={"loss": points} if record.algorithm == "cql" else {},
        coverage={**record.coverage, "by_policy": {"learned": {"saco": 1 / 3}}, "reasons": {}},
        versions={"python": "3.11"},
        code=f"code{record.seed % 2}",
        timing={"wall_seconds": 1 / 3, "cohort_size": 5},
    )


@pytest.fixture
def records():
    """Return completed, failed and empty runs, some with curves."""
    made = [with_curves(record) for record in sweep(**SMALL)]
    made[0] = replace(made[0], status="failed", error="a\nb", final={}, evaluations=[], metrics={})
    made[1] = replace(made[1], status="empty", final={}, evaluations=[], coverage={}, timing={})
    return made


def test_packed_and_unpacked_again_a_record_has_all_that_is_drawn(records):
    back = {record.run_id: record for record in unpack(pack(records))}
    assert len(back) == len(records)
    for record in map(rounded, records):
        found = back[record.run_id]
        for name in ("config", "dataset", "coverage", "values", "final", "metrics", "timing"):
            assert getattr(found, name) == getattr(record, name), name
        assert found.evaluations[-1:] == record.evaluations[-1:]
        assert replace(found, evaluations=[]) == replace(record, evaluations=[])


def test_of_evaluations_before_the_last_the_mean_return_is_kept(records):
    record = records[-1]
    (back,) = unpack(pack([record]))
    early, last = back.evaluations
    mean = np.mean(record.evaluations[0]["returns"])
    assert early["returns"] == [pytest.approx(mean, rel=1e-3)]
    assert early["exact_value"] == pytest.approx(record.evaluations[0]["exact_value"], rel=1e-3)
    assert last["returns"] == pytest.approx(record.evaluations[1]["returns"], rel=1e-4)


def test_the_order_of_records_does_not_matter_and_packing_again_changes_nothing(records):
    packed = pack(records)
    assert pack(records[::-1]) == packed
    assert pack(unpack(packed)) == packed


def test_numbers_and_words_stay_what_they_are():
    (base,) = sweep(**{**SMALL, "severities": (0.9,), "learners": LEARNERS[:1], "seeds": [0]})
    for number, value in enumerate((1, 1.0, True, None, "1", "", [], {}, [64, {"a": 1.0}])):
        config = {**base.config, "odd": value}
        (back,) = unpack(pack([replace(base, config=config, run_id=str(number))]))
        assert repr(back.config["odd"]) == repr(value)


def test_the_form_is_as_documented(records):
    head, *lines = map(json.loads, lzma.decompress(pack(records)).decode().splitlines())
    assert head["num_runs"] == len(records)
    by_path = {".".join(line["path"]): line for line in lines}
    # Settings are written once per different value.
    assert by_path["config.algorithm.name"]["values"] == ["bc", "cql"]
    assert by_path["config.algorithm.conservatism"]["runs"] == [[10, 20]]
    assert "of" not in by_path["final.regret"]


def test_thousands_of_runs_take_less_than_a_mebibyte():
    one = [with_curves(r) for r in sweep(learners=LEARNERS[:2], seeds=range(2))]
    many = [
        with_final(replace(r, run_id=f"{r.run_id}{n}", seed=n), regret=r.final["regret"] * (1 + n))
        for r in one
        for n in range(4800 // len(one))
    ]
    assert len(pack(many)) < 2**20


@pytest.mark.parametrize("sweep_of", ["runs", "measures"])
def test_what_is_kept_draws_what_the_store_draws(tmp_path, monkeypatch, records, sweep_of):
    monkeypatch.setattr(regret, "PLOTS", regret.PLOTS[:2])
    monkeypatch.setattr(style, "SUFFIXES", ("svg", "png"))
    made = measured() if sweep_of == "measures" else records
    store(made, tmp_path)
    assert plot(tmp_path, "coverage_ablation", "--keep") == 0
    drawn = files(figures(tmp_path))
    kept = tmp_path / "reference" / "coverage_ablation"
    for name in drawn.keys() & files(kept).keys() - {WRITTEN}:
        assert files(kept)[name] == drawn[name], name
    left_out = {n for n in drawn if n.endswith((".svg", ".pdf"))}
    left_out |= {"report.html", "table.tex", "runs.csv"}
    assert drawn.keys() - left_out | {FILE, README} == files(kept).keys()
    shutil.rmtree(tmp_path / "figures")
    shutil.rmtree(tmp_path / "runs")
    assert plot(tmp_path, "coverage_ablation", "--reference") == 0
    assert files(figures(tmp_path)) == drawn


@pytest.mark.usefixtures("one_figure")
def test_keeping_again_changes_no_byte(tmp_path, records):
    store(records, tmp_path)
    kept = tmp_path / "reference"
    once = []
    for _ in range(2):
        assert plot(tmp_path, "coverage_ablation", "--keep") == 0
        once.append((files(kept / "coverage_ablation"), (kept / README).read_bytes()))
    assert once[0] == once[1]


@pytest.mark.usefixtures("one_figure")
def test_of_the_readme_only_the_part_between_the_marks_is_written(tmp_path, records):
    store(records, tmp_path)
    plans = tmp_path / "runs" / "coverage_ablation" / manifest.FOLDER
    plans.mkdir(parents=True)
    plan = {"words": ["experiment=coverage_ablation", "seed=0,1"], "columns": [], "runs": []}
    (plans / "one.json").write_text(json.dumps(plan))
    own = tmp_path / "reference" / "coverage_ablation" / README
    own.parent.mkdir(parents=True)
    question, caveats = "# Mine\n\n## Question\n\nDoes it\nwork?\n\n", "\n\n## Caveats\n\nMany.\n"
    own.write_text(f"{question}{BEGIN}\noutdated\n{END}{caveats}")
    assert plot(tmp_path, "coverage_ablation", "--keep") == 0
    text = own.read_text()
    assert text.startswith(f"{question}{BEGIN}\n")
    assert text.endswith(f"{END}{caveats}")
    assert "outdated" not in text
    assert "python -m bench experiment=coverage_ablation seed=0,1\n" in text
    assert "20 runs (18 completed, 1 empty, 1 failed)" in text
    assert "| cql | code0 | 6 |\n| cql | code1 | 4 |" in text
    assert "python 3.11." in text
    index = (tmp_path / "reference" / README).read_text()
    assert "- [coverage_ablation](coverage_ablation/README.md): Does it work?\n" in index


def test_a_text_without_marks_gets_them_at_its_end():
    once = between_marks("Mine.\n", "made")
    assert once == f"Mine.\n\n{BEGIN}\n\nmade\n\n{END}\n"
    assert between_marks(once, "new") == once.replace("made", "new")


@pytest.mark.usefixtures("one_figure")
def test_a_file_that_no_longer_applies_goes_and_others_stay(tmp_path, records):
    store(measured(), tmp_path)
    assert plot(tmp_path, "coverage_ablation", "--keep") == 0
    kept = tmp_path / "reference" / "coverage_ablation"
    (kept / "notes.md").write_text("mine")
    assert (kept / "measures.csv").exists()
    shutil.rmtree(tmp_path / "runs")
    store(records, tmp_path)
    assert plot(tmp_path, "coverage_ablation", "--keep") == 0
    assert not (kept / "measures.csv").exists()
    assert (kept / "notes.md").read_text() == "mine"


@pytest.mark.parametrize("damage", [b"", b"no xz", lzma.compress(b'{"format": 1}')])
def test_a_damaged_file_is_one_sentence(tmp_path, damage):
    path = tmp_path / "reference" / "coverage_ablation" / FILE
    path.parent.mkdir(parents=True)
    path.write_bytes(damage)
    with pytest.raises(UserError, match=r"runs.jsonl.xz is damaged") as refusal:
        plot(tmp_path, "coverage_ablation", "--reference")
    assert "\n" not in str(refusal.value)
    assert not figures(tmp_path).exists()


def test_what_was_not_kept_is_one_sentence_with_what_was(tmp_path, records):
    (tmp_path / "reference" / "claim").mkdir(parents=True)
    (tmp_path / "reference" / "claim" / FILE).write_bytes(pack(records))
    with pytest.raises(UserError, match=r"'sensitivity' .* kept there: claim\.$"):
        plot(tmp_path, "sensitivity", "--reference")


@pytest.mark.usefixtures("one_figure")
def test_a_real_runs_record_is_kept_whole_and_has_no_column_without_a_word(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ("algorithm=stackelberg", "experiment_name=real", "coverage_estimates=everywhere")
    assert sweeps.run_here(monkeypatch, *sweeps.TINY, *words) == 0
    (path,) = (tmp_path / "results" / "runs" / "real").glob("*.json")
    whole = RunRecord.from_json(path.read_text())
    (back,) = unpack(pack([whole]))
    assert len(back.evaluations) == len(whole.evaluations) == 3
    assert back.metrics == rounded(whole).metrics
    assert len(back.metrics["kernel_loss"]) == 3
    assert plot(tmp_path / "results", "real") == 0
    (line,) = table(figures(tmp_path / "results", "real") / "runs.csv")
    assert list(line) == list(COLUMNS)
    unknown = {"error", "code", "peak_gpu_memory_mb"}
    assert {name for name, value in line.items() if not value} <= unknown


def test_a_kept_command_does_not_say_where_it_was_run():
    command = "python -m bench experiment=claim results_dir=/tmp/x launcher.workers=2 tracking=none"
    assert keeping.WHERE.sub("", command) == "python -m bench experiment=claim"
    assert keeping.WHERE.sub("", f"{command} seed=0") == "python -m bench experiment=claim seed=0"


def test_a_commit_is_named_only_for_records_of_its_code(records, monkeypatch):
    today = [replace(r, code=code_of(r.config)) for r in records]
    answers = {"status": "", "rev-parse": "abc1234"}
    monkeypatch.setattr(keeping, "_git", lambda *words: answers[words[0]])
    assert keeping._commit(today) == "This is the code of commit abc1234. "
    assert keeping._commit([*today, replace(today[0], code="another")]) == ""
    assert keeping._commit([*today, replace(today[0], code=None)]) == ""
    answers["status"] = " M algorithms/cql.py"
    assert keeping._commit(today) == ""
    answers["status"] = None
    assert keeping._commit(today) == ""


REFERENCE = ROOT / "results" / "reference"


@pytest.mark.parametrize("folder", [p.name for p in sorted(REFERENCE.iterdir()) if p.is_dir()])
def test_committed_results_say_what_was_asked_and_found(folder):
    text = (REFERENCE / folder / README).read_text()
    headings = [line for line in text.splitlines() if line.startswith("## ")]
    assert headings == ["## Question", "## Finding", "## Command", "## Caveats"]
    assert text.index(BEGIN) < text.index("## Command") < text.index(END)


def test_committed_results_are_listed():
    text = (REFERENCE / README).read_text()
    assert text == between_marks(text, listed(REFERENCE))

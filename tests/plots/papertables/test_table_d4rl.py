"""`table_d4rl` from end to end: files of D4RL's layout in, a paper's table out, holes and all."""

import csv
import re
from html.parser import HTMLParser

import pytest

from bench.files import d4rl
from bench.files.download import DownloadError
from plots.__main__ import main
from plots.papertables.reported import reported_scores
from tests.support import files
from tests.support.latex import compiled
from tests.support.sweeps import run_here

MEDIUM, EXPERT, MISSING = "hopper-medium-v2", "hopper-expert-v2", "walker2d-medium-v2"
SHORT = ("algorithm.hidden_sizes=[8]", "num_updates=10", "eval_every=1", "eval_episodes=1",
         "batch_size=16", "seed=0,1", "launcher=local", "tracking=none")  # fmt: skip
VOID = ("meta", "br")


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Return a results folder with the table of two small files, a third one missing, and said."""
    pytest.importorskip("mujoco")
    folder = tmp_path_factory.mktemp("table")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("D4RL_DATASET_DIR", str(folder / "d4rl"))
        patch.setenv("STACKELBERG_BENCH_CACHE", str(folder / "cache"))
        patch.setattr(d4rl, "fetch", _no_network)
        for dataset_id, steps in ((MEDIUM, 40), (EXPERT, 25)):
            files.write_d4rl(files.rollouts("Hopper-v4", max_steps=steps), dataset_id)
        words = f"dataset.id={MEDIUM},{EXPERT},{MISSING}", "algorithm=bc,iql", *SHORT
        assert run_here(patch, "experiment=table_d4rl", *words) == 0
        assert main(["table_d4rl", "--keep"]) == 0
    return folder / "results"


def _no_network(url, path):
    raise DownloadError("there is no connection to the server")


def figures(results):
    """Return the folder of what is drawn."""
    return results / "figures" / "table_d4rl"


def rows(path):
    """Return the lines of a CSV file."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_dry_run_says_what_is_here_and_what_is_missing(drawn, monkeypatch, capsys):
    monkeypatch.chdir(drawn.parent)
    monkeypatch.setenv("D4RL_DATASET_DIR", str(drawn.parent / "d4rl"))
    monkeypatch.setattr(d4rl, "fetch", _no_network)
    words = f"dataset.id={MEDIUM},{MISSING}", "algorithm=bc", *SHORT, "--dry-run"
    assert run_here(monkeypatch, "experiment=table_d4rl", *words) == 0
    said = capsys.readouterr().out
    assert f"Data that is here: {MEDIUM}." in said
    assert f"data is not here: {MISSING}." in said
    assert "walker2d_medium-v2.hdf5 (232 MB) does not exist" in said
    assert str(drawn.parent / "d4rl") in said
    # Nothing of it at all is an error.
    words = f"dataset.id={MISSING}", "algorithm=bc", *SHORT
    assert run_here(monkeypatch, "experiment=table_d4rl", *words) == 2
    assert "put the file there" in capsys.readouterr().err


def test_the_table_has_our_numbers_published_ones_and_holes(drawn):
    cells = {(c["environment"], c["learner"]): c for c in rows(figures(drawn) / "paper_table.csv")}
    learners = ("bc (top_fraction=0.1)", "bc (top_fraction=1)", "iql")
    assert set(cells) == {(e, x) for e in (MEDIUM, EXPERT, MISSING) for x in learners}
    for learner in learners:
        for name in (MEDIUM, EXPERT):
            cell = cells[name, learner]
            assert cell["num_runs"] == "2"
            assert float(cell["best"]) >= max(float(cell["last"]), float(cell["last10"]))
        assert cells[MISSING, learner]["last"] == ""
        assert "does not exist" in cells[MISSING, learner]["reason"]
    page = (figures(drawn) / "paper_table.md").read_text()
    assert "in gymnasium's counterparts of d4rl's worlds" in page
    assert "d4rl 1.1" in page
    line = next(x for x in page.splitlines() if x.startswith(f"| {MISSING} "))
    assert line.count("n/a<sup>a</sup>") == 3
    published = next(
        r for r in reported_scores()
        if (r.dataset_id, r.learner, r.rule) == (MISSING, "IQL", "last")
    )  # fmt: skip
    assert f"*{published.score:.1f} ± {published.sample_std:.1f}*" in line
    assert "corl-team/CORL" in page


def test_agreement_is_told_for_every_published_number(drawn):
    found = rows(figures(drawn) / "agreement.csv")
    wanted = [
        r
        for r in reported_scores()
        if r.dataset_id in (MEDIUM, EXPERT, MISSING) and r.algorithm in ("bc", "iql")
    ]
    assert len(found) == len(wanted)
    verdicts = {row["environment"]: row["verdict"] for row in found}
    assert verdicts[MISSING] == "n/a"
    # Ten updates on a hundred random transitions reproduce nothing.
    spreads = [row for row in found if row["environment"] == MEDIUM and row["spread"]]
    assert spreads
    assert {row["verdict"] for row in spreads} == {"short"}
    assert (figures(drawn) / "agreement.png").stat().st_size > 10_000


def test_kept_results_give_the_same_table_by_every_rule(drawn, monkeypatch):
    monkeypatch.chdir(drawn.parent)
    names = ("paper_table.md", "paper_table.csv", "agreement.csv", "holes.csv")
    texts = set()
    # Figures and the page with them, which nobody looks at here, take most of the time.
    monkeypatch.setattr("plots.look.style.save", lambda *_, **__: None)
    monkeypatch.setattr("plots.report.page", lambda *_: "")
    for rule in ("last", "best", "last10"):
        kept = []
        for words in ([], ["--reference"]):
            assert main(["table_d4rl", f"rule={rule}", *words]) == 0
            kept.append([(figures(drawn) / name).read_bytes() for name in names])
        assert kept[0] == kept[1]
        texts.add(kept[0][0])
    assert len(texts) == 3
    assert main(["table_d4rl"]) == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["table_d4rl", "rule=worst"], "rule=last10"),
        (["table_d4rl", "last"], "rule=last10"),
        (["table_d4rl", "rule=last", "rule=best"], "rule=last10"),
        (["coverage_ablation", "rule=best"], "is none"),
    ],
)
def test_a_wrong_rule_is_refused_in_one_sentence(words, said, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    from bench.errors import UserError

    with pytest.raises(UserError, match=said):
        main(words)
    assert not list(tmp_path.iterdir())


def test_latex_is_well_formed(drawn):
    text = (figures(drawn) / "paper_table.tex").read_text()
    lines = [x for x in text.splitlines() if not x.startswith("%")]
    opened = []
    for kind, name in re.findall(r"\\(begin|end)\{(\w+)\}", text):
        if kind == "begin":
            opened.append(name)
        else:
            assert opened.pop() == name
    assert opened == []
    bare = re.sub(r"\\[\\{}%&$#_]", "", "\n".join(lines))
    depth = 0
    for sign in bare:
        depth += {"{": 1, "}": -1}.get(sign, 0)
        assert depth >= 0
    assert depth == 0
    assert not re.search(r"[%#_^~]", bare)
    assert bare.count("$") % 2 == 0
    columns = re.search(r"\\begin\{tabular\}\{([lr]+)\}", text).group(1)
    body = [x for x in lines if x.endswith(r" \\")]
    # A head, three datasets and an average.
    assert len(body) == 5
    for line in body:
        assert re.sub(r"\\&", "", line).count("&") == len(columns) - 1
    assert [text.count(rf"\{r}rule") for r in ("top", "mid", "bottom")] == [1, 1, 1]
    assert r"\textcolor{gray}" in text
    assert text.count(r"\textbf{") >= 2


def test_latex_compiles(drawn, tmp_path):
    table = (figures(drawn) / "paper_table.tex").read_text()
    assert compiled(table, tmp_path).stat().st_size > 1000


class Balanced(HTMLParser):
    """Counts cells per row and checks that what is opened is closed."""

    def __init__(self):
        super().__init__()
        self.open, self.rows, self.grey = [], [], 0

    def handle_starttag(self, tag, attrs):
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append(0)
        if tag in ("td", "th"):
            self.rows[-1] += 1
            self.grey += ("class", "reported") in attrs

    def handle_endtag(self, tag):
        # A paragraph and the head end where the next thing begins.
        assert self.open.pop() == tag


def test_html_is_a_page_of_its_own(drawn):
    parser = Balanced()
    parser.feed((figures(drawn) / "paper_table.html").read_text())
    assert parser.open == []
    assert len(parser.rows) == 5
    assert len(set(parser.rows)) == 1
    # Three learners of one source each, in the head and four lines, and in these the data.
    assert parser.grey == 3 * 5 + 4

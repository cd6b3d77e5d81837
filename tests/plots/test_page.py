"""The report: one well-formed file that needs nothing else, whose anchors and links resolve."""

import re
import shutil
import subprocess
from html.parser import HTMLParser

import pytest

from bench.store.folders import REPORT
from plots.data.frame import build_frame
from plots.look import style
from plots.page.markdown import inline, to_html
from plots.page.vector import inline_svg
from plots.report import write_report
from plots.sections import sections
from plots.sections.curves import regret
from tests.support.plotting import sweep

VOID = {"meta", "link", "br", "hr", "img", "input"}


class Page(HTMLParser):
    """A page's ids, links and elements; tags that do not match are a fault."""

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.elements = [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self.ids += [value for name, value in attrs if name == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return the folder of a report with two pages of figures."""
    made = tmp_path_factory.mktemp("report")
    frame = build_frame("coverage_ablation", sweep(degradations=("region", "thin")))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(regret, "PLOTS", regret.PLOTS[:2])
        patch.setattr(style, "SUFFIXES", ("svg",))
        write_report(frame, list(sections(frame)), made)
    return made


@pytest.fixture(scope="module")
def page(folder):
    return Page((folder / REPORT).read_text("utf-8"))


def test_ids_are_there_once_and_all_that_points_to_one_finds_it(page):
    assert len(page.ids) == len(set(page.ids))
    pointed = [a["href"][1:] for _, a in page.elements if (a.get("href") or "").startswith("#")]
    for _, attributes in page.elements:
        for value in filter(None, attributes.values()):
            pointed += re.findall(r"url\(#([^)]+)\)", value)
        pointed += (attributes.get("aria-labelledby") or "").split()
    assert len(pointed) > 20
    assert set(pointed) <= set(page.ids)


def test_every_number_of_a_comparison_leads_to_its_runs(folder):
    """Read as a browser would: what a cell links to lists the runs of its row and column."""
    text = (folder / REPORT).read_text("utf-8")
    parts = dict(re.findall(r'<section id="([\w-]+)">(.*?)</section>', text, re.S))
    compared = ("learners-over-all-tasks", "the-worst-cases", "by-kind-of-world", "table",
                "against-the-best-of-the-others", "learners-by-mean-regret")  # fmt: skip
    found = 0
    for name in compared:
        for table in re.findall(r"<table.*?</table>", parts[name], re.S):
            heads, *rows = (_texts(row) for row in re.findall(r"<tr>(.*?)</tr>", table))
            for row in rows:
                for head, cell in zip(heads, row, strict=True):
                    if re.search(r"\d", cell) and head not in ("severity", "where", "learner"):
                        assert re.match(r'<a href="#runs-[0-9-]+">', cell), (name, head, cell)
                        found += 1
    assert found > 200
    listed = dict(re.findall(r'<tr id="(runs-[0-9-]+)">(.*?)</tr>', text))
    assert len(listed) == len({*listed}) > 100
    rows = re.findall(r"<tr>(.*?)</tr>", parts["table"])
    labels = re.findall(r"<th[^>]*>(.*?)</th>", rows[0])[3:]
    for row in rows[1:]:
        environment, degradation, severity, *cells = re.findall(r"<td[^>]*>(.*?)</td>", row)
        for label, cell in zip(labels, cells, strict=True):
            (anchor,) = re.findall(r'href="#(.*?)"', cell) or [None]
            if anchor is None:
                assert (label, environment) == ("fqi_exact", "cartpole")
                continue
            runs = re.findall(r"<code>(.*?)</code>", listed[anchor])
            assert len(runs) == 5
            start = f"{environment}-{degradation}-{float(severity.split()[0])}-{label.split()[0]}-"
            assert all(run.startswith(start) for run in runs), (start, runs)


def _texts(row):
    return re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row)


def test_nothing_is_asked_of_a_network_and_every_file_that_is_linked_is_there(page, folder):
    for tag, attributes in page.elements:
        assert tag not in ("iframe", "object", "embed", "img")
        assert "src" not in attributes
        target = attributes.get("href") or "#"
        assert target.startswith(("#", "data:")) or (folder / target).is_file(), target
    assert not re.search(r"https?://|@import|url\((?!#)", (folder / REPORT).read_text("utf-8"))


def test_every_figure_says_what_it_shows(page):
    figures = [attributes for tag, attributes in page.elements if tag == "svg"]
    assert len(figures) >= 4
    for attributes in figures:
        assert attributes["role"] == "img"
        assert all(name in page.ids for name in attributes["aria-labelledby"].split())


def test_the_main_figure_comes_first_and_conclusions_follow(page):
    headings = [a["id"] for tag, a in page.elements if tag == "section"]
    first = ["what-was-run", "figures", "learners-over-all-tasks", "probability-of-improvement"]
    assert headings[: len(first)] == first
    assert "the-worst-cases" in headings
    assert headings[-1] == "how-to-reproduce"


def test_a_browser_finds_no_fault(folder, tmp_path):
    known = ("chromium", "chromium-browser", "google-chrome", "chrome")
    browser = next(filter(None, map(shutil.which, known)), None)
    if browser is None:
        pytest.skip("there is no headless browser here")
    words = ["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--dump-dom"]
    done = subprocess.run(
        [browser, *words, f"--user-data-dir={tmp_path}", (folder / REPORT).as_uri()],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert "CONSOLE" not in done.stderr
    assert 'class="sortable sorting"' in done.stdout


@pytest.mark.parametrize(
    ("text", "made"),
    [
        (r"a\_b `c_d` **e**", "a_b <code>c_d</code> <strong>e</strong>"),
        ("[x](x.csv) < 1 & 2", '<a href="x.csv">x</a> &lt; 1 &amp; 2'),
        (r"\<script\>", "&lt;script&gt;"),
        ("`<b>`", "<code>&lt;b&gt;</code>"),
        ("[**0.1**](#runs-1-2)", '<a href="#runs-1-2"><strong>0.1</strong></a>'),
        (r"*88.9* and *a\*b* of 2 * 3 * 4", "<em>88.9</em> and <em>a*b</em> of 2 * 3 * 4"),
        (r"**0.5** \*\*", "<strong>0.5</strong> **"),
    ],
)
def test_marks_within_a_line(text, made):
    assert inline(text) == made


def test_blocks():
    text = "One\ntwo\n\n- a\n- b\n  c\n\nOf it:\n| x | y |\n| --- | ---: |\n| p\\|q | 1 |\nAfter."
    anchored = "{#a-1} Words\nmore.\n\n| {#a-2} x |\n| --- |\n| {#a-3} y {#a} |\n"
    assert '<p id="a-1">Words more.</p>' in to_html(anchored)
    assert '<tr id="a-2"><th scope="col">x</th></tr>' in to_html(anchored)
    assert '<tr id="a-3"><td>y {#a}</td></tr>' in to_html(anchored)
    made = to_html(text)
    assert "<p>One two</p>" in made
    assert "<ul><li>a</li><li>b\n  c</li></ul>" in made
    assert '<th scope="col">x</th><th scope="col" class="number">y</th>' in made
    assert '<tr><td>p|q</td><td class="number">1</td></tr>' in made
    assert made.index("<p>Of it:</p>") < made.index("<table") < made.index("<p>After.</p>")
    Page(made)


def test_a_figure_takes_ink_and_paper_from_the_page_and_keeps_learners_colours():
    svg = (
        '<?xml version="1.0"?><svg xmlns="http://x" viewBox="0 0 9 9" width="9pt"><g id="a" '
        'style="fill: #ffffff; stroke: #0072b2"/><use xlink:href="#a" x="1.23456"/></svg>'
    )
    made = inline_svg(svg, "f1", "a < b", "c")
    assert 'id="f1-a"' in made
    assert 'href="#f1-a" x="1.23"' in made
    assert "fill: var(--paper); stroke: #0072b2" in made
    assert '<title id="f1-title">a &lt; b</title>' in made
    assert "http" not in made

"""Reference results: what an experiment's figures are drawn from, them and a README, committed.

``<root>/<experiment>/`` is written from the store. Of its README only what stands between the marks
is; question, finding and caveats are a person's, and stay. ``<root>/README.md`` lists the folders
with the questions that they answer.
"""

import re
import shutil
import subprocess
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path

from bench.atomic import atomic_write
from bench.store import manifest
from bench.store.code import code_of
from bench.store.record import RunRecord
from bench.store.records import RunStore
from plots.data.frame import Frame
from plots.data.reference import FILE, pack
from plots.look.markup import escape_markdown, markdown_table
from plots.report import exchanged
from plots.sections import Section

README = "README.md"
# Words of a command that say where and how records are made, and change nothing in them.
WHERE = re.compile(r" (results_dir|tracking|launcher[.\w]*)=\S+")
BEGIN = "<!-- Down to the next mark this is written by `python -m plots EXPERIMENT --keep`. -->"
END = "<!-- Up to here. -->"
TEMPLATE = """\
# {experiment}

## Question

Not written yet.

## Finding

Not written yet.

{begin}
{end}

## Caveats

Not written yet.
"""


def keep(store: RunStore, frame: Frame, found: list[Section], drawn: Path, root: Path) -> Path:
    """Write ``root/<experiment>`` and return it.

    Args:
        store: Where the records are in full.
        frame: What was drawn from them.
        found: Its sections.
        drawn: The folder with their figures.
        root: The folder of all reference results.
    """
    folder = root / frame.experiment
    ids = {record.run_id for record in frame.records}
    with exchanged(folder) as draft:
        whole = (record for record in store.read(frame.experiment) if record.run_id in ids)
        (draft / FILE).write_bytes(pack(whole))
        for section in found:
            for name in (f"{illustration.stem}.png" for illustration in section.illustrations):
                shutil.copyfile(drawn / name, draft / name)
            for file in section.files:
                if file.kept:
                    (draft / file.name).write_text(file.text, "utf-8")
        plans, _ = manifest.read(store.root / frame.experiment)
        own = folder / README
        text = (
            own.read_text("utf-8")
            if own.exists()
            else TEMPLATE.format(experiment=frame.experiment, begin=BEGIN, end=END)
        )
        made = _made(frame, sorted({WHERE.sub("", plan.command) for plan in plans}))
        (draft / README).write_text(between_marks(text, made), "utf-8")
    index = root / README
    text = (
        index.read_text("utf-8") if index.exists() else f"# Reference results\n\n{BEGIN}\n{END}\n"
    )
    with atomic_write(index) as handle:
        handle.write(between_marks(text, listed(root)).encode())
    return folder


def between_marks(text: str, made: str) -> str:
    """Return the text with `made` between its marks, which are put at its end if it has none."""
    if BEGIN not in text or END not in text:
        text = f"{text.rstrip()}\n\n{BEGIN}\n{END}\n"
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n\n{made}\n\n{END}{rest.partition(END)[2]}"


def listed(root: Path) -> str:
    """Return a line per folder that has a README: its name, linked, and the question in there."""
    lines = []
    for path in sorted(root.glob(f"*/{README}")):
        found = re.search(r"^## Question\n\n(.+?)(?:\n\n|\Z)", path.read_text("utf-8"), re.M | re.S)
        question = " ".join(found.group(1).split()) if found else "Not written yet."
        lines.append(f"- [{path.parent.name}]({path.parent.name}/{README}): {question}")
    return "\n".join(lines)


def _made(frame: Frame, commands: list[str]) -> str:
    """Return which commands, code and versions made the records, and how many there are."""
    by_code: dict[tuple[str, str], int] = Counter(
        (r.algorithm, r.code or "not known") for r in frame.records
    )
    rows = [(escape_markdown(name), code, n) for (name, code), n in sorted(by_code.items())]
    again = f"python -m plots {frame.experiment} --reference"
    parts = [
        "## Command",
        "\n".join(["```", *(commands or ["# No plan was left beside the records."]), again, "```"]),
        f"The last line draws everything from [{FILE}]({FILE}), which holds "
        f"{_statuses(frame.records)}.",
        markdown_table(("learner", "code", "runs"), rows, 2).rstrip(),
        f"{_commit(frame.records)}Made with {_versions(frame.records)}.",
    ]
    return "\n\n".join(parts)


def _commit(records: Iterable[RunRecord]) -> str:
    """Return which commit has the code of all records, nothing where none is known to."""
    if any(r.code is None or r.code != code_of(r.config) for r in records):
        return ""
    if _git("status", "--porcelain", "--", "algorithms", "bench", "conf") != "":
        return ""
    return f"This is the code of commit {_git('rev-parse', '--short', 'HEAD')}. "


def _git(*words: str) -> str | None:
    """Return what git says of this checkout, None where it says nothing."""
    command = ["git", "-C", str(Path(__file__).parent.parent), *words]
    try:
        return subprocess.run(
            command, capture_output=True, encoding="utf-8", check=True
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def _statuses(records: Iterable[RunRecord]) -> str:
    numbers = Counter(record.status for record in records)
    parts = [f"{number:,} {status}" for status, number in sorted(numbers.items())]
    return f"{numbers.total():,} runs ({', '.join(parts)})"


def _versions(records: Iterable[RunRecord]) -> str:
    """Return every version of every package that records name."""
    found: dict[str, set[str]] = defaultdict(set)
    for record in records:
        for package, version in record.versions.items():
            found[package].add(version)
    named = [f"{package} {' and '.join(sorted(found[package]))}" for package in sorted(found)]
    return ", ".join(named) or "versions that are not known"

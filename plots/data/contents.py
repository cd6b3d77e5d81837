"""Datasets that were corrected under the same name: a figure shows one content of each."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from bench.store.record import RunRecord


def newest_contents(
    records: Sequence[RunRecord], written: Mapping[str, float]
) -> tuple[list[RunRecord], dict[str, str]]:
    """Return the records of one content per environment, and a sentence per one that has several.

    A record says by a hash what its data was made from; runs on other data under the same name are
    runs of something else. The content stays whose newest record is the newest. A record that says
    nothing, since it is old or failed before it had data, stays too.

    Args:
        records: The records of one experiment.
        written: When each was written, by run id.
    """
    kept, sentences = list(records), dict[str, str]()
    # Of the data itself, then of what degradations replace parts of it by.
    for contents_of in (_contents, _worse_contents):
        groups: dict[tuple[str, str], dict[str, list[RunRecord]]] = defaultdict(dict)
        for record, name, content in contents_of(kept):
            groups[record.environment, name].setdefault(content, []).append(record)
        left_out: set[str] = set()
        for (environment, name), found in groups.items():
            if len(found) < 2:
                continue
            latest = max(found, key=lambda c: max(written[r.run_id] for r in found[c]))
            others = [r.run_id for content in found.keys() - {latest} for r in found[content]]
            left_out.update(others)
            said = _sentence(name, latest, sorted(found.keys() - {latest}), len(others))
            sentences[environment] = f"{sentences.get(environment, '')} {said}".strip()
        kept = [record for record in kept if record.run_id not in left_out]
    return kept, sentences


def _sentence(name: str, latest: str, others: list[str], runs: int) -> str:
    return (
        f"{1 + len(others)} datasets were recorded as {name}: the newest ({latest[:12]}) is drawn, "
        f"{runs} run{'' if runs == 1 else 's'} on {', '.join(o[:12] for o in others)} "
        f"{'is' if runs == 1 else 'are'} left out."
    )


def _contents(records: Sequence[RunRecord]) -> Iterator[tuple[RunRecord, str, str]]:
    """Yield each record with the name and the content of its data, as far as it is known.

    Older records of files say the hash of the file alone.
    """
    said = [(r, r.dataset.get("sha256"), r.dataset.get("content")) for r in records]
    by_file = {file: content for _, file, content in said if file and content}
    for record, file, content in said:
        if known := content or by_file.get(file, file):
            yield record, record.environment, known


def _worse_contents(records: Sequence[RunRecord]) -> Iterator[tuple[RunRecord, str, str]]:
    """Yield each record with the datasets that its degradation took episodes from."""
    for record in records:
        for name, content in record.dataset.get("worse", {}).items():
            yield record, name, content

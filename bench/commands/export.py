"""`python -m bench export ID dataset=...`: any dataset here as a Minari dataset."""

from minari.dataset.minari_dataset import parse_dataset_id

from bench.data.sensing import Sensing
from bench.files.minari import dataset_path
from bench.files.readers.minari_writer import write
from bench.settings.groups import choices
from bench.settings.single import SingleRun, single_run
from bench.settings.typed import ConfigError

HELP = """\
python -m bench export ID KEY=VALUE ...
  Writes data, degraded or not, as the Minari dataset ID, as in cliff/mixed-v0; each segment becomes
  an episode. `dataset=minari dataset.id=ID` reads it, bit for bit and with its world. The other
  words are those of `describe`."""
USAGE = "The first word should be the id of the new dataset, as in cliff/mixed-v0"


def main(words: list[str]) -> int:
    """Write the dataset, say where it is, and return the exit status."""
    if "--help" in words or "-h" in words:
        print(f"{HELP}\n{choices('dataset', 'behavior', 'coverage')}")
        return 0
    dataset_id, run = _understood(words)
    task, dataset = run.load()
    if len(dataset) == 0:
        raise ConfigError("Nothing is left to export: the degradation takes every transition.")
    path = write(dataset_id, run, task, dataset)
    print(
        f"{len(dataset):,} transitions in {int(dataset.successor_missing.sum()):,} episodes "
        f"are in {path}; `dataset=minari dataset.id={dataset_id} "
        f"dataset.discount={dataset.spec.discount:g}` reads them."
    )
    return 0


def _understood(words: list[str]) -> tuple[str, SingleRun]:
    """Return the new dataset's id and the run whose data it will hold."""
    if not words or "=" in words[0]:
        raise ConfigError(f"{USAGE}.")
    dataset_id, *rest = words
    try:
        parse_dataset_id(dataset_id)
    except (ValueError, TypeError):
        raise ConfigError(f"{USAGE}, and not {dataset_id!r}.") from None
    path = dataset_path(dataset_id)
    if path.exists():
        raise ConfigError(f"{path} exists already: remove it or choose another id.")
    run = single_run(rest, "export")
    if run.config.dataset.sensing != Sensing():
        raise ConfigError(
            "export writes whole observations: dataset.hidden and dataset.history are for "
            "whoever reads them."
        )
    return dataset_id, run

"""What an experiment's records answer in place of a report."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from bench.atomic import atomic_write
from plots.drawing import frame_of

if TYPE_CHECKING:
    from plots.data.frame import Frame


def answer(experiment: str, options: argparse.Namespace) -> None:
    """Print or write the one thing that was asked for in place of a report."""
    frame = frame_of(experiment, options)
    if options.export is not None:
        from plots.answers.export import export

        print(f"{export(frame, options.export):,} numbers are in {options.export}.")
    elif options.compare is not None:
        from plots.answers.comparing import compare, compared_csv, summary

        compared = compare(
            _other(experiment, options), frame, options.measure or "normalized_regret"
        )
        path = options.results / "figures" / experiment / "compared.csv"
        with atomic_write(path) as handle:
            handle.write(compared_csv(compared).encode())
        print(f"{summary(compared)}\nAll cells are in {path}.")
    else:
        from plots.answers.power import sentences

        lines = list(sentences(frame))
        print("\n".join(lines) or "There are no two learners with two seeds of one task.")


def _other(experiment: str, options: argparse.Namespace) -> "Frame":
    """Return what is compared with: an experiment of this name, or this one in another folder."""
    other = Path(options.compare)
    elsewhere = (other / "runs").is_dir() or (other / "reference").is_dir()
    if not elsewhere:
        return frame_of(options.compare, options)
    # Records that were committed alone are as good.
    reference = not (other / "runs" / experiment).is_dir()
    words = vars(options) | {"results": other, "reference": reference}
    return frame_of(experiment, argparse.Namespace(**words))

"""A sweep's peak memory is that of its largest cohort, however many cohorts it has."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

COHORT = 20
# What planning, heads and the allocator may add for each further run.
KILOBYTES_PER_RUN = 40
PROGRAM = """
import json, resource, sys
from bench.__main__ import main
try:
    main()
except SystemExit as stop:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps([stop.code, peak]))
"""


def peak(folder: Path, cohorts: int) -> int:
    """Return the peak memory in KB of a process that trains so many cohorts one by one."""
    words = (
        "dataset=lock", "dataset.num_transitions=500", "algorithm=cql", "num_updates=40",
        "eval_every=4", f"seed=range({cohorts * COHORT})", f"launcher.cohort_size={COHORT}",
        "launcher=local", "tracking=none", "compile=off", f"results_dir={folder / str(cohorts)}",
    )  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *words],
        cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True,
    )  # fmt: skip
    code, kilobytes = json.loads(done.stdout.splitlines()[-1])
    assert code == 0
    assert len(list(folder.glob(f"{cohorts}/runs/*/[!.]*.json"))) == cohorts * COHORT
    return int(kilobytes)


@pytest.mark.slow
def test_the_peak_does_not_grow_with_the_number_of_cohorts(tmp_path: Path) -> None:
    few, many = peak(tmp_path, 2), peak(tmp_path, 12)
    print(few, many)
    assert many < few + KILOBYTES_PER_RUN * 10 * COHORT

"""The harness: data, coverage, training in cohorts, evaluation and records."""

import os
from pathlib import Path

CONF = Path(__file__).resolve().parents[1] / "conf"
"""The configuration, beside this package in a checkout and in an installation alike.

Found by path and not as a package: a user's own folder `conf` must not stand in for it.
"""

# Read when torch is first imported. Threads that wait for each other by spinning lose most of their
# time as soon as another program wants a core (updates took 2 to 3 times as long); letting them
# sleep costs a tenth where the machine is idle.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

# Read when a GPU is first used: without it some matrix products differ from time to time.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

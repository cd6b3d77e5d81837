"""What torch is told before it computes on a GPU."""

from typing import Literal

import torch

# Of how a GPU multiplies matrices of float32, torch's names.
PRECISIONS = {"float32": "highest", "tf32": "high"}
# Of a GPU that multiplies in TF32, the least.
AMPERE = (8, 0)
LINEAR_ALGEBRA = "cusolver"


def set_up(precision: Literal["float32", "tf32"] = "float32") -> None:
    """Let this process compute on a GPU as runs do: the same bits every time, by graphs as well."""
    torch.set_float32_matmul_precision(PRECISIONS[precision])
    if torch.version.cuda is not None:
        # The other library waits for the GPU in the middle of an update, which no graph can.
        torch.backends.cuda.preferred_linalg_library(LINEAR_ALGEBRA)
    # A sum in another order would make a resumed training differ; where an operation knows no
    # other way torch says so once.
    torch.use_deterministic_algorithms(True, warn_only=True)
    # With them come writes into all new memory, of which nothing is read before it is written.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def multiplies_in_tf32() -> bool:
    """Return whether the GPU of this machine does."""
    return torch.version.cuda is not None and torch.cuda.get_device_capability() >= AMPERE

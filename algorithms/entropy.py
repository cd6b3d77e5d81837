"""The weight of a policy's entropy in its objective, tuned to a wanted entropy."""

from torch import Tensor

from algorithms.optimizers import AdamState, adam


def tuned(
    log_weight: Tensor,
    entropy: Tensor,
    wanted: float | Tensor,
    optimizer: AdamState,
    learning_rate: float | Tensor,
) -> tuple[Tensor, AdamState]:
    """Return the logarithm ``[]`` of the weight after one Adam step, and the optimiser.

    It rises where there is less entropy than wanted. The loss is ``log_weight (entropy - wanted)``
    with the entropy as a constant, as in the code of soft actor-critic (Haarnoja et al. 2018).
    """
    return adam(entropy - wanted, optimizer, log_weight, learning_rate)

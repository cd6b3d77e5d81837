"""Rank correlation of two columns."""

import numpy as np


def rank_correlation(left: np.ndarray, right: np.ndarray) -> float | None:
    """Return Spearman's rank correlation of two columns ``[n]``, ties at their mean rank.

    None where it says nothing: of fewer than three pairs, or where a column holds one value only.
    """
    if len(left) < 3 or len(np.unique(left)) == 1 or len(np.unique(right)) == 1:
        return None
    return float(np.corrcoef(_ranks(left), _ranks(right))[0, 1])


def _ranks(values: np.ndarray) -> np.ndarray:
    """Return ranks from 1 of a column ``[n]``, of equal values their mean rank."""
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[places]

"""Estimates of coverage from samples alone, where no exact occupancy is known.

Each says in [0, 1] how well the data covers the comparator and has an exact counterpart on tabular
tasks, against which ``experiment=coverage_measures`` draws it. Scikit-learn is imported where it is
used: most processes never need it, and it would take them as long as all else together.

    effective_sample_size               inverse_l2_concentrability
    inverse_relative_condition_number   inverse_concentrability
    nearest_neighbor_support            support_fraction
"""

import numpy as np
from scipy.linalg import eigh
from scipy.spatial.distance import cdist, pdist

from bench import seeding
from bench.data.summary import median_distance
from bench.measures.comparator import SamplePoints, Samples

NUM_NEIGHBORS = 5
# Comparator steps whose distances to all data are in memory at a time.
CHUNK = 256

FEWEST_POINTS = 50
NUM_FOLDS = 4
# Consecutive points that are held out together, since each of them tells of its neighbours.
LONGEST_BLOCK = 50

# With more features or less ridge tables are followed a little better; elsewhere the largest of the
# ratios becomes larger by chance.
NUM_FREQUENCIES = 32
# Of the mean eigenvalue: how much data a direction is taken to have at least.
RIDGE = 1e-2
BANDWIDTH_POINTS = 256


def nearest_neighbor_support(samples: Samples) -> float:
    """Return the share of the comparator's steps that lie on the data's manifold.

    A step is covered if it falls into the ball of a transition that is left and has the same
    discrete action; a transition's ball reaches to its k-th nearest neighbour among the full data's
    transitions of that action (Kynkaanniemi et al. 2019, "improved recall"), so that balls are
    small where data is dense.
    """
    from sklearn.neighbors import NearestNeighbors

    covered = 0
    for action in np.unique(samples.comparator.action):
        steps = samples.comparator.vector[samples.comparator.action == action]
        same = samples.neighbors.action == action
        full, left = same & samples.collected, same & samples.left
        if full.sum() <= NUM_NEIGHBORS or not left.any():
            continue
        centers = samples.neighbors.vector[left]
        # A transition of the full data is its own nearest neighbour, hence one more.
        neighbors = NearestNeighbors(n_neighbors=NUM_NEIGHBORS + 1)
        distance = neighbors.fit(samples.neighbors.vector[full]).kneighbors(centers)[0]
        radius = np.where(samples.collected[left], distance[:, -1], distance[:, -2])
        # Tabular steps are few distinct ones, each of which is looked at once.
        distinct, counts = np.unique(steps, axis=0, return_counts=True)
        for start in range(0, len(distinct), CHUNK):
            rows = slice(start, start + CHUNK)
            covered += counts[rows] @ (cdist(distinct[rows], centers) <= radius).any(1)
    return float(covered / len(samples.comparator.action))


def effective_sample_size(samples: Samples) -> float | None:
    """Return ``1 / E_d[d / mu]``, the share of the data's size that it is worth to the comparator.

    See `inverse_mean_ratio`; None where either side has fewer than `FEWEST_POINTS` points.
    """
    comparator, data = samples.comparator, samples.data
    if min(len(comparator.action), len(data.action)) < FEWEST_POINTS:
        return None
    num_actions = samples.num_actions
    return inverse_mean_ratio(
        comparator.joined(num_actions),
        data.joined(num_actions),
        *folds(comparator.position, data.position),
    )


def inverse_mean_ratio(
    comparator: np.ndarray,
    data: np.ndarray,
    comparator_fold: np.ndarray,
    data_fold: np.ndarray,
) -> float:
    """Return ``1 / E_d[d / mu]`` of points ``[n, dim]`` from the densities d and mu, in [0, 1].

    A boosted classifier tells the two apart, its scores are calibrated (Platt) on a fold that it
    was not fitted on, and ``d / mu`` follows from the probability by Bayes' rule; it is evaluated
    on a third part, so that no point judges itself.

    ``E_mu[(d / mu)^2] = E_d[d / mu]``, so this is Kish's effective sample size of importance
    weights per transition, ``1 / E_mu[w^2]``. Kish's own ``(sum w)^2 / (n sum w^2)`` over the data
    does not see comparator mass where there is no data: weights there are never looked at, and a
    normalised sum hides that they are missing. A mean over the comparator's points sees it.
    """
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.ensemble import HistGradientBoostingClassifier

    points = np.concatenate([comparator, data])
    fold = np.concatenate([comparator_fold, data_fold])
    is_comparator = np.repeat([1, 0], [len(comparator), len(data)])
    ratio = np.empty(len(comparator))
    for held_out in range(NUM_FOLDS):
        calibrating = fold == (held_out + 1) % NUM_FOLDS
        fitting = ~calibrating & (fold != held_out)
        classifier = CalibratedClassifierCV(
            # Weak enough not to be sure of more than so few points can tell: a stronger one halves
            # the estimate where ratios have a long tail.
            HistGradientBoostingClassifier(
                max_iter=40,
                learning_rate=0.1,
                max_leaf_nodes=8,
                min_samples_leaf=20,
                early_stopping=False,
                random_state=0,
            ),
            method="sigmoid",
            cv=[(np.flatnonzero(fitting), np.flatnonzero(calibrating))],
        )
        classifier.fit(points, is_comparator)
        judged = comparator_fold == held_out
        probability = classifier.predict_proba(comparator[judged])
        # The prior odds are those of the points that the calibration has seen.
        seen = is_comparator[calibrating]
        prior = seen.sum() / (len(seen) - seen.sum())
        with np.errstate(divide="ignore"):
            ratio[judged] = probability[:, 1] / probability[:, 0] / prior
    # As many transitions as there are cannot show a density below that of one of them.
    return float(min(1.0, 1 / np.clip(ratio, 1 / len(comparator), len(data)).mean()))


def folds(comparator: np.ndarray, data: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the fold of every point from its position; consecutive points share one.

    A transition that is a comparator's step too is in one fold on both sides. Of 50 points on a
    side every fold has some.
    """
    fewest = min(len(comparator), len(data))
    length = int(np.clip(fewest // (5 * NUM_FOLDS), 1, LONGEST_BLOCK))
    blocks, others = comparator // length, data // length
    first = np.unique(blocks)
    # Dealt in turn, on each side, so that no fold is left without points.
    rest = np.setdiff1d(others, first)
    order = np.concatenate([first, rest])
    dealt = np.concatenate([np.arange(len(first)), np.arange(len(rest))]) % NUM_FOLDS
    place = np.argsort(order)

    def fold(of: np.ndarray) -> np.ndarray:
        return dealt[place[np.searchsorted(order, of, sorter=place)]]

    return fold(blocks), fold(others)


def inverse_relative_condition_number(samples: Samples) -> float:
    """Return ``1 / lambda_max(Sigma_mu^-1/2 Sigma_d Sigma_mu^-1/2)`` of random features, in [0, 1].

    Random Fourier features of the vectors (Rahimi and Recht 2007), with the median distance of the
    full data as bandwidth, stand in a block of their own for every discrete action; Sigma are
    second moments (Agarwal et al. 2021, arXiv 1908.00261). The frequencies are the same for all
    data of one dimension. As the largest of many ratios it is above 1 by chance alone: two samples
    of one distribution read 0.6 to 0.8.
    """
    # It is the data's moments that are inverted: as many transitions as can be had.
    comparator, data = samples.comparator, samples.neighbors.at(samples.left)
    collected = samples.neighbors.vector[samples.collected]
    spread = collected[np.linspace(0, len(collected) - 1, BANDWIDTH_POINTS).astype(int)]
    dim = data.vector.shape[1]
    rng = seeding.numpy_generator("coverage", "features", dim)
    frequencies = rng.normal(size=(dim, NUM_FREQUENCIES)) / median_distance(pdist(spread))

    def second_moments(points: SamplePoints) -> list[np.ndarray]:
        """Return the blocks of one's second moment, those of actions that the comparator takes."""
        features = fourier_features(points.vector, frequencies)
        chosen = (features[points.action == a] for a in np.unique(comparator.action))
        return [block.T @ block / len(points.action) for block in chosen]

    # Features have length 1: over all blocks the second moment has trace 1.
    ridge = RIDGE / (2 * NUM_FREQUENCIES)
    return max_ratio_inverse(second_moments(comparator), second_moments(data), ridge)


def fourier_features(vector: np.ndarray, frequencies: np.ndarray) -> np.ndarray:
    """Return features ``[n, 2 * frequencies]`` of length 1 for vectors ``[n, dim]``."""
    phase = vector @ frequencies
    return np.concatenate([np.cos(phase), np.sin(phase)], axis=1) / np.sqrt(frequencies.shape[1])


def max_ratio_inverse(comparator: list[np.ndarray], data: list[np.ndarray], ridge: float) -> float:
    """Return the inverse of ``max_x (x' Sigma_d x) / (x' (Sigma_mu + ridge) x)``, at most 1.

    Both matrices come as the blocks ``[size, size]`` on their diagonals. Features of one length
    give both the same trace over all blocks, so that without ridge the maximum is at least 1; what
    the ridge, rounding and blocks that are left out (no comparator there) take from that is cut.
    """
    largest = max(
        eigh(
            above,
            below + ridge * np.eye(len(below)),
            eigvals_only=True,
            subset_by_index=[len(below) - 1] * 2,
        )[0]
        for above, below in zip(comparator, data, strict=True)
    )
    return float(min(1.0, 1 / largest))

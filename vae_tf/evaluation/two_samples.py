"""How two samples of points differ, each measure with an error from resampling.

A bootstrap is not for these: it repeats points, and a repeated point is its own nearest neighbour. Nothing is repeated here.

- Moments and kernels are smooth, so leaving out a twentieth tells their error: the delete-a-group jackknife. Where both samples have one
  distribution the distances are quadratic about 0, and the error comes out about 1.4 times too large.
- Nearest neighbours are not: leaving out few points moves a whole neighbourhood. There the error is the standard deviation over random
  halves of both samples, the delete-half jackknife. It comes out right to 1.5 times too large.

Source: Shao and Wu (1989), on how many to leave out; Efron and Stein (1981), on errors that are not too small.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from sklearn.neighbors import NearestNeighbors

__all__ = ["GROUPS", "HALVES", "LEAST", "Measured", "frechet", "kernel", "neighbours"]

GROUPS, HALVES = 20, 20  # HALVES: ten pairs of a half and the rest
LEAST = 2 * GROUPS  # points of a sample: two in a group, and a half with the neighbours that are asked for
_ROUNDING = 1e-12  # of squared distances, by the largest square: a point that repeats is its own neighbour
_CELLS = 2_000_000  # of a matrix of distances at once


class Measured(NamedTuple):
    """A measure of two samples, and its standard error."""

    value: float
    standard_error: float


def frechet(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> Measured:
    """Return the squared Frechet distance of the normals with the moments of either sample, |m - m'|^2 + tr(C + C' - 2 (C C')^(1/2)).

    Args:
        x: [N, F] float64.
        y: [M, F] float64.
        rng: for the groups of the jackknife.

    Source: Heusel et al. (2017), equation 6.
    """
    first, second = _group_moments(rng.permutation(x)), _group_moments(rng.permutation(y))
    return _jackknife(lambda keep_x, keep_y: _between_normals(_moments(first, keep_x), _moments(second, keep_y)))


def kernel(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> Measured:
    """Return MMD^2 with the kernel (x.y / F + 1)^3, without bias: it is 0 on average where both samples have one distribution.

    Args:
        x: [N, F] float64.
        y: [M, F] float64.
        rng: for the groups of the jackknife.

    Source: Binkowski et al. (2018); the estimator, Gretton et al. (2012), equation 3.
    """
    x, y = rng.permutation(x), rng.permutation(y)
    xx, yy, xy = _kernel_sums(x, x), _kernel_sums(y, y), _kernel_sums(x, y)
    for sums, points in ((xx, x), (yy, y)):
        with_itself = (np.square(points).mean(1) + 1) ** 3
        sums[np.diag_indices(GROUPS)] -= np.add.reduceat(with_itself, _starts(points))
    sizes = _sizes(x), _sizes(y)

    def value(keep_x: np.ndarray, keep_y: np.ndarray) -> float:
        n, m = sizes[0] @ keep_x, sizes[1] @ keep_y
        return keep_x @ xx @ keep_x / (n * (n - 1)) + keep_y @ yy @ keep_y / (m * (m - 1)) - 2 * keep_x @ xy @ keep_y / (n * m)

    return _jackknife(value)


def neighbours(x: np.ndarray, y: np.ndarray, rng: np.random.Generator, reach: int, density_reach: int) -> dict[str, Measured]:
    """Return precision, recall, density and coverage of samples y of x.

    Args:
        x: images [N, F] float64.
        y: samples [M, F] float64.
        rng: for the halves.
        reach: k of precision and recall.
        density_reach: k of density and coverage.

    Source: Kynkaanniemi et al. (2019), equations 1 and 2; Naeem et al. (2020), section 3.
    """
    halves = []
    for _ in range(HALVES // 2):
        x_halves, y_halves = (np.array_split(rng.permutation(points), 2) for points in (x, y))
        halves += [_neighbours(*half, reach, density_reach) for half in zip(x_halves, y_halves)]
    names = ("precision", "recall", "density", "coverage")
    return {
        name: Measured(*map(float, both)) for name, *both in zip(names, _neighbours(x, y, reach, density_reach), np.std(halves, 0, ddof=1))
    }


def _neighbours(x: np.ndarray, y: np.ndarray, reach: int, density_reach: int) -> np.ndarray:
    x_reach, x_density_reach = _reach(x, (reach, density_reach))
    (y_reach,) = _reach(y, (reach,))
    precise, dense = np.zeros(len(y), bool), np.zeros(len(y))
    recalled, covered = np.empty(len(x), bool), np.empty(len(x), bool)
    for rows, distance in _distances(x, y):
        near = distance <= x_density_reach[rows, None]
        precise |= (distance <= x_reach[rows, None]).any(0)
        dense += near.sum(0)
        recalled[rows] = (distance <= y_reach).any(1)
        covered[rows] = near.any(1)
    return np.array([precise.mean(), recalled.mean(), dense.mean() / density_reach, covered.mean()])


def _reach(points: np.ndarray, ks: tuple[int, ...]) -> np.ndarray:
    """Return the squared distance of each point to its k-th nearest other one, for each k, [K, N], and no less for rounding."""
    distance, _ = NearestNeighbors(n_neighbors=max(ks), algorithm="brute").fit(points).kneighbors()
    return np.square(distance[:, [k - 1 for k in ks]]).T + _ROUNDING * np.square(points).sum(1).max()


def _distances(x: np.ndarray, y: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield rows of x with their squared distances to all y."""
    size, squares = max(1, _CELLS // len(y)), np.square(y).sum(1)
    for start in range(0, len(x), size):
        rows = slice(start, start + size)
        distance = (-2 * x[rows]) @ y.T
        distance += np.square(x[rows]).sum(1)[:, None]
        distance += squares
        yield rows, distance


def _jackknife(measure: Callable[[np.ndarray, np.ndarray], float]) -> Measured:
    """Return a measure and its error, var = sum over both samples of (G - 1)/G sum_g (t_g - mean_g t_g)^2, t_g without group g.

    Args:
        measure: which groups count of the first sample and of the second, [G] of 0 and 1 each -> value.
    """
    whole, but_one = np.ones(GROUPS), 1 - np.eye(GROUPS)
    without = [[measure(keep, whole) for keep in but_one], [measure(whole, keep) for keep in but_one]]
    return Measured(float(measure(whole, whole)), float(np.sqrt((GROUPS - 1) * np.var(without, 1).sum())))


def _starts(points: np.ndarray) -> np.ndarray:
    """Return where each group begins, [G]."""
    return np.arange(GROUPS) * len(points) // GROUPS


def _sizes(points: np.ndarray) -> np.ndarray:
    return np.diff(_starts(points), append=len(points))


def _group_moments(points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return an origin [F], and for each group its size [G], its sum [G, F] and sum of squares [G, F, F] about the origin."""
    origin = points.mean(0)  # about zero, sums of squares would lose digits
    groups = np.split(points - origin, _starts(points)[1:])
    return origin, _sizes(points), np.array([group.sum(0) for group in groups]), np.array([group.T @ group for group in groups])


def _moments(moments: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray], keep: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean [F] and covariance [F, F] of the groups that count."""
    origin, sizes, sums, squares = moments
    count = sizes @ keep
    mean = keep @ sums / count
    return origin + mean, (np.tensordot(keep, squares, 1) - count * np.outer(mean, mean)) / (count - 1)


def _between_normals(first: tuple[np.ndarray, np.ndarray], second: tuple[np.ndarray, np.ndarray]) -> float:
    (mean, covariance), (other_mean, other_covariance) = first, second
    values, vectors = np.linalg.eigh(covariance)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    # C C' has the eigenvalues of the symmetric C^(1/2) C' C^(1/2).
    shared = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ other_covariance @ root), 0)).sum()
    return float(np.sum((mean - other_mean) ** 2) + np.trace(covariance) + np.trace(other_covariance) - 2 * shared)


def _kernel_sums(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the sum of the kernel over the pairs of each group of x with each group of y, [G, G]."""
    rows = np.empty((len(x), GROUPS))
    size = max(1, _CELLS // len(y))
    for start in range(0, len(x), size):
        block = x[start : start + size] @ y.T / y.shape[1] + 1
        rows[start : start + size] = np.add.reduceat(block * block * block, _starts(y), 1)
    return np.add.reduceat(rows, _starts(x), 0)

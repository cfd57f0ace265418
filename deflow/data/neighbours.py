"""Exact nearest neighbours of every row: a million rows of a few dozen numbers take minutes on two cores.

A k-d tree that measures one distance at a time would visit a third of all rows. Here the tree has large leaves, and the
distances between the rows of two leaves are one matrix product in float32. It only selects candidate pairs, whose
distances are then computed in float64.
"""

import dataclasses
import functools
import pathlib
import tempfile
from collections.abc import Iterator

import numpy as np

from ..progress import Bar
from ..workers import WorkerPool, usable_cores

_LEAF_ROWS = 1024
_FIRST_LEAVES = 4  # those that give the first guess of a row's neighbours
_ROUNDING = 2.0**-24  # of a float32, relative
_ROWS_ALONE = 5_000  # up to here a process of its own would take longer to start


def nearest_rows(points: np.ndarray, count: int, *, workers: int | None = None, progress: bool = True) -> np.ndarray:
    """Indices of the `count` rows nearest to each row, nearest first. A row is not its own neighbour; an equal row is.

    Args:
        points: Finite numbers, shape (N, D), N > count. The distance is Euclidean.
        count: Number of neighbours k.
        workers: Number of processes; one per core if not given. The result does not depend on it.
        progress: Whether to show a bar.

    Returns:
        Indices, shape (N, k). Ties are broken arbitrarily, but always in the same way.
    """
    search = _prepared(points, count)
    found = np.empty((len(points), count), np.int64)
    with Bar(total=len(points), desc="nearest states", unit="rows", unit_scale=True, disable=not progress) as bar:
        for rows, nearest in _leaves(search, workers or usable_cores()):
            found[rows] = nearest
            bar.update(len(rows))
    return found


def _leaves(search: "_Search", workers: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The rows of each leaf and their neighbours, by processes of one thread each, since threads would slow down many
    small products."""
    leaves = range(len(search.starts))
    if len(search.rows) <= _ROWS_ALONE:
        yield from map(search.leaf, leaves)
        return
    with tempfile.TemporaryDirectory() as folder:
        for field in dataclasses.fields(search):
            np.save(pathlib.Path(folder, field.name), getattr(search, field.name))
        with WorkerPool(min(workers, len(leaves))) as pool:
            yield from pool.map(functools.partial(_leaf, folder), leaves, chunksize=4)


def _leaf(folder: str, leaf: int) -> tuple[np.ndarray, np.ndarray]:
    """In a worker: the rows of a leaf and their neighbours."""
    return _opened(folder).leaf(leaf)


@functools.lru_cache(maxsize=1)
def _opened(folder: str) -> "_Search":
    """The arrays on disk, so that workers share their memory."""
    names = [field.name for field in dataclasses.fields(_Search)]
    return _Search(**{name: np.load(pathlib.Path(folder, f"{name}.npy"), mmap_mode="r") for name in names})


def _prepared(points: np.ndarray, count: int) -> "_Search":
    centred = np.asarray(points, np.float64)
    centred = centred - centred.mean(0)
    # Along principal axes the same distances, and boxes that are far smaller where columns are correlated.
    turned = centred @ np.linalg.eigh(centred.T @ centred)[1]
    leaves = list(_split(turned, np.arange(len(turned)), max(_LEAF_ROWS, 2 * count)))
    rows = np.concatenate(leaves)
    turned = turned[rows]
    squares = np.square(turned).sum(1)
    starts = np.cumsum([0, *map(len, leaves[:-1])])
    return _Search(
        count=np.asarray(count),
        rows=rows,
        points=turned,
        products=np.column_stack([turned, squares]).astype(np.float32),
        starts=starts,
        stops=np.append(starts[1:], len(rows)),
        low=np.minimum.reduceat(turned, starts),
        high=np.maximum.reduceat(turned, starts),
        largest=np.maximum.reduceat(squares, starts),
    )


@dataclasses.dataclass(frozen=True)
class _Search:
    """The rows in the order of the leaves, with a bounding box for each leaf."""

    count: np.ndarray
    """Number of neighbours."""
    rows: np.ndarray
    """Original index of each row, shape (N,)."""
    points: np.ndarray
    """The rows along their principal axes, shape (N, D)."""
    products: np.ndarray
    """(x, |x|^2) in float32, shape (N, D + 1): with (-2 y, 1) their product is |x - y|^2 - |y|^2."""
    starts: np.ndarray
    """First row of each leaf."""
    stops: np.ndarray
    """Row after the last one of each leaf."""
    low: np.ndarray
    """Smallest coordinates in each leaf."""
    high: np.ndarray
    """Largest coordinates in each leaf."""
    largest: np.ndarray
    """Largest |x|^2 in each leaf."""

    def leaf(self, leaf: int) -> tuple[np.ndarray, np.ndarray]:
        """The rows of one leaf and their neighbours."""
        own = self._members(leaf)
        gaps = np.square(np.maximum(np.maximum(self.low - self.high[leaf], self.low[leaf] - self.high), 0)).sum(1)
        gaps[leaf] = -1.0
        order = np.argsort(gaps, kind="stable")

        first = np.concatenate([self._members(near) for near in order[:_FIRST_LEAVES]])
        guess = self._factors(own) @ self.products[first].T
        guess[own[:, None] == first[None]] = np.inf
        columns = np.argpartition(guess, self.count - 1, axis=1)[:, : self.count]
        queries, candidates = [np.repeat(own, self.count)], [first[columns].ravel()]
        distances = [self._measure(queries[0], candidates[0])]
        furthest = distances[0].reshape(-1, self.count).max(1)

        for other in order[_FIRST_LEAVES:]:
            if gaps[other] > furthest.max():
                break
            query, candidate = self._closer(own, furthest, other)
            queries.append(query)
            candidates.append(candidate)
            distances.append(self._measure(query, candidate))
        return self.rows[own], self.rows[self._best(own, queries, candidates, distances)]

    def _closer(self, own: np.ndarray, furthest: np.ndarray, other: int) -> tuple[np.ndarray, np.ndarray]:
        """Pairs of own rows and rows of another leaf that may be closer than the furthest found so far."""
        points = self.points[own]
        outside = np.maximum(np.maximum(self.low[other] - points, points - self.high[other]), 0)
        needed = np.flatnonzero((np.square(outside).sum(1) < furthest) & (furthest > 0))
        own, square = own[needed], np.square(points[needed]).sum(1)
        error = 2 * (points.shape[1] + 8) * _ROUNDING * (square + self.largest[other])  # of a sum of products, at most
        limit = furthest[needed] - square + error
        block = self._factors(own) @ self.products[self.starts[other] : self.stops[other]].T
        query, candidate = np.divmod(np.flatnonzero(block <= limit.astype(np.float32)[:, None]), block.shape[1])
        return own[query], candidate + self.starts[other]

    def _members(self, leaf: int) -> np.ndarray:
        return np.arange(int(self.starts[leaf]), int(self.stops[leaf]))

    def _factors(self, own: np.ndarray) -> np.ndarray:
        """(-2 y, 1) in float32."""
        return np.column_stack([-2 * self.points[own], np.ones(len(own))]).astype(np.float32)

    def _measure(self, queries: np.ndarray, candidates: np.ndarray) -> np.ndarray:
        """Squared distances in float64."""
        return np.square(self.points[queries] - self.points[candidates]).sum(1)

    def _best(self, own: np.ndarray, *pairs: list[np.ndarray]) -> np.ndarray:
        """The `count` nearest among all pairs of each own row."""
        queries, candidates, distances = (np.concatenate(parts) for parts in pairs)
        order = np.lexsort((candidates, distances, queries))
        begin = np.searchsorted(queries[order], own)
        return candidates[order[begin[:, None] + np.arange(int(self.count))]]


def _split(points: np.ndarray, rows: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """The rows in groups of at most `size`, halved again and again along the axis of largest variance."""
    if len(rows) <= size:
        yield rows
        return
    axis, half = int(np.argmax(points[rows].var(0))), len(rows) // 2
    order = np.argpartition(points[rows, axis], half)
    yield from _split(points, rows[order[:half]], size)
    yield from _split(points, rows[order[half:]], size)

"""Exact nearest neighbours of a few rows among all of them: for a thousand of a million rows, seconds.

`deflow.data.neighbours` answers for every row, and builds a tree first. Here every distance is computed, in matrix
products. Each one takes rows from all over the data, so that the first already finds near ones and later ones have
little to add.
"""

import numpy as np

from ..progress import Bar

_BLOCK_ROWS = 8192
_QUERIES = 256  # a block of distances has 2 million numbers


def neighbours_of(
    rows: np.ndarray, points: np.ndarray, count: int, *, apart: np.ndarray | None = None, progress: bool = False
) -> np.ndarray:
    """Indices of the `count` rows nearest to each of the given `rows`, nearest first.

    Args:
        rows: Indices, shape (Q,).
        points: Finite numbers, shape (N, D). The distance is Euclidean.
        count: Number of neighbours k. Where fewer rows are allowed, the rest is -1.
        apart: For each of `rows`, the first row that may not be its neighbour and the one after the last, shape (Q, 2).
            Without it, only the row itself may not.
        progress: Whether to show a bar.

    Returns:
        Indices, shape (Q, k).
    """
    apart = np.column_stack([rows, rows + 1]) if apart is None else apart
    centre = points.mean(0, dtype=np.float64)
    blocks = -(-len(points) // _BLOCK_ROWS)
    found = np.full((len(rows), count), -1)
    distances = np.full((len(rows), count), np.inf)
    for block in Bar(iterable=range(blocks), desc="nearest states", disable=not progress):
        part = points[block::blocks] - centre  # rows block, block + blocks, block + 2 * blocks, ...
        factors = np.concatenate([part.T, np.square(part).sum(1)[None]])
        for start in range(0, len(rows), _QUERIES):
            chosen = slice(start, start + _QUERIES)
            queries = points[rows[chosen]] - centre
            products = np.column_stack([-2 * queries, np.ones(len(queries))]) @ factors  # |x - y|^2 - |y|^2
            first, after = np.clip(-(-(apart[chosen] - block) // blocks), 0, len(part)).T
            for query in np.flatnonzero(first < after):
                products[query, first[query] : after[query]] = np.inf
            for query in np.flatnonzero(products.min(1) < distances[chosen, -1]):
                _insert(products[query], block, blocks, distances[start + query], found[start + query])
    return found


def _insert(products: np.ndarray, first: int, step: int, distances: np.ndarray, found: np.ndarray) -> None:
    """Puts the near ones of a block among the nearest so far, in place."""
    near = np.flatnonzero(products < distances[-1])
    if len(near) > len(found):
        near = near[np.argpartition(products[near], len(found) - 1)[: len(found)]]
    joined = np.concatenate([distances, products[near]])
    order = np.argsort(joined, kind="stable")[: len(found)]
    found[:] = np.concatenate([found, first + step * near])[order]
    distances[:] = joined[order]

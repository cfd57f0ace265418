"""How good a policy is, by its row of eval.csv: what the best checkpoint is the best of."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

SCORES = {"success": "evaluation/success", "return": "evaluation/episode.return", "value": "estimate/value"}
"""Names and columns; the first that is known counts: success, else the return, else what is estimated from data."""


def scores_of(rows: Sequence[Mapping[str, float]], name: str = "") -> tuple[str, list[float]]:
    """The name of what counts, unless it is given, and its value in each row, NaN where it is not known, or where the
    data does not support an estimate: such a value is probably too high, and would always be the best."""
    found = {name: [_score(row, column) for row in rows] for name, column in SCORES.items()}
    known = [name for name, column in SCORES.items() if not np.isnan([row.get(column, math.nan) for row in rows]).all()]
    name = name or (known[0] if known else next(iter(SCORES)))
    return name, found[name]


def _score(row: Mapping[str, float], column: str) -> float:
    guessed = column == SCORES["value"] and row.get("estimate/supported") == 0
    return math.nan if guessed else float(row.get(column, math.nan))

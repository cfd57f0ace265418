"""Success: what the environment reports about a step, read here for evaluation and interaction."""

from collections.abc import Mapping
from typing import Any

import numpy as np


def step_success(info: Mapping[str, Any]) -> float:
    """1 if the step's `info["success"]` or `info["is_success"]` is true, 0 if it is false, NaN without either.

    An episode succeeds if any of its steps does: `numpy.fmax` over its steps, NaN if none reported it.
    """
    said = next((info[name] for name in ("success", "is_success") if name in info), None)
    if isinstance(said, str | bytes):
        raise ValueError(f"An environment's success must be true or false, got the text {said!r}.")
    return np.nan if said is None else float(np.any(said))

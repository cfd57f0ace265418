"""Success: what the environment reports about a step, read here for evaluation and interaction."""

from collections.abc import Mapping
from typing import Any

import numpy as np


def step_success(info: Mapping[str, Any]) -> float:
    """1 if the step's `info["success"]` is true, 0 if it is false, NaN if the environment does not report it.

    An episode succeeds if any of its steps does: `numpy.fmax` over its steps, NaN if none reported it.
    """
    return float(np.any(info["success"])) if "success" in info else np.nan

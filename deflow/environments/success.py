"""Success: what the environment says of a step, read in one place for evaluation and interaction alike."""

from collections.abc import Mapping
from typing import Any

import numpy as np


def step_success(info: Mapping[str, Any]) -> float:
    """1 where the step's `info["success"]` is true, 0 where it is false, NaN where the environment does not say.

    An episode succeeds where any of its steps does: `numpy.fmax` of its steps, NaN where none said.
    """
    return float(np.any(info["success"])) if "success" in info else np.nan

"""What one step of all environments gives."""

from typing import NamedTuple

import numpy as np


class Step(NamedTuple):
    """One transition of every environment: first axes S seeds, E environments."""

    observation: np.ndarray
    """What the actions answered to, shape (S, E, *observation)."""

    action: np.ndarray
    """The actions as they were executed, float32 of shape (S, E, A) in [-1, 1]."""

    reward: np.ndarray
    """Rewards, float32."""

    next_observation: np.ndarray
    """What followed, at an episode's end too: never the next episode's first observation."""

    terminated: np.ndarray
    """Whether the episode ended for good, so that nothing follows."""

    truncated: np.ndarray
    """Whether the episode was cut off."""

    success: np.ndarray
    """1 or 0 as the environment says, float32; nan where it does not."""

    episode_return: np.ndarray
    """Sum of the rewards of the episode that ended with this step; nan where none did."""

    episode_length: np.ndarray
    """Its number of steps; nan where none ended."""

    episode_success: np.ndarray
    """1 where any of its steps reported success, 0 where none did; nan where none ended or none reported."""

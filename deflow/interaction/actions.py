"""Actions, looked at before anything is sent."""

import numpy as np

from deflow.interaction.errors import InteractionError


def checked_actions(actions: np.ndarray, expected: tuple[int, ...]) -> np.ndarray:
    """The actions as they are executed: float32, clipped to [-1, 1].

    Raises `InteractionError` for another shape than expected, and for numbers that are not finite.
    """
    actions = np.asarray(actions, np.float32)
    if actions.shape != expected:
        raise InteractionError(f"Actions must be of shape {expected} (seeds, environments, A), got {actions.shape}.")
    if not np.isfinite(actions).all():
        index = tuple(np.argwhere(~np.isfinite(actions))[0].tolist())
        raise InteractionError(
            f"The action at {index} (seed, environment, coordinate) is {actions[index]}, which is not finite. "
            "Look for nan in the policy's weights: training may have diverged."
        )
    return np.clip(actions, -1.0, 1.0)

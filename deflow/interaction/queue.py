"""Actions that were chosen together and wait to be executed (Q-chunking, arXiv 2507.07969)."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float


class ActionQueue:
    """For each of S x E environments, the actions of a chunk that have not been executed yet."""

    def __init__(self, seeds: int, environments: int):
        self._actions = np.zeros((seeds, environments, 1, 0), np.float32)
        self._left = np.zeros((seeds, environments), np.int64)

    @property
    def empty(self) -> Bool[np.ndarray, "seeds environments"]:
        """Whose next action has to be chosen."""
        return self._left == 0

    def fill(self, actions: Float[np.ndarray, "seeds environments *steps action"]) -> None:
        """Where nothing waits, these actions do from now on: one for each environment, or those of n steps.

        Chunks of another length than before replace everything that waits.
        """
        actions = actions.reshape(*self._left.shape, -1, actions.shape[-1])
        if actions.shape != self._actions.shape:
            self._actions = np.zeros_like(actions)
            self.clear()
        self._actions = np.where(self.empty[..., None, None], actions, self._actions)
        self._left = np.where(self.empty, actions.shape[2], self._left)

    def take(self) -> Float[np.ndarray, "seeds environments action"]:
        """The next action of each environment, none of which may be `empty`."""
        places = self._actions.shape[2] - self._left
        self._left = self._left - 1
        return np.take_along_axis(self._actions, places[..., None, None], axis=2)[:, :, 0]

    def clear(self, where: Bool[np.ndarray, "seeds environments"] | bool = True) -> None:
        """Drops what waits for these environments, whose episodes have ended."""
        self._left = np.where(where, 0, self._left)

    def state(self) -> dict[str, np.ndarray]:
        """`waiting`, the chunks (S, E, n, A), and `left` (S, E), how many actions of each are left; nothing where
        actions are chosen one at a time."""
        return {"waiting": self._actions.copy(), "left": self._left.copy()} if self._actions.shape[2] > 1 else {}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Restore what `state` returned."""
        self.clear()
        if "left" in state:
            self._actions, self._left = np.asarray(state["waiting"]).copy(), np.asarray(state["left"]).copy()

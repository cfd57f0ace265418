"""The range of returns, for critics whose networks need it."""

import math
from collections.abc import Mapping
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..types import Context, Fixed
from .members import AbstractMembersConfig


class AbstractReturnsConfig(AbstractMembersConfig):
    """A critic of several members that knows the range of a step's reward."""

    task_settings: ClassVar[Mapping[str, str]] = {"aggregation": "aggregation", "reward_min": "reward_min"}

    reward_min: float | None = None
    """Lowest reward per step; if not given, the task's, or -1. Lower rewards in the data widen the range."""

    reward_max: float = 0.0
    """Highest reward per step. Higher rewards in the data widen the range."""

    def check_rewards(self, part: str) -> None:
        """Raises a `ValueError` for an empty range of rewards."""
        lowest, highest = self._reward_min, self.reward_max
        if not (math.isfinite(lowest) and math.isfinite(highest) and lowest < highest):
            raise ValueError(f"{part}: reward_min must be below reward_max, got {lowest} and {highest}.")

    def rewards(self, part: str, context: Context) -> Fixed:
        """The array [r_min, r_max].

        Raises:
            ValueError: For a discount at which returns have no range.
        """
        if not context.discount < 1:
            raise ValueError(f"{part}: returns have a range only if discount is below 1, got {context.discount}.")
        return reward_range(context, self._reward_min, self.reward_max)

    @property
    def _reward_min(self) -> float:
        return -1.0 if self.reward_min is None else self.reward_min


def reward_range(context: Context, lowest: float, highest: float) -> Fixed:
    """The array [lowest, highest] of rewards, widened by rewards of the data outside it."""
    if context.data is not None:
        rewards = np.asarray(context.data.reward)
        lowest, highest = min(lowest, float(rewards.min())), max(highest, float(rewards.max()))
    return Fixed(jnp.asarray([lowest, highest], jnp.float32))


def return_range(rewards: Fixed, discount: float) -> Float[Array, "2"]:
    """[r_min, r_max] / (1 - discount): the returns that such rewards can add up to."""
    return jax.lax.stop_gradient(rewards.value) / (1.0 - discount)

"""The range of returns, for critics whose networks need it."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..types import Context, Fixed
from .members import AbstractMembersConfig


class AbstractReturnsConfig(AbstractMembersConfig):
    """A critic of several members that knows the range of a step's reward."""

    reward_min: float = -1.0
    """Lowest reward per step. Lower rewards in the data widen the range."""

    reward_max: float = 0.0
    """Highest reward per step. Higher rewards in the data widen the range."""

    def check_rewards(self, part: str) -> None:
        """Raises a `ValueError` for an empty range of rewards."""
        lowest, highest = self.reward_min, self.reward_max
        if not (math.isfinite(lowest) and math.isfinite(highest) and lowest < highest):
            raise ValueError(f"{part}: reward_min must be below reward_max, got {lowest} and {highest}.")

    def rewards(self, part: str, context: Context) -> Fixed:
        """The array [r_min, r_max].

        Raises:
            ValueError: For a discount at which returns have no range.
        """
        if not context.discount < 1:
            raise ValueError(f"{part}: returns have a range only if discount is below 1, got {context.discount}.")
        return reward_range(context, self.reward_min, self.reward_max)


def reward_range(context: Context, lowest: float, highest: float) -> Fixed:
    """The array [lowest, highest] of rewards, widened by rewards of the data outside it."""
    if context.data is not None:
        rewards = np.asarray(context.data.reward)
        lowest, highest = min(lowest, float(rewards.min())), max(highest, float(rewards.max()))
    return Fixed(jnp.asarray([lowest, highest], jnp.float32))


def return_range(rewards: Fixed, discount: float) -> Float[Array, "2"]:
    """[r_min, r_max] / (1 - discount): the returns that such rewards can add up to."""
    return jax.lax.stop_gradient(rewards.value) / (1.0 - discount)

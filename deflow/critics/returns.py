"""The range of returns, for critics whose networks need to know it."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..types import Context, Fixed
from .members import AbstractMembersConfig


class AbstractReturnsConfig(AbstractMembersConfig):
    """A critic of several members that knows which rewards a step can give."""

    reward_min: float = -1.0
    """Lowest reward of a step that the task can give. Lower ones in the data widen the range."""

    reward_max: float = 0.0
    """Highest reward of a step that the task can give. Higher ones in the data widen the range."""

    def check_rewards(self, part: str) -> None:
        """Refuses a range of rewards that holds nothing."""
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
    """The array [lowest, highest] of rewards, widened by those of the data that lie outside."""
    if context.data is not None:
        rewards = np.asarray(context.data.reward)
        lowest, highest = min(lowest, float(rewards.min())), max(highest, float(rewards.max()))
    return Fixed(jnp.asarray([lowest, highest], jnp.float32))


def return_range(rewards: Fixed, discount: float) -> Float[Array, "2"]:
    """[r_min, r_max] / (1 - discount): the returns that such rewards can add up to."""
    return jax.lax.stop_gradient(rewards.value) / (1.0 - discount)

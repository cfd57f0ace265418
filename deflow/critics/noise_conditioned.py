"""FAN's critic: values that see the noise of an action, and an upper expectile over it (arXiv 2605.01663)."""

import math
from collections.abc import Mapping
from typing import ClassVar, Self

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from ..keys import named_key
from ..types import Action, Batch, Context, Fixed, Observation, Scalar
from .aggregation import Aggregation
from .base import AbstractInquiringCritic, AbstractStochasticCritic, Origin, register
from .members import (
    AbstractMembersConfig,
    AbstractMembersCritic,
    Members,
    build_members,
    each,
    each_value,
    follow,
    target_of,
)


class NoiseConditionedCritic(AbstractMembersCritic, AbstractInquiringCritic, AbstractStochasticCritic):
    """loss = mean_e (Q_e(o, a, z') - y)^2 + mean_e |expectile - 1(u_e < 0)| u_e^2, with

        y   = r + discount * mask * (agg_e Z_e(o', a') - penalty * A * size(a')),   a' made from the noise z'
        u_e = mean_i Qtarget_i(o, a, n) - Z_e(o, a),   n ~ N(0, I)

    Q is conditioned on the very noise that made a', so it learns the distribution of y over z'; Z is an upper expectile
    of that distribution. The trust region's size is a mean over the action's numbers, hence the A.

    A refiner climbs mean_e Q_e(o, a, n) + mean_e Z_e(o, a) with its own n ~ N(0, I) for each sample. Where nothing may
    be random (`value`, and `score`, which aggregates over e), n is 0.
    """

    members: Members
    """Q_e(o, a, n)."""
    target: Fixed
    upper: Members
    """Z_e(o, a), which has no target."""
    discount: float
    expectile: float
    penalty: float
    aggregation: Aggregation
    deviations: float
    target_rate: float

    @property
    def next_actions(self) -> int:
        """One action of the policy at s'."""
        return 1

    def values(self, observation: Observation, action: Action) -> Float[Array, " members"]:
        return self._values(observation, action, jnp.zeros_like(action))

    def sample_value(self, observation: Observation, action: Action, *, key: Key[Array, ""]) -> Scalar:
        return jnp.mean(self._values(observation, action, jax.random.normal(key, action.shape)))

    def inquiring_loss(
        self,
        transition: Batch,
        next_actions: Float[Array, "next_actions action"],
        origin: Origin,
        *,
        key: Key[Array, ""],
    ) -> tuple[Scalar, dict[str, Scalar]]:
        observation, action = transition.observation, jnp.asarray(transition.action)
        reward, mask = jnp.asarray(transition.reward), jnp.asarray(transition.mask)
        following = self.aggregate(each_value(self.upper, transition.next_observation, next_actions[0]))
        penalty = self.penalty * action.size * origin.sizes[0]
        target = jax.lax.stop_gradient(reward + self.discount * mask * (following - penalty))
        values = each(self.members, observation, action, origin.noises[0])[:, 0]
        value_loss = jnp.mean(jnp.square(values - target))

        noise = jax.random.normal(named_key(key, "noise"), action.shape)
        drawn = jnp.mean(each(self.target.value, observation, action, noise)[:, 0])
        upper = each_value(self.upper, observation, action)
        gaps = jax.lax.stop_gradient(drawn) - upper
        upper_loss = jnp.mean(jnp.where(gaps < 0, 1.0 - self.expectile, self.expectile) * jnp.square(gaps))
        return value_loss + upper_loss, {
            "critic_value": jnp.mean(values),
            "critic_target": target,
            "critic_penalty": jax.lax.stop_gradient(penalty),
            "critic_upper_value": jnp.mean(upper),
            "critic_upper_loss": upper_loss,
        }

    def advance(self) -> Self:
        return eqx.tree_at(lambda critic: critic.target, self, follow(self.target, self.members, self.target_rate))

    def _values(self, observation: Observation, action: Action, noise: Action) -> Float[Array, " members"]:
        """Q_e(o, a, n) + Z_e(o, a)."""
        return each(self.members, observation, action, noise)[:, 0] + each_value(self.upper, observation, action)


@register("noise-conditioned")
class NoiseConditionedCriticConfig(AbstractMembersConfig):
    """Values conditioned on the noise that made the next action, and an upper expectile over it: FAN's critic."""

    expectile: float = 0.9
    """The expectile of Q over noise that Z estimates: 0.5 is the mean, near 1 the best."""

    penalty: float = 3.0
    """What the target subtracts for the next action's size in the trust region, summed over the action's numbers. If
    not given, the task's."""

    task_settings: ClassVar[Mapping[str, str]] = {"penalty": "fan_penalty"}  # FAN takes the mean on every task

    aggregation: Aggregation | None = "mean"
    """How the members' values are combined for the target and for ranking: mean, min or mean-std."""

    def __check_init__(self) -> None:
        self.check("critic noise-conditioned")
        if not 0 < self.expectile < 1:
            raise ValueError(f"critic noise-conditioned: expectile must be between 0 and 1, got {self.expectile}.")
        if not 0 <= self.penalty < math.inf:
            raise ValueError(f"critic noise-conditioned: penalty must be at least 0 and finite, got {self.penalty}.")

    def build(self, context: Context, *, key: Key[Array, ""]) -> NoiseConditionedCritic:
        size, sizes = context.spec.action_size, {"width": self.width, "depth": self.depth}
        members = build_members(
            context, self.members, inputs=2 * size, outputs=1, key=named_key(key, "members"), **sizes
        )
        return NoiseConditionedCritic(
            members=members,
            target=target_of(members),
            upper=build_members(context, self.members, inputs=size, outputs=1, key=named_key(key, "upper"), **sizes),
            discount=context.discount,
            expectile=self.expectile,
            penalty=self.penalty,
            aggregation=self.chosen_aggregation(),
            deviations=self.deviations,
            target_rate=self.target_rate,
        )

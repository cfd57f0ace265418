"""Implicit Q-learning's critic: a state value replaces the policy's next action (arXiv 2110.06169, section 4)."""

from collections.abc import Mapping
from typing import ClassVar, Self

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from ..keys import named_key
from ..types import Action, Batch, Context, Fixed, Observation, Scalar
from .aggregation import Aggregation
from .base import register
from .members import (
    AbstractMembersConfig,
    AbstractMembersCritic,
    Member,
    Members,
    build_member,
    build_members,
    each_value,
    follow,
    target_of,
)


class ExpectileCritic(AbstractMembersCritic):
    """loss = |expectile - 1(u < 0)| u^2 + sum_e (Q_e(o, a) - (r + discount * mask * V(o')))^2,
    with u = agg_e Qtarget_e(o, a) - V(o).

    It needs no action from the policy: V is an upper expectile of the values of the data's actions. Each of the two
    terms keeps the other's network fixed (arXiv 2110.06169, equations 5 and 6). The refiner climbs the mean over
    members, and the aggregation ranks candidates.
    """

    members: Members
    target: Fixed
    state_value: Member
    discount: float
    expectile: float
    aggregation: Aggregation
    deviations: float
    target_rate: float

    @property
    def next_actions(self) -> int:
        """None, since V(o') replaces them."""
        return 0

    def values(self, observation: Observation, action: Action) -> Float[Array, " members"]:
        return each_value(self.members, observation, action)

    def loss(
        self, transition: Batch, next_actions: Float[Array, "next_actions action"], *, key: Key[Array, ""]
    ) -> tuple[Scalar, dict[str, Scalar]]:
        observation, action = transition.observation, jnp.asarray(transition.action)
        reward, mask = jnp.asarray(transition.reward), jnp.asarray(transition.mask)
        of_data = self.aggregate(each_value(self.target.value, observation, action))
        state_value = self.state_value(observation)[0]
        gap = jax.lax.stop_gradient(of_data) - state_value
        value_loss = jnp.where(gap < 0, 1.0 - self.expectile, self.expectile) * jnp.square(gap)
        following = self.state_value(transition.next_observation)[0]
        target = jax.lax.stop_gradient(reward + self.discount * mask * following)
        values = each_value(self.members, observation, action)
        return value_loss + jnp.sum(jnp.square(values - target)), {
            "critic_value": jnp.mean(values),
            "critic_target": target,
            "state_value": state_value,
            "state_value_loss": value_loss,
        }

    def advance(self) -> Self:
        return eqx.tree_at(lambda critic: critic.target, self, follow(self.target, self.members, self.target_rate))


@register("expectile")
class ExpectileCriticConfig(AbstractMembersConfig):
    """A state value by expectile regression, and action values that bootstrap from it: IQL's critic, used by IFQL."""

    expectile: float = 0.9
    """The expectile of the data's action values that becomes the state value: 0.5 is the mean, near 1 the best."""

    task_settings: ClassVar[Mapping[str, str]] = {}  # implicit Q-learning takes the minimum on every task

    aggregation: Aggregation | None = "min"
    """How the members' values are combined, for the state value's target and for ranking: mean, min or mean-std."""

    def __check_init__(self) -> None:
        self.check("critic expectile")
        if not 0 < self.expectile < 1:
            raise ValueError(f"critic expectile: expectile must be between 0 and 1, got {self.expectile}.")

    def build(self, context: Context, *, key: Key[Array, ""]) -> ExpectileCritic:
        size, sizes = context.spec.action_size, {"width": self.width, "depth": self.depth}
        members = build_members(context, self.members, inputs=size, outputs=1, key=named_key(key, "members"), **sizes)
        return ExpectileCritic(
            members=members,
            target=target_of(members),
            state_value=build_member(context, inputs=0, outputs=1, key=named_key(key, "state value"), **sizes),
            discount=context.discount,
            expectile=self.expectile,
            aggregation=self.chosen_aggregation(),
            deviations=self.deviations,
            target_rate=self.target_rate,
        )

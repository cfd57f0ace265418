"""The paper's critic: independent networks, temporal differences and a Polyak target (arXiv 2601.10471, section 5)."""

from typing import Self

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from ..types import Action, Batch, Context, Fixed, Observation, Scalar
from .aggregation import Aggregation
from .base import register
from .members import AbstractMembersConfig, AbstractMembersCritic, Members, build_members, each_value, follow, target_of


class EnsembleCritic(AbstractMembersCritic):
    """loss = mean_e (Q_e(o, a) - y)^2 with y = r + discount * mask * agg_e Qtarget_e(o', a').

    `members` holds the networks' arrays stacked along a first axis. `agg` is the aggregation; the refiner climbs the
    mean over members, and the aggregation ranks candidates.
    """

    members: Members
    target: Fixed
    discount: float
    aggregation: Aggregation
    deviations: float
    target_rate: float

    @property
    def next_actions(self) -> int:
        """One action of the policy at s'."""
        return 1

    def values(self, observation: Observation, action: Action) -> Float[Array, " members"]:
        return each_value(self.members, observation, action)

    def loss(
        self, transition: Batch, next_actions: Float[Array, "next_actions action"], *, key: Key[Array, ""]
    ) -> tuple[Scalar, dict[str, Scalar]]:
        following = each_value(self.target.value, transition.next_observation, next_actions[0])
        bootstrap = self.aggregate(following)
        reward, mask = jnp.asarray(transition.reward), jnp.asarray(transition.mask)
        target = jax.lax.stop_gradient(reward + self.discount * mask * bootstrap)
        values = each_value(self.members, transition.observation, jnp.asarray(transition.action))
        return jnp.mean(jnp.square(values - target)), {"critic_value": jnp.mean(values), "critic_target": target}

    def advance(self) -> Self:
        return eqx.tree_at(lambda critic: critic.target, self, follow(self.target, self.members, self.target_rate))


@register("ensemble")
class EnsembleCriticConfig(AbstractMembersConfig):
    """Independent networks with GELU and LayerNorm, and a slowly moving copy as the target: the paper's critic."""

    def __check_init__(self) -> None:
        self.check("critic ensemble")

    def build(self, context: Context, *, key: Key[Array, ""]) -> EnsembleCritic:
        size = context.spec.action_size
        members = build_members(
            context, self.members, inputs=size, outputs=1, width=self.width, depth=self.depth, key=key
        )
        return EnsembleCritic(
            members=members,
            target=target_of(members),
            discount=context.discount,
            aggregation=self.chosen_aggregation(),
            deviations=self.deviations,
            target_rate=self.target_rate,
        )

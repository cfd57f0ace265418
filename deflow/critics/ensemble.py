"""The paper's critic: independent networks, temporal differences and a Polyak target (arXiv 2601.10471, section 5)."""

from typing import Self

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from ..networks import MLP, build_encoder, check_network
from ..types import Action, Batch, Context, Encoder, Fixed, Observation, Scalar
from .aggregation import Aggregation, aggregate, check_aggregation
from .base import AbstractCritic, AbstractCriticConfig, register


class Member(eqx.Module):
    """One network Q(o, a)."""

    encoder: Encoder
    network: MLP

    def __call__(self, observation: Observation, action: Action) -> Scalar:
        return self.network(jnp.concatenate([self.encoder(observation), action]))[0]


class EnsembleCritic(AbstractCritic):
    """loss = mean_e (Q_e(o, a) - y)^2 with y = r + discount * mask * agg_e Qtarget_e(o', a').

    `members` holds the networks' arrays stacked along a first axis. `agg` is the aggregation; the refiner climbs the
    mean over members, and the aggregation ranks candidates.
    """

    members: Member
    target: Fixed
    discount: float
    aggregation: Aggregation
    deviations: float
    target_rate: float

    @property
    def next_actions(self) -> int:
        """One action of the policy at s'."""
        return 1

    def value(self, observation: Observation, action: Action) -> Scalar:
        return jnp.mean(_values(self.members, observation, action))

    def score(self, observation: Observation, action: Action) -> Scalar:
        return aggregate(_values(self.members, observation, action), self.aggregation, self.deviations)

    def loss(
        self, transition: Batch, next_actions: Float[Array, "next_actions action"], *, key: Key[Array, ""]
    ) -> tuple[Scalar, dict[str, Scalar]]:
        following = _values(self.target.value, transition.next_observation, next_actions[0])
        bootstrap = aggregate(following, self.aggregation, self.deviations)
        reward, mask = jnp.asarray(transition.reward), jnp.asarray(transition.mask)
        target = jax.lax.stop_gradient(reward + self.discount * mask * bootstrap)
        values = _values(self.members, transition.observation, jnp.asarray(transition.action))
        return jnp.mean(jnp.square(values - target)), {"critic_value": jnp.mean(values), "critic_target": target}

    def advance(self) -> Self:
        target = jax.tree.map(
            lambda old, new: old + self.target_rate * (new - old) if eqx.is_inexact_array(old) else old,
            self.target.value,
            self.members,
        )
        return eqx.tree_at(lambda critic: critic.target.value, self, target)


@register("ensemble")
class EnsembleCriticConfig(AbstractCriticConfig):
    """Independent networks with GELU then LayerNorm, and a slowly following copy as the target: the paper's critic."""

    members: int = 2
    """Number of networks."""

    aggregation: Aggregation = "mean"
    """How the members' values become the target and the ranking: mean, min, or mean-std (see deviations)."""

    deviations: float = 0.5
    """With mean-std: how many standard deviations are taken off the mean."""

    target_rate: float = 0.005
    """Share of the way that the target moves toward the critic after each update (Polyak's tau)."""

    width: int = 512
    """Units of each hidden layer."""

    depth: int = 4
    """Number of hidden layers."""

    def __check_init__(self):
        check_network("critic ensemble", self.width, self.depth)
        check_aggregation("critic ensemble", self.aggregation, self.deviations)
        if self.members < 1:
            raise ValueError(f"critic ensemble: members must be at least 1, got {self.members}.")
        if not 0 < self.target_rate <= 1:
            raise ValueError(f"critic ensemble: target_rate must be in (0, 1], got {self.target_rate}.")

    def build(self, context: Context, *, key: Key[Array, ""]) -> EnsembleCritic:
        def member(member_key):
            encoder, features = build_encoder(context, key=member_key)
            inputs = features + context.spec.action_size
            network = MLP(inputs, 1, width=self.width, depth=self.depth, normalize=True, key=member_key)
            return Member(encoder=encoder, network=network)

        members = eqx.filter_vmap(member)(jax.random.split(key, self.members))
        return EnsembleCritic(  # pyright: ignore[reportCallIssue]
            members=members,
            target=Fixed(jax.tree.map(lambda leaf: leaf.copy() if eqx.is_array(leaf) else leaf, members)),
            discount=context.discount,
            aggregation=self.aggregation,
            deviations=self.deviations,
            target_rate=self.target_rate,
        )


def _values(members: Member, observation: Observation, action: Action) -> Float[Array, " members"]:
    return eqx.filter_vmap(lambda member: member(observation, action))(members)

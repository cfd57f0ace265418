"""What critics with several networks share: members after one encoder, the combination of their values, and a moving
target."""

import abc
from collections.abc import Mapping
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from ..networks import MLP, build_encoder, check_network
from ..types import Action, Context, Encoder, Features, Fixed, Observation, Scalar, trainable
from .aggregation import Aggregation, aggregate, check_aggregation
from .base import AbstractCritic, AbstractCriticConfig

_AGGREGATION: Aggregation = "mean"


class Member(eqx.Module):
    """One network after an encoder that is its own."""

    encoder: Encoder
    network: MLP

    def __call__(self, observation: Observation, *inputs: Float[Array, " _"]) -> Float[Array, " outputs"]:
        """The network's outputs for the observation's features and further inputs, such as an action."""
        return self.network(jnp.concatenate([self.encoder(observation), *inputs]))


class Members(eqx.Module):
    """Several networks after one encoder, which all of their losses train: an observation is encoded once for all."""

    encoder: Encoder
    network: MLP
    """The networks: their arrays are stacked along a first axis."""

    def of_features(self, features: Features, *inputs: Float[Array, " _"]) -> Float[Array, "members outputs"]:
        """Every network's outputs for the same features and further inputs, such as an action."""
        return eqx.filter_vmap(lambda network: network(jnp.concatenate([features, *inputs])))(self.network)


def build_member(context: Context, *, inputs: int, outputs: int, width: int, depth: int, key: Key[Array, ""]) -> Member:
    """One network with GELU and LayerNorm, for `inputs` numbers in addition to the observation's features."""
    encoder, features = build_encoder(context, key=key)
    network = MLP(features + inputs, outputs, width=width, depth=depth, normalize=True, key=key)
    return Member(encoder=encoder, network=network)


def build_members(
    context: Context, members: int, *, inputs: int, outputs: int, width: int, depth: int, key: Key[Array, ""]
) -> Members:
    """Independent networks of the same kind, after an encoder that they share."""
    encoder, features = build_encoder(context, key=key)

    def one(key: Key[Array, ""]) -> MLP:
        return MLP(features + inputs, outputs, width=width, depth=depth, normalize=True, key=key)

    return Members(encoder=encoder, network=eqx.filter_vmap(one)(jax.random.split(key, members)))


def each(members: Members, observation: Observation, *inputs: Float[Array, " _"]) -> Float[Array, "members outputs"]:
    """Every member's outputs for the same inputs."""
    return members.of_features(members.encoder(observation), *inputs)


def each_value(members: Members, observation: Observation, action: Action) -> Float[Array, " members"]:
    """The values of an action, for members with one output."""
    return each(members, observation, action)[:, 0]


def target_of(members: Members) -> Fixed:
    """A copy that the optimizer does not train."""
    return Fixed(jax.tree.map(lambda leaf: leaf.copy() if eqx.is_array(leaf) else leaf, members))


def follow(target: Fixed, members: Members, rate: float) -> Fixed:
    """The target after it has moved a fraction `rate` (Polyak's tau) of the way toward the members. What is `Fixed` in
    these, such as an encoder's statistics, stays bit for bit."""
    moved = jax.tree.map(
        lambda moves, old, new: old + rate * (new - old) if moves else old, trainable(members), target.value, members
    )
    return Fixed(moved)


class AbstractMembersCritic(AbstractCritic):
    """A critic of several members: the refiner climbs the mean of their values, the aggregation ranks candidates."""

    aggregation: eqx.AbstractVar[Aggregation]
    """How values are combined, for the target and for ranking."""

    deviations: eqx.AbstractVar[float]
    """With mean-std: how many standard deviations are subtracted from the mean."""

    @abc.abstractmethod
    def values(self, observation: Observation, action: Action) -> Float[Array, " members"]:
        """The members' values of an action."""

    def value(self, observation: Observation, action: Action) -> Scalar:
        return jnp.mean(self.values(observation, action))

    def score(self, observation: Observation, action: Action) -> Scalar:
        return self.aggregate(self.values(observation, action))

    def aggregate(self, values: Float[Array, " members"]) -> Scalar:
        """One number from the members' values of one action."""
        return aggregate(values, self.aggregation, self.deviations)


class AbstractMembersConfig(AbstractCriticConfig):
    """The settings that such critics share."""

    members: int = 2
    """Number of networks."""

    task_settings: ClassVar[Mapping[str, str]] = {"aggregation": "aggregation"}

    aggregation: Aggregation | None = None
    """How the members' values are combined for the target and for ranking: mean, min, or mean-std (see deviations).
    If not given, the task's; without a task, mean."""

    deviations: float = 0.5
    """With mean-std: how many standard deviations are subtracted from the mean."""

    target_rate: float = 0.005
    """Fraction of the way that the target moves toward the critic after each update (Polyak's tau)."""

    width: int = 512
    """Units of each hidden layer."""

    depth: int = 4
    """Number of hidden layers."""

    def check(self, part: str) -> None:
        """Raises a `ValueError` for invalid sizes, an unknown aggregation or an invalid rate."""
        check_network(part, self.width, self.depth)
        check_aggregation(part, self.chosen_aggregation(), self.deviations)
        if self.members < 1:
            raise ValueError(f"{part}: members must be at least 1, got {self.members}.")
        if not 0 < self.target_rate <= 1:
            raise ValueError(f"{part}: target_rate must be in (0, 1], got {self.target_rate}.")

    def chosen_aggregation(self) -> Aggregation:
        """The given aggregation, or else the task's, or else the mean."""
        return self.aggregation or _AGGREGATION

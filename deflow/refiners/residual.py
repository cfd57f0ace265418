"""The paper's refiner: a network of the observation and the proposal (arXiv 2601.10471, section 4)."""

import jax.numpy as jnp
from jaxtyping import Array, Key

from ..networks import MLP, build_encoder, check_network
from ..types import Action, Context, Encoder, Observation
from .base import AbstractLearnedRefiner, AbstractRefinerConfig, Inquiry, register


class ResidualRefiner(AbstractLearnedRefiner):
    """displacement = f(o, proposal). Neither time nor noise is an input, and its initial output is not zero.

    It minimises the refinement loss (arXiv 2601.10471, equation 3).
    """

    encoder: Encoder
    network: MLP

    def __call__(self, observation: Observation, noise: Action, proposal: Action, inquiry: Inquiry) -> Action:
        return self.network(jnp.concatenate([self.encoder(observation), proposal]))


@register("residual")
class ResidualRefinerConfig(AbstractRefinerConfig):
    """A network that moves each proposal: the paper's refiner."""

    width: int = 512
    """Units of each hidden layer."""

    depth: int = 4
    """Number of hidden layers."""

    def __check_init__(self) -> None:
        check_network("refiner residual", self.width, self.depth)

    def build(self, context: Context, *, key: Key[Array, ""]) -> ResidualRefiner:
        encoder, features = build_encoder(context, key=key)
        size = context.spec.action_size
        network = MLP(features + size, size, width=self.width, depth=self.depth, key=key)
        return ResidualRefiner(encoder=encoder, network=network)

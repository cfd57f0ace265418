"""FQL's policy as a refiner: a network from noise to action, kept near the flow's (arXiv 2502.02538, section 4)."""

import jax.numpy as jnp
from jaxtyping import Array, Key

from ..networks import MLP, build_encoder, check_network
from ..types import Action, Context, Encoder, Observation
from .base import AbstractDirectRefiner, AbstractRefinerConfig, register


class OneStepRefiner(AbstractDirectRefiner):
    """action = mu(o, z), and displacement = mu(o, z) - proposal with the proposal made from the same noise z.

    With the size mean-square and a fixed multiplier alpha this is FQL's distillation, alpha |mu(o, z) - ODE(v, z)|^2.
    """

    encoder: Encoder
    network: MLP

    def act(self, observation: Observation, noise: Action) -> Action:
        return self.network(jnp.concatenate([self.encoder(observation), noise]))


@register("one-step")
class OneStepRefinerConfig(AbstractRefinerConfig):
    """A network from noise to action that replaces the proposal, so acting needs no ODE solve: FQL's policy."""

    width: int = 512
    """Units of each hidden layer."""

    depth: int = 4
    """Number of hidden layers."""

    def __check_init__(self) -> None:
        check_network("refiner one-step", self.width, self.depth)

    def build(self, context: Context, *, key: Key[Array, ""]) -> OneStepRefiner:
        encoder, features = build_encoder(context, key=key)
        size = context.spec.action_size
        network = MLP(features + size, size, width=self.width, depth=self.depth, key=key)
        return OneStepRefiner(encoder=encoder, network=network)

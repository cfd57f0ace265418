"""The paper's vector field: one multilayer perceptron (arXiv 2601.10471, section 5)."""

import jax.numpy as jnp
from jaxtyping import Array, Key

from ..networks import MLP, build_encoder, check_network
from ..types import Action, Context, Encoder, Features, Observation, Scalar
from .base import AbstractField, AbstractFieldConfig, register


class MLPField(AbstractField):
    """v(o, x, t): the features, the point and the raw time, concatenated into one network."""

    encoder: Encoder
    network: MLP

    def encode(self, observation: Observation) -> Features:
        return self.encoder(observation)

    def __call__(self, features: Features, action: Action, time: Scalar) -> Action:
        return self.network(jnp.concatenate([features, action, time[None]]))


@register("mlp")
class MLPFieldConfig(AbstractFieldConfig):
    """A multilayer perceptron with GELU, without LayerNorm."""

    width: int = 512
    """Units of each hidden layer."""

    depth: int = 4
    """Number of hidden layers."""

    def __check_init__(self) -> None:
        check_network("field mlp", self.width, self.depth)

    def build(self, context: Context, *, key: Key[Array, ""]) -> MLPField:
        encoder, features = build_encoder(context, key=key)
        size = context.spec.action_size
        network = MLP(features + size + 1, size, width=self.width, depth=self.depth, key=key)
        return MLPField(encoder=encoder, network=network)

"""Parts for tests alone: a field that counts how often it is traced, and a critic whose value is known."""

from typing import Any, Self

import jax.numpy as jnp

from deflow import critics, fields
from deflow.networks import MLP

CALLS: dict[str, int] = {"velocity": 0, "encode": 0}


class CountingField(fields.AbstractField):
    """Counts how often it is traced."""

    network: MLP

    def encode(self, observation):
        CALLS["encode"] += 1
        return observation.astype(jnp.float32)

    def __call__(self, features, action, time):
        CALLS["velocity"] += 1
        return self.network(jnp.concatenate([features, action, time[None]]))


class CountingFieldConfig(fields.AbstractFieldConfig):
    def build(self, context, *, key):
        spec = context.spec
        inputs = spec.observation_size + spec.action_size + 1
        return CountingField(MLP(inputs, spec.action_size, width=4, depth=1, key=key))


class Slope(critics.AbstractCritic):
    """A known value that nothing learns: Q(o, a) = 2 + slope * a_1."""

    slope: float = 1.0
    next_actions: int = 0

    def value(self, observation, action) -> Any:
        return 2.0 + self.slope * action[0]

    def score(self, observation, action):
        return self.value(observation, action)

    def loss(self, transition, next_actions, *, key):
        return jnp.zeros(()), {}

    def advance(self) -> Self:
        return self

"""Parts that no registry has yet, one of each capability that the bases promise: none needs a change of the agent."""

from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np

from deflow import constraints, critics, fields, refiners, trust_regions
from deflow.networks import MLP
from deflow.types import Fixed

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


class OneStep(refiners.AbstractDirectRefiner):
    """FQL's: mu(o, z)."""

    network: MLP

    def act(self, observation, noise):
        return self.network(jnp.concatenate([observation, noise]))


class OneStepConfig(refiners.AbstractRefinerConfig):
    def build(self, context, *, key):
        spec = context.spec
        return OneStep(MLP(spec.observation_size + spec.action_size, spec.action_size, width=4, depth=1, key=key))


class ThroughSolver(refiners.AbstractThroughSolverRefiner):
    """FBRAC's: the flow itself climbs."""

    def __call__(self, observation, noise, proposal, inquiry):
        return jnp.zeros_like(proposal)


class ValueGradient(refiners.AbstractRefiner):
    """A step along the gradient of the value, projected: nothing is learned."""

    rate: float = 10.0

    def __call__(self, observation, noise, proposal, inquiry):
        return inquiry.project(self.rate * jax.grad(inquiry.value)(proposal))


class Projection(constraints.AbstractHardConstraint):
    """Every displacement inside."""

    def loss(self, size, bound):
        return jnp.zeros(())

    def multiplier(self):
        return jnp.zeros(())

    def advance(self, size, bound) -> Self:
        return self


class Integral(constraints.AbstractSoftConstraint):
    """A control law: the multiplier follows what the metrics say, not a gradient."""

    state: Fixed

    def loss(self, size, bound):
        return jax.lax.stop_gradient(self.state.value) * size

    def multiplier(self):
        return self.state.value

    def advance(self, size, bound) -> Self:
        return type(self)(Fixed(jnp.maximum(self.state.value + 10.0 * (size - bound), 0.0)))


class IntegralConfig(constraints.AbstractConstraintConfig):
    def build(self, context, *, key):
        return Integral(Fixed(jnp.asarray(1.0, jnp.float32)))


class Prototypes(trust_regions.AbstractTrustRegion):
    """A ball whose unit is the spread of the actions near the nearest of a few states of the data."""

    states: Fixed
    spreads: Fixed
    bound: float

    def spread(self, observation):
        distances = jnp.sum(jnp.square(self.states.value - observation[None]), axis=1)
        return self.spreads.value[jnp.argmin(distances)]

    def size(self, displacement, observation):
        square = jnp.sum(jnp.square(displacement / self.spread(observation)))
        positive = square > 0
        return jnp.where(positive, jnp.sqrt(jnp.where(positive, square, 1.0)), 0.0)

    def project(self, displacement, observation):
        size = self.size(displacement, observation)
        return displacement * jnp.where(size > self.bound, self.bound / jnp.maximum(size, 1e-12), 1.0)


class PrototypesConfig(trust_regions.AbstractTrustRegionConfig):
    bound: float = 0.5
    count: int = 4

    def build(self, context, *, key):
        if context.data is None:
            states, spreads = np.zeros((self.count, *context.spec.observation_shape)), np.ones(self.count)
        else:
            groups = np.array_split(np.arange(len(context.data)), self.count)
            states = np.stack([np.asarray(context.data.observation)[rows].mean(0) for rows in groups])
            spreads = np.stack([np.asarray(context.data.action)[rows].std() for rows in groups])
        return Prototypes(Fixed(jnp.asarray(states, jnp.float32)), Fixed(jnp.asarray(spreads, jnp.float32)), self.bound)


class SetCritic(critics.AbstractCritic):
    """As a flow critic: the target is the mean over eight next actions."""

    network: MLP
    target: Fixed
    discount: float

    @property
    def next_actions(self):
        return 8

    def value(self, observation, action):
        return self.network(jnp.concatenate([observation, action]))[0]

    def score(self, observation, action):
        return self.value(observation, action)

    def loss(self, transition, next_actions, *, key):
        assert next_actions.shape[0] == 8
        following = jax.vmap(
            lambda action: self.target.value(jnp.concatenate([transition.next_observation, action]))[0]
        )(next_actions)
        target = jax.lax.stop_gradient(transition.reward + self.discount * transition.mask * jnp.mean(following))
        error = self.value(transition.observation, transition.action) - target
        return jnp.square(error), {"spread": jnp.std(next_actions)}

    def advance(self) -> Self:
        return self


class SetCriticConfig(critics.AbstractCriticConfig):
    def build(self, context, *, key):
        inputs = context.spec.observation_size + context.spec.action_size
        network = MLP(inputs, 1, width=4, depth=1, key=key)
        return SetCritic(network, Fixed(network), context.discount)


class ExpectileCritic(critics.AbstractCritic):
    """IQL's: a value network stands for the policy's next action."""

    network: MLP
    state_value: MLP
    target: Fixed
    discount: float

    @property
    def next_actions(self):
        return 0

    def value(self, observation, action):
        return self.network(jnp.concatenate([observation, action]))[0]

    def score(self, observation, action):
        return self.value(observation, action)

    def loss(self, transition, next_actions, *, key):
        assert next_actions.shape[0] == 0
        pair = jnp.concatenate([transition.observation, transition.action])
        gap = jax.lax.stop_gradient(self.target.value(pair)[0]) - self.state_value(transition.observation)[0]
        expectile = jnp.where(gap > 0, 0.9, 0.1) * jnp.square(gap)
        following = jax.lax.stop_gradient(self.state_value(transition.next_observation)[0])
        target = transition.reward + self.discount * transition.mask * following
        return expectile + jnp.square(self.network(pair)[0] - target), {}

    def advance(self) -> Self:
        return self


class ExpectileCriticConfig(critics.AbstractCriticConfig):
    def build(self, context, *, key):
        spec, (one, other) = context.spec, jax.random.split(key)
        network = MLP(spec.observation_size + spec.action_size, 1, width=4, depth=1, key=one)
        return ExpectileCritic(
            network, MLP(spec.observation_size, 1, width=4, depth=1, key=other), Fixed(network), context.discount
        )


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

"""A policy as one pure function of arrays: what every exported file holds."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Num

from ..environments import ActionBounds
from ..networks import for_acting
from ..types import Action
from .policy import Policy


class Program(NamedTuple):
    """Everything between raw observations and executable actions, of B at a time."""

    function: Callable[[Num[Array, "batch ..."], Float[Array, "batch candidates noise"]], Float[Array, "batch ..."]]
    """Maps observations (B, *observation) and standard normal noise (B, candidates, noise) to actions (B, A), or
    (B, execute, A), in the user's units."""

    observation: jax.ShapeDtypeStruct
    """Shape and type of one observation."""

    noise: jax.ShapeDtypeStruct
    """Shape and type of the noise of one action."""

    action_shape: tuple[int, ...]
    """Shape of what is returned for one observation."""

    @classmethod
    def of(cls, policy: Policy) -> "Program":
        """A policy's program, with its weights as constants."""
        agent, spec = for_acting(policy.agent), policy.agent.spec

        def function(observations, noises):
            return jax.vmap(lambda one, noise: in_units(agent.act_from(one, noise)))(observations, noises)

        def in_units(action):
            convert = _in_units if action.ndim == 1 else jax.vmap(_in_units, in_axes=(0, None))
            return convert(action, policy.bounds)

        steps = (agent.execute,) if agent.chunk > 1 else ()
        return cls(
            function,
            jax.ShapeDtypeStruct(spec.observation_shape, spec.observation_dtype),
            jax.ShapeDtypeStruct(policy.noise_shape, "float32"),
            (*steps, spec.action_size),
        )

    def inputs(self) -> tuple[jax.ShapeDtypeStruct, jax.ShapeDtypeStruct]:
        """Observations and noises of a number of rows that stays open."""
        (rows,) = jax.export.symbolic_shape("batch")
        observation, noise = (
            jax.ShapeDtypeStruct((rows, *one.shape), one.dtype) for one in (self.observation, self.noise)
        )
        return observation, noise


def _in_units(action: Action, bounds: ActionBounds) -> Action:
    """One action in [-1, 1] -> the user's units, in float32: -1 and 1 give the bounds themselves."""
    action = action.astype(jnp.float32)
    if bounds.is_unit:
        return action
    low, high = np.asarray(bounds.low) / 2, np.asarray(bounds.high) / 2
    middle, half, least, most = (jnp.asarray(x, jnp.float32) for x in (low + high, high - low, *bounds.in_float32))
    scaled = jnp.clip(middle + action * half, least, most)
    return jnp.where(action >= 1, most, jnp.where(action <= -1, least, scaled))

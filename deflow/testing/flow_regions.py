"""The laws of trust regions that ask the flow."""

from typing import Any

import jax
import jax.numpy as jnp

from ..trust_regions import AbstractFlowRegion, FlowInquiry
from ..types import Spec
from .checks import check, check_array, check_batched
from .example import example_data


def check_flow_region(part: AbstractFlowRegion, *, spec: Spec) -> None:
    """size >= 0, finite and with a finite gradient for actions of any length, their noise itself among them, and at any
    time, the same alone and in a batch; it changes with what the flow says."""
    check(part, part.limit > 0, f"the bound must be positive, got {part.limit}")
    observation = jnp.asarray(example_data(spec).observation[0])
    scales = jnp.repeat(10.0 ** jnp.arange(-4.0, 1.5, 0.5), 6)[:, None]
    keys = jax.random.split(jax.random.key(1), 2)
    shape = (len(scales), spec.action_size)
    actions = jax.random.normal(keys[0], shape) * jnp.broadcast_to(scales, shape)
    noises = jax.random.normal(keys[1], shape)
    actions, noises = jnp.concatenate([actions, noises]), jnp.concatenate([noises, noises])
    times = jnp.linspace(0.0, 1.0, len(actions))

    def size(action: Any, noise: Any, time: Any, speed: float = 1.0) -> Any:
        def velocity(point: Any, time: Any) -> Any:
            return speed * jnp.cos(3.0 * time) * jnp.tanh(point)

        return part.size(action, observation, FlowInquiry(noise, velocity, time))

    sizes = jax.jit(jax.vmap(size))(actions, noises, times)
    check_array(part, "size", sizes, (len(actions),))
    check(part, jnp.all(sizes >= 0), "no size may be negative")
    check_batched(part, lambda action: size(action, noises[0], times[0]), actions)
    slopes = jax.jit(jax.vmap(jax.grad(size)))(actions, noises, times)
    check(part, jnp.all(jnp.isfinite(slopes)), "the gradient of the size must be finite everywhere")
    others = jax.jit(jax.vmap(lambda *row: size(*row, speed=2.0)))(actions, noises, times)
    asks = jnp.any(sizes != others)
    check(part, asks, "the size must depend on the flow's velocity; derive from AbstractTrustRegion if it asks nothing")

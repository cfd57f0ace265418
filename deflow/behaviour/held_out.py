"""The flow-matching loss on transitions that are not trained on: how good a behaviour is."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key

from ..agent import Agent
from ..data.chunks import chunked
from ..types import Batch

ROWS = 4096
"""Transitions that are looked at: the same ones, with the same noises and times, whenever it is asked."""

BYTES = 1 << 24
"""Bytes that their observations take at most: of images, there are fewer."""


class HeldOutLoss:
    """Mean over held-out transitions of |v(o, x_t, t) - (x_1 - x_0)|^2 per action dimension
    (arXiv 2601.10471, section 4), as a function of the agent.

    Two values differ by what the field learned in between and not by what was drawn.
    """

    def __init__(self, validation: Batch, *, chunk: int = 1):
        """`chunk` is the agents' own."""
        data = chunked(validation, chunk, discount=1.0)  # rewards do not count
        size = data.observation.dtype.itemsize * math.prod(data.observation.shape[1:])
        rows = np.random.default_rng(0).permutation(len(data))[: min(ROWS, max(1, BYTES // size))]
        self._batch = data[np.sort(rows)].stacked().on_device()

    def __call__(self, agent: Agent) -> float:
        """The loss of an agent of one seed."""
        return float(_loss(agent, self._batch, jax.random.key(0)))


@eqx.filter_jit
def _loss(agent: Agent, batch: Batch, key: Key[Array, ""]) -> Array:
    return jnp.asarray(agent.flow_loss(batch, key=key))

"""A small example problem: sizes, random transitions, and the context from which a part is built."""

import numpy as np

from ..encoders import Identity
from ..solvers import Euler
from ..types import Batch, Context, Spec

SPEC = Spec(observation_shape=(3,), action_size=2)
"""The default sizes at which parts are tested."""

IMAGES = Spec(observation_shape=(16, 16, 3), action_size=2, observation_dtype="uint8")
"""Those at which parts for images are tested."""


def example_data(spec: Spec = SPEC, size: int = 16) -> Batch:
    """Random transitions (NumPy arrays), a fifth of them terminations."""
    random = np.random.default_rng(0)

    def uniform(*shape: int) -> np.ndarray:
        return random.uniform(-1, 1, (size, *shape)).astype(np.float32)

    def observations() -> np.ndarray:
        if np.dtype(spec.observation_dtype).kind in "iu":
            return random.integers(0, 255, (size, *spec.observation_shape)).astype(spec.observation_dtype)
        return 2 * uniform(*spec.observation_shape).astype(spec.observation_dtype)

    mask = (np.arange(size) % 5 > 0).astype(np.float32)
    return Batch(observations(), uniform(spec.action_size), uniform(), mask, observations())


def example_context(spec: Spec = SPEC, *, data: Batch | None = None) -> Context:
    """The context for building parts: no encoder, two steps of Euler."""
    return Context(spec=spec, data=data, encoder=Identity(), solver=Euler(steps=2), discount=0.9)

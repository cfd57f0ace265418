"""Reproducible episodes: every generator that an environment uses is seeded before its reset."""

import contextlib
import random
from collections.abc import Iterator

import gymnasium
import numpy as np
from gymnasium.utils import seeding


def seeded_reset(environment: gymnasium.Env, global_seed: int, own_seed: int) -> np.ndarray:
    """The first observation of the episode with these seeds: one for the global generators, one for the environment."""
    np.random.seed(global_seed)
    random.seed(global_seed)
    environment.action_space.seed(own_seed)
    with nothing_from_the_system(own_seed):
        return environment.reset(seed=own_seed)[0]


@contextlib.contextmanager
def nothing_from_the_system(seed: int) -> Iterator[None]:
    """A context in which generators that Gymnasium would seed from the system's entropy are seeded from `seed`.

    OGBench's manipulation environments sample from a new, unseeded `action_space` at a reset, and MuJoCo's solver
    starts from that sample. This causes differences of 1e-13, which contacts amplify.
    """
    original, source = seeding.np_random, np.random.default_rng(seed)

    def seeded(seed: int | None = None) -> tuple[np.random.Generator, int]:
        return original(int(source.integers(2**31)) if seed is None else seed)

    seeding.np_random = seeded
    try:
        yield
    finally:
        seeding.np_random = original

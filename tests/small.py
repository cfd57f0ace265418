"""Members and data at test sizes."""

import dataclasses

import numpy as np

from deflow import Spec
from deflow.agent import KINDS

SPEC = Spec(observation_shape=(3,), action_size=2)


def small(part, **sizes):
    """The part with networks of two layers of 8 units, and with other values it has fields for."""
    sizes = {"width": 8, "depth": 2, **sizes}
    names = {field.name for field in dataclasses.fields(part)}
    return dataclasses.replace(part, **{name: size for name, size in sizes.items() if name in names})


def members(kind):
    """(name, small default member) of a kind: one that is registered later is tested, too."""
    return [(name, small(cls())) for name, cls in KINDS[kind].items()]


def cases(kind):
    """`members` as parameters of a test, named after them."""
    return {"argvalues": [part for _, part in members(kind)], "ids": [name for name, _ in members(kind)]}


def walks(path):
    """A file of ten trajectories of 40 transitions of noise, which belong to no environment."""
    np.savez(
        path,
        observations=np.random.default_rng(0).normal(size=(400, 3)).astype(np.float32),
        actions=np.random.default_rng(1).uniform(-1, 1, (400, 2)).astype(np.float32),
        rewards=np.zeros(400, np.float32),
        terminals=np.arange(1, 401) % 40 == 0,
    )
    return path

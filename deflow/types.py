"""Shapes once: what an observation, an action, a batch and a problem are."""

import abc
import dataclasses
import math
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, Num

Observation = Num[Array | np.ndarray, " *observation"]
"""One observation, as the environment gives it: a state of shape (O,), or pixels (height, width, channels)."""

Features = Float[Array, " features"]
"""One observation behind its encoder."""

Action = Float[Array, " action"]
"""One action of shape (A,), every coordinate in [-1, 1]. Velocities, noises and displacements have its shape."""

Scalar = Float[Array, ""]
"""One number: a value, a loss, a time, a size."""

Encoder = Callable[[Observation], Features]
"""One observation to its features."""

Velocity = Callable[[Scalar, Action], Action]
"""Time in [0, 1] and a point of the path to the velocity there."""


@dataclasses.dataclass(frozen=True)
class Spec:
    """The sizes of a problem: what a part needs to know to be built."""

    observation_shape: tuple[int, ...]
    """Shape of one observation."""

    action_size: int
    """Number of action coordinates A."""

    observation_dtype: str = "float32"
    """Type of an observation's entries as they are stored; networks see float32."""

    horizon: int = 1000
    """Steps after which the environment cuts an episode off."""

    def __post_init__(self) -> None:
        if any(size < 1 for size in self.observation_shape):
            raise ValueError(f"Spec.observation_shape must have positive sizes, got {self.observation_shape}.")
        if self.action_size < 1:
            raise ValueError(f"Spec.action_size must be at least 1, got {self.action_size}.")
        if self.horizon < 1:
            raise ValueError(f"Spec.horizon must be at least 1 step, got {self.horizon}.")

    @property
    def observation_size(self) -> int:
        """Number of entries of one observation O."""
        return math.prod(self.observation_shape)


class Batch(eqx.Module):
    """Transitions. A dataset is a batch of all N of them (NumPy arrays); inside `jax.vmap` it is a single one.

    Shapes below are for B transitions. `mask` is 0 where the task was solved and nothing follows, and is the only
    thing that stops bootstrapping; where a trajectory is merely cut off it stays 1.
    """

    observation: Num[Array | np.ndarray, "..."]
    """Observations s, shape (B, *observation)."""

    action: Float[Array | np.ndarray, "*batch action"]
    """Actions a in [-1, 1], shape (B, A)."""

    reward: Float[Array | np.ndarray, "*batch"]
    """Rewards r, shape (B,)."""

    mask: Float[Array | np.ndarray, "*batch"]
    """1 where the next state's value counts, 0 where the task was solved, shape (B,)."""

    next_observation: Num[Array | np.ndarray, "..."]
    """Observations s' that followed, shape (B, *observation)."""

    extras: dict[str, Array | np.ndarray] = eqx.field(default_factory=dict)
    """Further columns, first axis B, which no loss reads: `trajectory_end` is 1 at a trajectory's last transition."""

    def __len__(self) -> int:
        return len(self.reward)

    def on_device(self) -> "Batch":
        """The columns that losses read, on JAX's default device."""
        read = (self.observation, self.action, self.reward, self.mask, self.next_observation)
        observation, action, reward, mask, following = map(jnp.asarray, read)
        return Batch(observation, action, reward, mask, following)

    def __getitem__(self, rows: Any) -> "Batch":
        """The given rows of every column."""
        return jax.tree.map(lambda column: column[rows], self)


@dataclasses.dataclass(frozen=True)
class Context:
    """What a part may look at when it is built, beside its own configuration."""

    spec: Spec
    """The sizes of the problem."""

    data: Batch | None
    """The dataset (NumPy arrays), or None where a checkpoint is about to fill the arrays in: then only shapes count."""

    encoder: Any
    """The encoder's configuration. Every network that reads observations builds an encoder of its own."""

    solver: Any
    """The ODE solver, for parts other than the agent that integrate something."""

    discount: float
    """Discount factor."""


class AbstractConfig(eqx.Module):
    """The frozen configuration of a part that has arrays. Parts without arrays need none: they are their own."""

    @abc.abstractmethod
    def build(self, context: Context, *, key: Key[Array, ""]) -> Any:
        """The part, with fresh arrays drawn from `key`."""


class Fixed(eqx.Module):
    """Arrays that no optimizer touches: target networks, statistics, supports, prototypes."""

    value: Any


def build(choice: Any, context: Context, *, key: Key[Array, ""]) -> Any:
    """The part that a choice stands for: built from its configuration, or the choice itself."""
    return choice.build(context, key=key) if isinstance(choice, AbstractConfig) else choice


def trainable(tree: Any) -> Any:
    """A filter (the same tree with booleans for leaves): floating-point arrays outside every `Fixed`."""
    return jax.tree.map(
        lambda node: jax.tree.map(lambda _: False, node) if isinstance(node, Fixed) else eqx.is_inexact_array(node),
        tree,
        is_leaf=lambda node: isinstance(node, Fixed),
    )

"""Types and shapes that everything shares: an observation, an action, a batch, the sizes of a problem."""

import abc
import dataclasses
import functools
import math
import types
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Union, get_args, get_origin

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Float, Int, Key, Num

from .frames import Frames, to_device

Observation = Num[Array | np.ndarray, " *observation"]
"""One observation, as the environment gives it: a state of shape (O,), or pixels (height, width, channels)."""

if TYPE_CHECKING:  # frames are indexed and measured as arrays are
    Observations = Num[Array | np.ndarray, "..."]
else:
    Observations = Num[Array | np.ndarray, "..."] | Frames
"""Observations of shape (B, *observation), in an array or as frames of which each is stored once."""

Features = Float[Array, " features"]
"""One observation after its encoder."""

Action = Float[Array, " action"]
"""One action of shape (A,), every coordinate in [-1, 1]. Velocities, noises and displacements have its shape."""

Scalar = Float[Array, ""]
"""One number: a value, a loss, a time, a size."""

Encoder = Callable[[Observation], Features]
"""Maps one observation to its features."""

Velocity = Callable[[Scalar, Action], Action]
"""Maps a time in [0, 1] and a point of the path to the velocity there."""


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
    """Steps after which the environment truncates an episode."""

    frame_stack: int = 1
    """Images that an observation is made of: those of the last steps, the oldest first among its channels."""

    def __post_init__(self) -> None:
        if any(size < 1 for size in self.observation_shape):
            raise ValueError(f"Spec.observation_shape must have positive sizes, got {self.observation_shape}.")
        if self.action_size < 1:
            raise ValueError(f"Spec.action_size must be at least 1, got {self.action_size}.")
        if self.horizon < 1:
            raise ValueError(f"Spec.horizon must be at least 1 step, got {self.horizon}.")
        if self.frame_stack < 1 or (self.frame_stack > 1 and self.observation_shape[-1] % self.frame_stack):
            raise ValueError(
                f"Spec.frame_stack must be at least 1 and divide the channels of observation_shape, got "
                f"{self.frame_stack} and {self.observation_shape}."
            )

    @property
    def observation_size(self) -> int:
        """Number of entries of one observation O."""
        return math.prod(self.observation_shape)

    @property
    def frame_shape(self) -> tuple[int, ...]:
        """Shape of what is observed at a single step, as data sets have it."""
        if self.frame_stack == 1:
            return self.observation_shape
        *rest, channels = self.observation_shape
        return (*rest, channels // self.frame_stack)


class Batch(eqx.Module):
    """Transitions. A dataset is a batch of all N of them (NumPy arrays); inside `jax.vmap` it is a single one.

    Shapes below are for B transitions. `mask` is 0 at terminations and is the only thing that stops bootstrapping; at
    truncations it is 1. In OGBench's data a termination is a solved task.
    """

    observation: Observations
    """Observations s, shape (B, *observation)."""

    action: Float[Array | np.ndarray, "*batch action"]
    """Actions a in [-1, 1], shape (B, A)."""

    reward: Float[Array | np.ndarray, "*batch"]
    """Rewards r, shape (B,)."""

    mask: Float[Array | np.ndarray, "*batch"]
    """0 at terminations, where no state follows; 1 elsewhere, where the next state's value counts; shape (B,)."""

    next_observation: Observations
    """Observations s' that followed, shape (B, *observation)."""

    extras: dict[str, Array | np.ndarray] = eqx.field(default_factory=dict)
    """Further columns (first axis B) that no loss reads. `trajectory_end` is 1 at a trajectory's last transition."""

    proposals: "BatchProposals | None" = None
    """Proposals of a frozen flow for s and s', where training does not solve for them."""

    def __len__(self) -> int:
        return len(self.reward)

    @property
    def columns(self) -> "Batch":
        """The columns that losses read, where they are."""
        return Batch(self.observation, self.action, self.reward, self.mask, self.next_observation)

    def on_device(self) -> "Batch":
        """The columns that losses read, on JAX's default device."""
        return to_device(self.columns)

    def __getitem__(self, rows: Any) -> "Batch":
        """The given rows of every column. Of frames, no stack is made: see `stacked`."""
        return jax.tree.map(lambda column: column[rows], self, is_leaf=lambda column: isinstance(column, Frames))

    def stacked(self) -> "Batch":
        """The same with the stacks of what are `Frames`, as losses expect it."""
        if not isinstance(self.observation, Frames) or not isinstance(self.next_observation, Frames):
            return self
        return dataclasses.replace(
            self, observation=self.observation.stacked(), next_observation=self.next_observation.stacked()
        )


class BatchProposals(eqx.Module):
    """Where a batch's B transitions find the K proposals of s and of s', drawn beforehand.

    Drawn on the host for several updates, all arrays have further first axes, as a batch's columns do.
    """

    actions: Float[Array | np.ndarray, "*batches places proposals action"]
    """A table of proposals: of all states of the dataset, or of those that the batch needs."""

    key: Key[Array, "*batches"]
    """The key of the noises, see `proposal_noise`."""

    place: Int[Array | np.ndarray, "*batches batch"]
    """Place of s in the table."""

    number: Int[Array | np.ndarray, "*batches batch"]
    """Number of s among the dataset's states."""

    next_place: Int[Array | np.ndarray, "*batches batch"]
    """Place of s' in the table."""

    next_number: Int[Array | np.ndarray, "*batches batch"]
    """Number of s' among the dataset's states."""


def proposal_noise(key: Key[Array, ""], number: Any, which: Any, size: int) -> Action:
    """The noise, of shape (size,), that the flow carries to proposal `which` of the state `number`."""
    return jax.random.normal(jax.random.fold_in(jax.random.fold_in(key, number), which), (size,))


@dataclasses.dataclass(frozen=True)
class Context:
    """What a part can use when it is built, besides its own configuration."""

    spec: Spec
    """The sizes of the problem."""

    data: Batch | None
    """The dataset (NumPy arrays), or None. `dataset` refuses None; for a checkpoint, the data is a placeholder."""

    encoder: Any
    """The encoder's configuration. Each part that reads observations builds its own (`deflow.networks.build_encoder`);
    networks of one part share it."""

    solver: Any
    """The ODE solver, for parts that integrate something themselves."""

    discount: float
    """Discount factor."""

    def dataset(self, part: str) -> Batch:
        """The dataset, for a part that fits statistics to it.

        Raises:
            ValueError: Where there is none.
        """
        if self.data is None:
            raise ValueError(
                f"The {part} is fitted to the data, and got none: give the transitions, as in "
                "deflow.Learner.create(config, task.spec, task.train, key=key)."
            )
        return self.data


class AbstractPart(eqx.Module):
    """What parts and their configurations have in common: the numbers in their fields are of the annotated types."""

    task_settings: ClassVar[Mapping[str, str]] = {}
    """Field -> the setting of a task (a field of `deflow.TaskSettings`) that it takes unless it is given."""

    def __init_subclass__(cls, **keywords: Any) -> None:
        """Types are checked before a class's own `__check_init__` compares the numbers."""
        super().__init_subclass__(**keywords)
        if (own := vars(cls).get("__check_init__")) is not None:

            @functools.wraps(own)
            def check(self: AbstractPart) -> None:
                _check_numbers(self)
                own(self)

            cls.__check_init__ = check

    def __check_init__(self) -> None:
        _check_numbers(self)


class AbstractConfig(AbstractPart):
    """The frozen configuration of a part with arrays. Parts without arrays are their own configuration."""

    @abc.abstractmethod
    def build(self, context: Context, *, key: Key[Array, ""]) -> Any:
        """The part, with new arrays drawn from `key`."""


class Fixed(eqx.Module):
    """Arrays that the optimizer does not train: target networks, statistics, supports, prototypes."""

    value: Any


def _check_numbers(part: AbstractPart) -> None:
    for field in dataclasses.fields(part):
        check_number(type(part).__name__, field.name, getattr(part, field.name), field.type)
        as_python_number(part, field.name)


def as_python_number(owner: Any, name: str) -> None:
    """Replaces a NumPy number in a frozen object's field by Python's: JAX takes it for an array to be trained."""
    if isinstance(value := getattr(owner, name), np.generic):
        object.__setattr__(owner, name, value.item())


def check_number(owner: str, name: str, value: Any, annotation: Any) -> None:
    """Refuses a value of another type than a plain annotation (bool, int, float, Literal, or a union of these) says.

    Raises:
        ValueError: Names the owner, the field and what was got.
    """
    choices = get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)
    literals = tuple(entry for choice in choices if get_origin(choice) is Literal for entry in get_args(choice))
    plain = [choice for choice in choices if choice in (bool, int, float, type(None))]
    if len(plain) + any(get_origin(choice) is Literal for choice in choices) < len(choices):
        return  # arrays, parts, tuples: checked by those who use them
    fits = {
        bool: isinstance(value, bool | np.bool_),
        int: isinstance(value, int | np.integer) and not isinstance(value, bool),
        float: isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool),
        type(None): value is None,
    }
    if any(fits[choice] for choice in plain) or (isinstance(value, str) and value in literals):
        return
    words = {bool: "True or False", int: "a whole number", float: "a number"}
    wanted = [words[choice] for choice in plain if choice in words] + [repr(entry) for entry in literals]
    raise ValueError(f"{owner}: {name} must be {' or '.join(wanted)}, got {value!r}.")


def placeholder_data(spec: Spec, *, rows: int = 2) -> Batch:
    """A trajectory of zeros, to build an agent whose arrays are about to be filled from a checkpoint."""
    observation, row = np.zeros((rows, *spec.observation_shape), spec.observation_dtype), np.zeros(rows, np.float32)
    action = np.zeros((rows, spec.action_size), np.float32)
    return Batch(observation, action, row, row, observation, {"trajectory_end": row})


def build(choice: Any, context: Context, *, key: Key[Array, ""]) -> Any:
    """The part that was chosen: built from its configuration, or the choice itself."""
    return choice.build(context, key=key) if isinstance(choice, AbstractConfig) else choice


def trainable(tree: Any) -> Any:
    """A filter (the same tree with booleans for leaves): floating-point arrays outside every `Fixed`."""
    return jax.tree.map(
        lambda node: jax.tree.map(lambda _: False, node) if isinstance(node, Fixed) else eqx.is_inexact_array(node),
        tree,
        is_leaf=lambda node: isinstance(node, Fixed),
    )

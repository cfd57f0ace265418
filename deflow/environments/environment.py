"""Environments: a picklable recipe, checked spaces, and actions in [-1, 1] whatever the environment's own units."""

import dataclasses
import functools
import json
import pickle
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, SupportsFloat

import gymnasium
import numpy as np

from ..errors import DataError, SpaceError, first_line
from .bounds import ActionBounds, from_unit
from .dictionaries import is_nested, joined, joined_space
from .frame_stack import FrameStack, check_count, check_images, stacked_shape
from .graphics import VARIABLE
from .reference_scores import ReferenceScores
from .spaces import check_actions, check_observations
from .task_names import TaskName, is_visual, parse_task_name
from .third_party_warnings import quiet_imports, quiet_spaces
from .user_files import import_same_files, imported_files
from .visual import image_space, without_picture_effects

if TYPE_CHECKING:  # a process that only steps an environment needs no JAX
    from ..types import Spec

DEFAULT_HORIZON = 1000
"""Steps after which episodes are cut off in an environment that has no time limit of its own."""

VISUAL_FRAMES = 3
"""Images in an observation of OGBench's visual tasks, as in the published runs."""

SuccessTiming = Literal["pre", "post"]
"""Whether OGBench judges success on the state before a step or after it."""


@dataclasses.dataclass(frozen=True)
class Environment:
    """How to make an environment, which is sent to worker processes instead of the environment itself."""

    name: str
    """An OGBench single-task dataset name such as `cube-single-play-singletask-task2-v0`, or any Gymnasium id."""

    success_timing: SuccessTiming = "pre"
    """Whether OGBench judges success by the state before the step (`pre`, its default since 1.2.0) or after it (`post`,
    as in the published numbers). Other environments have no such setting."""

    arguments: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Keyword arguments of `gymnasium.make` that JSON can express, such as a maze's map or `max_episode_steps`."""

    keys: tuple[str, ...] = ()
    """Entries of dictionary observations, joined in this order; needed where observations are no single array."""

    frame_stack: int | None = None
    """Images of the last steps that an observation is made of (default: 3 for OGBench's visual tasks, else 1)."""

    picture_effects: bool = True
    """Whether the images that OGBench's visual tasks give have shadows and smooth edges, as its own data has. Software
    draws them several times as fast without."""

    reference: ReferenceScores | None = None
    """Between which returns its normalized score lies, if that is known."""

    named_by: str = ""
    """The data set that names this environment; empty if the user does."""

    def __post_init__(self) -> None:
        if self.success_timing not in ("pre", "post"):
            raise DataError(f"success_timing must be 'pre' or 'post', got {self.success_timing!r}.")
        try:  # what JSON gives back is equal
            object.__setattr__(self, "arguments", json.loads(json.dumps(dict(self.arguments))))
        except (TypeError, ValueError) as error:
            raise DataError(f"The arguments of {self.name} must be what JSON can express, got: {error}.") from error
        object.__setattr__(self, "keys", tuple(self.keys))
        if self.frame_stack is None:
            object.__setattr__(self, "frame_stack", VISUAL_FRAMES if self.is_visual else 1)
        check_count(self.frame_stack)
        if isinstance(self.reference, Mapping):
            object.__setattr__(self, "reference", ReferenceScores(**self.reference))

    def __hash__(self) -> int:
        arguments = json.dumps(self.arguments)
        seen = self.keys, self.frame_stack, self.picture_effects
        return hash((self.name, self.success_timing, arguments, seen, self.reference))

    def __reduce__(self) -> tuple[Any, ...]:
        """As other processes get it: with the files that were imported here, and what Gymnasium knows of the name."""
        fields = tuple(getattr(self, field.name) for field in dataclasses.fields(self))
        if self.task is not None:
            return Environment, fields
        registered = gymnasium.registry.get(_registered_id(self.name))
        # As bytes, since it may name classes of the files.
        return _restored, (fields, imported_files(), pickle.dumps(registered))

    @property
    def task(self) -> TaskName | None:
        """The parts of the name if it is one of OGBench's.

        Raises:
            UnknownTaskError: If nothing has this name.
        """
        return parse_task_name(self.name)

    def make(self) -> "Adapter":
        """The environment, which takes actions in [-1, 1] and gives observations of the type in `spec`.

        Raises:
            UnknownTaskError: If nothing has this name.
            SpaceError: If the actions are not continuous, or the observations neither a single array nor joined to one.
        """
        assert self.frame_stack is not None  # since it was made
        return Adapter(self._make(), self.keys, self.frame_stack)

    def spec(self) -> "Spec":
        """The sizes of the problem. Makes the environment once per process to find out."""
        return _spec(self)

    def bounds(self) -> ActionBounds:
        """The environment's own action bounds. Makes the environment to find out."""
        made = self.make()
        try:
            return made.bounds
        finally:
            made.close()

    @property
    def is_visual(self) -> bool:
        """Whether it is one of OGBench's tasks whose observations are images."""
        return is_visual(self.name)

    @property
    def of_states(self) -> "Environment":
        """The same task where its observations are states: itself, unless it is one of OGBench's visual tasks."""
        if not self.is_visual:
            return self
        return dataclasses.replace(self, name=self.name.removeprefix("visual-"), frame_stack=None)

    @property
    def limited(self) -> bool:
        """Whether the environment has a time limit of its own; else episodes are cut off after `DEFAULT_HORIZON`."""
        registered = gymnasium.spec(_registered_id(self.name)) if self.task is None else None
        return registered is None or self.arguments.get("max_episode_steps", registered.max_episode_steps) is not None

    @property
    def in_words(self) -> str:
        """The name, and the arguments; of long ones the name alone."""
        said = [f"{name} {value}" if len(str(value)) < 20 else name for name, value in self.arguments.items()]
        return f"{self.name} with {', '.join(said)}" if said else self.name

    def _make(self) -> gymnasium.Env:
        task, arguments = self.task, {"disable_env_checker": True, **self.arguments}
        with quiet_imports(), quiet_spaces():
            try:
                if task is not None:
                    made = gymnasium.make(task.environment_id, success_timing=self.success_timing, **arguments)
                    if self.is_visual and not self.picture_effects:
                        without_picture_effects(made)
                    return made
                made = gymnasium.make(self.name, **arguments)
                if made.spec is None or made.spec.max_episode_steps is None:  # else an episode might never end
                    made = gymnasium.wrappers.TimeLimit(made, DEFAULT_HORIZON)
                return made
            except (gymnasium.error.Error, ImportError, OSError) as error:
                raise DataError(f"The environment {self.name!r} cannot be made: {first_line(error)}") from error
            except Exception as error:  # from the environment itself
                if VARIABLE in str(error):
                    raise DataError(f"{self.name} cannot be made: {first_line(error)}; unset it.") from error
                if not self.arguments:
                    raise
                why = first_line(error).partition(" was raised from the environment creator")[0]
                raise DataError(
                    f"{self.in_words} cannot be made ({why}): give arguments that it takes, or install the version of "
                    "its package that takes these."
                ) from error


def _restored(fields: tuple[Any, ...], files: tuple[tuple[str, str], ...], registration: bytes) -> Environment:
    """An `Environment` that another process sent: what it was registered with there is registered here."""
    import_same_files(files)
    registered = pickle.loads(registration)
    if registered is not None and registered.id not in gymnasium.registry:
        gymnasium.registry[registered.id] = registered
    return Environment(*fields)


def _registered_id(name: str) -> str:
    """The id behind `module:`, which Gymnasium imports first."""
    return name.rpartition(":")[2]


@functools.cache
def _spec(environment: Environment) -> "Spec":
    made = environment.make()
    try:
        return spec_of(made)
    finally:
        made.close()


class Adapter(gymnasium.Wrapper):
    """Takes actions of shape (A,) in [-1, 1] and gives observations as float32 (uint8 for environments with bytes).

    Of dictionary observations, the entries with the given keys are joined. An observation of several images is made of
    those of the last steps.
    """

    observation_space: gymnasium.spaces.Box
    action_space: gymnasium.spaces.Box

    def __init__(self, env: gymnasium.Env, keys: tuple[str, ...] = (), frame_stack: int = 1):
        super().__init__(env)
        name = env.spec.id if env.spec is not None else type(env.unwrapped).__name__
        with quiet_spaces():
            space = image_space(env) or env.observation_space
            self._keys = keys if is_nested(space) else ()
            given = joined_space(name, space, keys) if self._keys else space
            observations = check_observations(name, given)
            actions = check_actions(name, env.action_space)
        check_images(name, observations.shape, observations.dtype, frame_stack)
        self.frame_stack = frame_stack
        self._stack = FrameStack(frame_stack) if frame_stack > 1 else None
        self._low, self._high = actions.low, actions.high
        self._rescales = bool(np.any(self._low != -1) or np.any(self._high != 1))
        dtype = np.uint8 if observations.dtype == np.uint8 else np.float32
        low, high = (0, 255) if dtype == np.uint8 else (-np.inf, np.inf)
        shape = stacked_shape(observations.shape, frame_stack)
        self.observation_space = gymnasium.spaces.Box(low, high, shape, dtype)  # pyright: ignore[reportIncompatibleMethodOverride]
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, actions.shape, np.float32)  # pyright: ignore[reportIncompatibleMethodOverride]

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start an episode. The observation has the spec's type."""
        with quiet_spaces():
            observation, info = self.env.reset(seed=seed, options=options)
        frame = self._single(observation)
        return self._stack.first(frame) if self._stack else frame, info

    def step(self, action: np.ndarray) -> tuple[np.ndarray, SupportsFloat, bool, bool, dict[str, Any]]:
        """One step with an action in [-1, 1]. Values outside are clipped."""
        action = np.clip(action, -1.0, 1.0)
        if self._rescales:
            action = from_unit(action, self._low, self._high)
        observation, reward, terminated, truncated, info = self.env.step(action)
        frame = self._single(observation)
        return self._stack.next(frame) if self._stack else frame, reward, terminated, truncated, info

    def _single(self, observation: Any) -> np.ndarray:
        if self._keys:
            observation = joined(observation, self._keys, self.observation_space.shape)
        return np.array(observation, self.observation_space.dtype)  # the environment may write into its own again

    @property
    def bounds(self) -> ActionBounds:
        """The environment's own action bounds."""
        return ActionBounds.of(self._low, self._high, len(self._low), "environment")


def spec_of(made: Adapter) -> "Spec":
    """The sizes of an environment.

    Raises:
        SpaceError: If its first observation does not have the shape that its space says.
    """
    from ..types import Spec

    if made.spec is not None and not str(made.spec.entry_point).startswith("ogbench"):
        got, said = made.reset(seed=0)[0].shape, made.observation_space.shape
        if got != said:
            raise SpaceError(
                f"{made.spec.id} gave an observation of shape {got}, but its observation_space says {said}: make them "
                "agree."
            )
    horizon = made.spec.max_episode_steps if made.spec is not None else None
    return Spec(
        observation_shape=tuple(made.observation_space.shape),
        action_size=made.action_space.shape[0],
        observation_dtype=str(made.observation_space.dtype),
        horizon=horizon or DEFAULT_HORIZON,
        frame_stack=made.frame_stack,
    )

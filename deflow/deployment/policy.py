"""A trained policy as its user holds it: the environment's own units, NumPy in and NumPy out."""

import dataclasses
import functools
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, final

import numpy as np
from jaxtyping import Array, Float, Key

from ..agent import Agent
from ..agent.acting import act, act_from, checked
from ..agent.summary import number_of_parameters
from ..data import Task
from ..environments import ActionBounds
from ..environments.dictionaries import joined
from ..types import check_number

MOST_NAMED = 12
"""Most coordinates whose names are printed."""


@dataclasses.dataclass(frozen=True)
class Origin:
    """Where a policy came from."""

    task: str = "no task"
    """Name of the environment or task."""

    algorithm: str = "custom"
    """Name of the algorithm."""

    step: int | None = None
    """The step of its checkpoint; None if it was not loaded from one."""

    run: str | None = None
    """Its run's directory."""

    def __str__(self) -> str:
        where = "" if self.step is None else f", step {self.step:,}"
        folder = "" if self.run is None else f", from {self.run}"
        return f"{self.algorithm} on {self.task}{where}{folder}"


@final
class Policy:
    """A trained agent that takes the user's observations and gives the user's actions.

    `deflow.load(run)` gives one, and `Policy.of(learner.agent, task)` makes one. Everything between is inside: joining
    the entries of a dictionary, standardisation, the flow's solve, refinement, the best of several candidates, clipping
    and the action's units. The agent itself, `policy.agent`, acts in [-1, 1].
    """

    def __init__(
        self,
        agent: Agent,
        bounds: ActionBounds | None = None,
        *,
        keys: Sequence[str] | None = None,
        names: Mapping[str, Sequence[str]] | None = None,
        origin: Origin | None = None,
        seed: int = 0,
    ):
        """Of an agent of one seed.

        Args:
            agent: The agent.
            bounds: The lowest and highest action in the user's units; [-1, 1] if not given.
            keys: Of dictionary observations, the entries that are joined, in this order; if not given, the columns that
                the names speak of.
            names: The names of the coordinates of `observations` and `actions`, where they are known.
            origin: Where it came from.
            seed: Of its own noise: see `reset`. Every policy starts with the same, unless another is given.

        Raises:
            DataError: If the bounds are of another number of coordinates.
        """
        self.agent = agent
        """The agent, which acts in [-1, 1] and can be evaluated and estimated."""
        size = agent.spec.action_size
        self.bounds = ActionBounds.of(-1, 1, size, "given") if bounds is None else bounds.check_size(size)
        """The lowest and highest action, in the user's units."""
        self.names = {name: tuple(each) for name, each in (names or {}).items()}
        """The names of the coordinates of `observations` and `actions`, where the data has them."""
        self.keys = _columns(self.names) if keys is None else tuple(keys)
        """The entries of dictionary observations that are joined."""
        self.origin = origin or Origin()
        """Where it came from."""
        self.noise_shape = (agent.candidates, agent.action_size)
        """Shape of the noise of one action."""
        self.reset(seed)

    @classmethod
    def of(cls, agent: Agent, task: Task, *, seed: int = 0) -> "Policy":
        """That of an agent which was trained on a task, in the task's units."""
        keys = None if task.environment is None else task.environment.keys
        origin = Origin(task.name, "an agent")
        return cls(agent, task.bounds, keys=keys, names=task.provenance.names, origin=origin, seed=seed)

    def act(
        self,
        observation: Any,
        *,
        key: Key[Array, ""] | None = None,
        noise: Float[np.ndarray, "*batch candidates noise"] | None = None,
        deterministic: bool = False,
    ) -> Float[np.ndarray, "*batch action"]:
        """The action for one observation, or one for each of a batch. The first call of each kind compiles it.

        Args:
            observation: One observation of shape (*observation), or a batch (B, *observation), as the environment gives
                them; or a dictionary of arrays with the policy's `keys`.
            key: A key made by `jax.random.key`, from which the noise is drawn; of a batch, one is split from it for
                each observation.
            noise: The noise itself, standard normal numbers of shape `noise_shape`, or (B, *noise_shape).
            deterministic: Whether the noise is 0, so that equal observations get equal actions (to rounding, where the
                batches differ in size). The documentation says
                what it costs. With neither of the three, noise is drawn from the policy's own stream: see `reset`.

        Returns:
            float32 of shape (A,), or (B, A), in the user's units and never outside of `bounds`. Of a policy with
            chunks, the actions of the next `execute` steps: (execute, A), or (B, execute, A).

        Raises:
            TypeError: If the key is not a typed random key.
            ValueError: If the observation or the noise has another shape or type or is not finite, if the action is
                not, or if more than one of `key`, `noise` and `deterministic` is given.
        """
        with np.errstate(over="ignore"):  # what float32 cannot hold is refused below
            observation = checked(self.agent, self._joined(observation))
        if not np.all(np.isfinite(observation)):
            raise ValueError(
                f"The observation has numbers that are not finite in float32: {_first_places(observation)}."
            )
        check_number("act", "deterministic", deterministic, bool)
        if (key is not None) + (noise is not None) + deterministic > 1:
            raise ValueError("A key, the noise itself, or deterministic=True: give one of them.")
        if key is not None:
            return self._in_units(act(self.agent, observation, key))
        shape = (*observation.shape[: observation.ndim - len(self.agent.spec.observation_shape)], *self.noise_shape)
        if noise is not None:
            noise = np.asarray(noise)
            with np.errstate(over="ignore"):
                single = noise.astype(np.float32) if noise.dtype.kind in "fiub" else None
            if noise.shape != shape or single is None or not np.all(np.isfinite(single)):
                raise ValueError(
                    f"The noise for this observation must be finite numbers of shape {shape}, got the shape "
                    f"{noise.shape} and the type {noise.dtype}."
                )
            noise = single
        elif deterministic:
            noise = np.zeros(shape, np.float32)
        else:
            noise = self._random.standard_normal(shape, np.float32)
        return self._in_units(act_from(self.agent, observation, noise))

    def _in_units(self, action: Any) -> Float[np.ndarray, "*batch action"]:
        """The agent's action in the user's units."""
        action = np.asarray(action)
        if not np.all(np.isfinite(action)):
            raise ValueError(
                "The policy's action is not finite: its parameters are not, or the observation is too large for its "
                "networks. Look at both before it moves anything."
            )
        return self.bounds.from_unit_in_float32(action)

    def reset(self, seed: int = 0) -> None:
        """Start the policy's own stream of noise again: the same seed gives the same actions.

        A copy of a policy, also one in another process, repeats its noise unless it gets another seed.

        Raises:
            ValueError: If the seed is no whole number from 0 up.
        """
        check_number("reset", "seed", seed, int)
        if seed < 0:
            raise ValueError(f"seed must be at least 0, got {seed}.")
        self._random = np.random.default_rng(seed)

    def __repr__(self) -> str:
        spec, agent = self.agent.spec, self.agent
        steps = f"the next {agent.execute} actions, each " if agent.chunk > 1 else ""
        listed = ", ".join(self.keys) if len(self.keys) <= MOST_NAMED else f"{len(self.keys)} entries"
        entries = f", joined from {listed}" if self.keys else ""
        best = f", the best of {agent.candidates} candidates" if agent.candidates > 1 else ""
        lines = [
            str(self.origin),
            f"observation {spec.observation_shape} {spec.observation_dtype}{entries}{self._named('observations')}",
            f"action {steps}({spec.action_size},) in {self.bounds}{self._named('actions')}{best}",
            f"{number_of_parameters(agent):,} trained parameters",
        ]
        return "Policy(" + "".join(f"\n  {line}," for line in lines) + "\n)"

    def _joined(self, observation: Any) -> Any:
        """The observation as one array."""
        nested = isinstance(observation, dict | tuple)
        if nested and not (self.keys and isinstance(observation, dict)):
            wanted = f"a dictionary with {', '.join(self.keys)}, or an array" if self.keys else "an array"
            raise ValueError(
                f"The policy takes {wanted}, got a {type(observation).__name__}: of what reset() and step() return, "
                "give the first."
            )
        if not nested:
            return observation
        return joined(observation, self.keys, self.agent.spec.observation_shape, self.entry_sizes)

    @functools.cached_property
    def entry_sizes(self) -> tuple[int, ...]:
        """How many numbers each of the `keys` has; empty if it is not known."""
        if not (self.keys and "observations" in self.names):
            return ()
        of = Counter(name if name in self.keys else name.rpartition(".")[0] for name in self.names["observations"])
        return tuple(of[key] for key in self.keys)

    def _named(self, what: str) -> str:
        """The names of the coordinates, if there are few enough to be read."""
        names = () if self.keys and what == "observations" else self.names.get(what, ())
        return f" ({', '.join(names)})" if 0 < len(names) <= MOST_NAMED else ""


def _columns(names: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """The columns that observations were joined from, by the names of their coordinates: `pos` of `pos.0` and `pos.1`.
    None if there is but one."""
    columns = dict.fromkeys(re.sub(r"\.\d+$", "", name) for name in names.get("observations", ()))
    return tuple(columns) if len(columns) > 1 else ()


def _first_places(array: Any) -> str:
    """The first entries that are not finite."""
    places = np.argwhere(~np.isfinite(np.asarray(array)))
    said = [str(tuple(map(int, place)) if len(place) > 1 else int(place[0])) for place in places[:5]]
    return f"entry {', '.join(said)}" + (f" and {len(places) - 5} more" if len(places) > 5 else "")

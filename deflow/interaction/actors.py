"""Environments that are stepped together, and one step of all of them."""

import functools
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ..data.rewards import UNCHANGED
from ..environments import EnvironmentLike
from ..errors import InteractionError
from .player import Outcome, Ready
from .queue import ActionQueue
from .worker_group import Group


class Step(NamedTuple):
    """One transition of every environment: first axes S seeds, E environments."""

    observation: np.ndarray
    """The observations before the step, shape (S, E, *observation)."""

    action: np.ndarray
    """The actions as they were executed, float32 of shape (S, E, A) in [-1, 1]."""

    reward: np.ndarray
    """Rewards, float32, after the task's `RewardScale`."""

    next_observation: np.ndarray
    """The observations after the step, also at an episode's end: never the next episode's first observation."""

    terminated: np.ndarray
    """Whether the episode terminated, so that no state follows."""

    truncated: np.ndarray
    """Whether the episode was truncated, for example by a time limit."""

    success: np.ndarray
    """1 or 0 as the environment reports it, float32; nan if it does not."""

    episode_return: np.ndarray
    """Sum of the rewards of the episode that ended with this step; nan if none did."""

    episode_length: np.ndarray
    """Its number of steps; nan if none ended."""

    episode_success: np.ndarray
    """1 if any of its steps reported success, 0 if none did; nan if no episode ended or success was not reported."""


def checked_actions(actions: np.ndarray, expected: tuple[int, ...]) -> np.ndarray:
    """The actions as they are executed: float32, clipped to [-1, 1].

    Raises:
        InteractionError: If the shape is not the expected one, or a number is not finite.
    """
    actions = np.asarray(actions, np.float32)
    if actions.shape != expected:
        raise InteractionError(f"Actions must be of shape {expected} (seeds, environments, A), got {actions.shape}.")
    if not np.isfinite(actions).all():
        index = tuple(np.argwhere(~np.isfinite(actions))[0].tolist())
        raise InteractionError(
            f"The action at {index} (seed, environment, coordinate) is {actions[index]}, which is not finite. "
            "Look for nan in the policy's weights: training may have diverged."
        )
    return np.clip(actions, -1.0, 1.0)


class Actors:
    """S x E environments, each in its own process, kept until `close` or the end of `with`.

    They start at once, in the background. Episode k of environment e of seed s depends only on (s, e, k) and its
    actions.
    """

    def __init__(
        self,
        environment: EnvironmentLike,
        *,
        seeds: Sequence[int],
        environments: int = 1,
        interrupt: threading.Event | None = None,
        patience: float = 600.0,
    ):
        """Start `environments` per seed, for a task or for any picklable with `make() -> gymnasium.Env`.

        An environment that takes longer than `patience` seconds for a step, a reset or its making counts as hanging;
        once `interrupt` is set, two seconds.

        Raises:
            InteractionError: For an environment that cannot be sent to another process.
            ValueError: If there are no environments or seeds, or a seed is negative.
        """
        if not seeds or min(seeds) < 0 or environments < 1:
            raise ValueError(
                f"seeds must be numbers from 0 up and environments at least 1, got {list(seeds)} and {environments}."
            )
        self._shape = (len(seeds), environments)
        self._sent: np.ndarray | None = None
        self.queue = ActionQueue(*self._shape)
        """Actions that were chosen together and are still to be sent, which end with the episode."""
        self._rewards: Callable[[np.ndarray], np.ndarray] = getattr(environment, "rewards", UNCHANGED)
        self._group = Group(environment, seeds=seeds, environments=environments, interrupt=interrupt, patience=patience)

    @property
    def observation(self) -> np.ndarray:
        """The current observations, shape (S, E, *observation). Waits for the processes to start."""
        _ = self._ready
        return self._observation

    @property
    def repeatable(self) -> bool:
        """Whether the same seed and actions gave the same observations, bit for bit, in a short test at the start.

        If not, a running episode cannot be restored: `restart` before asking for the `state`.
        """
        return self._ready.repeatable

    def send(self, action: np.ndarray) -> None:
        """Start a step with actions (S, E, A), which are clipped to [-1, 1]. Returns at once.

        Raises:
            InteractionError: If the shape is wrong or a number is not finite. Nothing has been sent then.
        """
        self._check_idle()
        action = checked_actions(action, (*self._shape, self._ready.action_size))
        self._group.ask("step", [(one,) for one in self._flat(action)])
        self._sent = action

    def receive(self) -> Step:
        """Wait for the step that was sent. Afterwards `observation` is the next one.

        Raises:
            InteractionError: If an environment fails or returns a number that is not finite, or a process died.
        """
        if self._sent is None:
            raise InteractionError("No step is under way: send actions first.")
        before, action, self._sent = self._observation, self._sent, None
        outcomes: list[Outcome] = self._group.answers()
        for actor, one, outcome in zip(self._group.actors, self._flat(action), outcomes, strict=True):
            actor.note(one, ended=outcome.terminated or outcome.truncated)
        self._observation, *columns = map(self._grid, zip(*outcomes, strict=True))
        step = Step(before, action, *columns)
        step = step._replace(reward=self._rewards(step.reward))
        self.queue.clear(step.terminated | step.truncated)
        return step

    def restart(self) -> None:
        """End all running episodes and begin the next ones."""
        self._play([(actor.episode + 1, ()) for actor in self._group.actors])
        self.queue.clear()

    def state(self) -> dict[str, np.ndarray]:
        """The running episodes: `episode` and `length` (S, E), `actions` (S, E, longest, A) padded with zeros, the
        resulting `observation`, and what waits in the `queue`."""
        self._check_idle()
        actors = self._group.actors
        actions = np.zeros((len(actors), max(len(a.actions) for a in actors), self._ready.action_size), np.float32)
        for row, actor in zip(actions, actors, strict=True):
            if actor.actions:
                row[: len(actor.actions)] = actor.actions
        return {
            "episode": self._grid([np.int64(actor.episode) for actor in actors]),
            "length": self._grid([np.int64(len(actor.actions)) for actor in actors]),
            "actions": self._grid(actions),
            "observation": self._observation.copy(),
            **self.queue.state(),
        }

    def ended(self) -> dict[str, np.ndarray]:
        """The state as if all running episodes ended here: for environments that cannot restart any more."""
        state = self.state()
        nothing = np.zeros_like(state["length"])
        ended = {"episode": state["episode"] + 1, "length": nothing, "actions": state["actions"][:, :, :0]}
        return {**state, **ended, **({"left": nothing} if "left" in state else {})}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Continue from a `state`, padded or not: all running episodes are replayed, in parallel.

        Raises:
            InteractionError: If the state is of other environments, or an observation is not reproduced.
        """
        self._check_idle()
        actions, lengths, saved = state["actions"], state["length"], state["observation"]
        sizes = (actions.shape[:2], actions.shape[3:], saved.shape)
        expected = (self._shape, (self._ready.action_size,), self._observation.shape)
        if sizes != expected:
            raise InteractionError(
                f"The state is of (seeds, environments), (A,) and observations of shape {sizes}, but here they are "
                f"{expected}. Give the task, the seeds and the number of environments that it was saved with."
            )
        if np.any(lengths) and not self.repeatable:
            raise InteractionError(
                f"{self._group.name} is not reproducible, so no running episode can be restored. Call "
                "restart() before state()."
            )
        rows = zip(state["episode"].flat, lengths.flat, self._flat(actions), strict=True)
        self._play([(int(episode), np.asarray(row[:length])) for episode, length, row in rows])
        self.queue.restore(state)
        for actor, got, wanted in zip(
            self._group.actors, self._flat(self._observation), self._flat(saved), strict=True
        ):
            if self.repeatable and got.tobytes() != wanted.tobytes():
                self.close()
                raise InteractionError(
                    f"The {actor.name} did not reach the saved observation after {len(actor.actions)} steps of "
                    f"episode {actor.episode}. Resume on the machine and with the packages that it was saved with."
                )

    def close(self) -> None:
        """End the processes and remove their files."""
        self._group.end()

    def __enter__(self) -> "Actors":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @functools.cached_property
    def _ready(self) -> Ready:
        """What the first process reported when it was ready. Waits for all of them."""
        ready: list[Ready] = self._group.answers()
        self._observation = self._grid(one.observation for one in ready)
        return ready[0]

    def _play(self, episodes: Sequence[tuple[int, Sequence[np.ndarray] | np.ndarray]]):
        """Replay these actions of these episodes."""
        self._check_idle()
        _ = self._ready
        for actor, (episode, actions) in zip(self._group.actors, episodes, strict=True):
            actor.episode, actor.actions = episode, list(actions)
        self._group.ask("replay", episodes)
        self._observation = self._grid(self._group.answers())

    def _check_idle(self):
        if self._sent is not None:
            raise InteractionError("A step is under way: receive it first.")

    def _grid(self, rows: Iterable) -> np.ndarray:
        """One row per process -> first axes S, E."""
        rows = np.asarray(list(rows))
        return rows.reshape(*self._shape, *rows.shape[1:])

    def _flat(self, grid: np.ndarray) -> np.ndarray:
        """First axes S, E -> one row per process."""
        return grid.reshape(len(self._group.actors), *grid.shape[2:])

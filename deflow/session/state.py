"""The content of a checkpoint: everything that the next update depends on, except for the dataset."""

import contextlib
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key

from ..errors import InteractionError
from ..interaction import Actors
from ..replay import AbstractReplay
from ..replay.images import ImageTransitions, Transitions, as_batch
from ..replay.ring import blank_rows
from ..training import Learner
from ..types import Spec


class Online(eqx.Module):
    """One seed's online transitions and running episodes, as NumPy arrays."""

    transitions: Transitions
    episodes: dict[str, np.ndarray]


class TrainingState(eqx.Module):
    """A learner, the key of its updates and, online, the transitions and running episodes of its environments."""

    learner: Learner
    key: Key[Array, "*seeds"]
    online: tuple[Online, ...] = ()
    """One per seed, or none."""

    def split(self) -> list["TrainingState"]:
        """One state per seed."""
        seeds = self.learner.seeds
        if seeds is None:
            return [self]
        return [
            TrainingState(self.learner.seed(index), self.key[index], self.online[index : index + 1])
            for index in range(seeds)
        ]

    @classmethod
    def join(cls, states: Sequence["TrainingState"], together: bool) -> "TrainingState":
        """The inverse of `split`; `together` says whether the arrays have an axis for the seeds."""
        if not together:
            return states[0]
        return TrainingState(
            Learner.stack([state.learner for state in states]),
            jnp.stack([state.key for state in states]),
            tuple(online for state in states for online in state.online),
        )


def capture(replay: AbstractReplay, actors: Actors) -> tuple[Online, ...]:
    """The current state of the online phase, per seed. Episodes that could not be replayed end here."""
    if actors.repeatable:
        episodes = actors.state()
    else:
        episodes = actors.ended()
        with contextlib.suppress(InteractionError):  # one hangs or has failed: what was learned until then is kept
            actors.restart()
            episodes = actors.state()
    return tuple(
        Online(replay.state(seed), {name: values[seed] for name, values in episodes.items()})
        for seed in range(replay.seeds or 1)
    )


def resume(online: tuple[Online, ...], replay: AbstractReplay, actors: Actors, *, inserted: int) -> None:
    """Restores transitions and episodes as they were captured, after `inserted` transitions."""
    replay.restore([one.transitions for one in online], inserted)
    names = online[0].episodes
    longest = max(one.episodes["actions"].shape[1] for one in online)
    padded = [{**one.episodes, "actions": _padded(one.episodes["actions"], longest)} for one in online]
    actors.restore({name: np.stack([one[name] for one in padded]) for name in names})


def sizes(online: tuple[Online, ...]) -> dict[str, Any] | None:
    """The shapes and types of one seed's arrays as JSON data, for `blank`."""
    if not online:
        return None
    episodes = {name: [list(array.shape), str(array.dtype)] for name, array in online[0].episodes.items()}
    transitions = online[0].transitions
    images = {"images": len(transitions.images)} if isinstance(transitions, ImageTransitions) else {}
    rows = as_batch(transitions)
    extras = {name: [list(array.shape[1:]), str(array.dtype)] for name, array in rows.extras.items()}
    return {"transitions": len(rows), "extras": extras, "episodes": episodes, **images}


def blank(sizes: Mapping[str, Any] | None, spec: Spec) -> tuple[Online, ...]:
    """Empty arrays with the shapes of one seed's checkpoint."""
    if sizes is None:
        return ()
    extras = {name: (tuple(shape), dtype) for name, (shape, dtype) in sizes.get("extras", {}).items()}
    transitions = blank_rows((sizes["transitions"],), spec, extras)
    if "images" in sizes:
        transitions = ImageTransitions(transitions, np.zeros((sizes["images"], *spec.frame_shape), np.uint8))
    episodes = {name: np.empty(shape, dtype) for name, (shape, dtype) in sizes["episodes"].items()}
    return (Online(transitions, episodes),)


def with_key(state: TrainingState, index: int, key: Key[Array, ""]) -> TrainingState:
    """The state with a new key for one seed."""
    keys = key if state.learner.seeds is None else state.key.at[index].set(key)
    return dataclasses.replace(state, key=keys)


def _padded(actions: np.ndarray, longest: int) -> np.ndarray:
    """Actions (E, length, A) padded with zeros to the longest episode of any seed."""
    missing = longest - actions.shape[1]
    return np.pad(actions, [(0, 0), (0, missing), (0, 0)])

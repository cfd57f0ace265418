"""Acting outside a compiled program: the observation is checked, and acting is compiled once per structure.

Flattening an agent and comparing its structure costs more than a small policy, and so does laying out its weights for
one observation (`for_acting`). All of it is done once per agent, and the result is kept as long as the agent exists.
"""

import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from ..frames import Frames
from ..keys import check_key
from ..networks import for_acting
from .skeleton import Skeleton, shared

if TYPE_CHECKING:
    from .agent import Agent

Program = Callable[[list[Array], Any, Any], Float[Array, "*batch action"]]
"""Maps the agent's arrays, observations and a key, or the noises themselves, to actions."""

_prepared: dict[int, tuple[Program, Program, list[Array]]] = {}
"""For each agent that has acted, by identity: its programs for a key and for noises, and its arrays, laid out for
acting."""


def act(agent: "Agent", observation: Any, key: Any) -> Float[Array, "*batch action"]:
    """The action for one observation, or one action for each observation of a batch, with keys split from `key`.

    Raises:
        TypeError: If the key is not a typed random key.
        ValueError: If the observation has neither the shape of one nor that of a batch, or is not numeric.
    """
    check_key(key)
    if key.shape:
        raise TypeError(f"Acting takes a single key, got an array of keys of shape {key.shape}.")
    program, _, arrays = _prepared.get(id(agent)) or _prepare(agent)
    return program(arrays, checked(agent, observation), key)


def act_from(
    agent: "Agent", observation: Any, noises: Float[Array | np.ndarray, "*batch candidates action"]
) -> Float[Array, "*batch action"]:
    """The same from given noises: see `Agent.act_from`. The observations are `checked`."""
    _, program, arrays = _prepared.get(id(agent)) or _prepare(agent)
    return program(arrays, observation, noises)


def checked(agent: "Agent", observation: Any) -> Any:
    """The observation in the agent's type, after a check that it is one observation or a batch.

    Raises:
        ValueError: If it has neither shape, or is not numeric.
    """
    if isinstance(observation, Frames):
        observation = observation.stacked()
    elif not hasattr(observation, "dtype"):
        observation = np.asarray(observation)
    shape, wanted = observation.shape, agent.spec.observation_shape
    if shape[len(shape) - len(wanted) :] != wanted or len(shape) - len(wanted) not in (0, 1):
        batch, count = ", ".join(map(str, ("B", *wanted))), agent.spec.frame_stack
        remedy = "observations of the environment that it was trained for"
        if count > 1:
            remedy = f"the last {count} images, the oldest first among the channels (deflow.environments.FrameStack)"
        raise ValueError(
            f"The agent acts on observations of shape {wanted} or a batch ({batch}), got the shape {shape}: give it "
            f"{remedy}."
        )
    dtype = observation.dtype
    if dtype == agent.spec.observation_dtype:
        return observation
    if np.dtype(dtype).kind not in "fiub" or agent.spec.observation_dtype == "uint8":
        raise ValueError(f"The agent acts on observations of type {agent.spec.observation_dtype}, got {dtype}.")
    return jnp.asarray(observation, agent.spec.observation_dtype)


def _prepare(agent: "Agent") -> tuple[Program, Program, list[Array]]:
    skeleton, arrays = Skeleton.of(for_acting(agent))
    _prepared[id(agent)] = prepared = *_programs(skeleton), arrays
    weakref.finalize(agent, _prepared.pop, id(agent), None)
    return prepared


@shared
def _programs(skeleton: Skeleton) -> tuple[Program, Program]:
    """The compiled programs of all agents of one structure: for a key, and for noises."""

    def by_key(arrays: list[Array], observation: Array, key: Key[Array, ""]) -> Float[Array, "*batch action"]:
        agent: Agent = skeleton.fill(arrays)
        if observation.ndim == len(agent.spec.observation_shape):
            return agent.act(observation, key=key)
        keys = jax.random.split(key, len(observation))
        return jax.vmap(lambda observation, key: agent.act(observation, key=key))(observation, keys)

    def by_noises(arrays: list[Array], observation: Array, noises: Array) -> Float[Array, "*batch action"]:
        agent: Agent = skeleton.fill(arrays)
        act = agent.act_from
        return act(observation, noises) if noises.ndim == 2 else jax.vmap(act)(observation, noises)

    return jax.jit(by_key), jax.jit(by_noises)

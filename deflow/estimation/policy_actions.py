"""The policy's own actions at the states of a dataset, drawn once."""

import threading

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from ..agent import Agent
from ..behaviour import States
from ..blocks import in_blocks
from ..errors import EvaluationInterrupted
from ..progress import Bar

ROWS = 1 << 14
"""Candidates that are made together."""


def policy_actions(
    agent: Agent,
    states: States | Array | np.ndarray,
    count: int,
    *,
    progress: bool = False,
    interrupt: threading.Event | None = None,
    key: Key[Array, ""],
) -> np.ndarray:
    """`count` actions that the agent would execute in each of M states, float32 of shape (M, count, execute * A).

    Args:
        agent: The policy.
        states: A dataset's states, or observations of shape (M, *observation).
        count: Number of actions for a state.
        progress: Whether to show a bar.
        interrupt: Ends the drawing when it is set.
        key: What is random is made from this and from the state's number.

    Raises:
        EvaluationInterrupted: If `interrupt` is set.
    """
    total, size = len(states), agent.execute * agent.spec.action_size
    actions = np.empty((total, count, size), np.float32)
    block = min(max(ROWS // (count * agent.candidates), 1), total)
    with Bar(total=total, desc="policy's actions", unit="state", unit_scale=True, disable=not progress) as bar:
        for start in range(0, total, block):
            if interrupt is not None and interrupt.is_set():
                raise EvaluationInterrupted("Interrupted while the policy's actions were drawn.")
            first = max(min(start, total - block), 0)  # the last block is a whole one, too: one program
            stop = first + block
            observations = states.observations(first, stop) if isinstance(states, States) else states[first:stop]
            numbers = jnp.arange(first, stop)
            actions[first:stop] = np.asarray(_act(agent, jnp.asarray(observations), numbers, count, key))
            bar.update(min(block, total - start))
    return actions


@eqx.filter_jit
def _act(
    agent: Agent, observations: Array, numbers: Int[Array, " states"], count: int, key: Key[Array, ""]
) -> Float[Array, "states count action"]:
    def one(observation: Array, number: Int[Array, ""]) -> Float[Array, "count action"]:
        keys = jax.random.split(jax.random.fold_in(key, number), count)
        return jax.vmap(lambda key: jnp.ravel(agent.act(observation, key=key)))(keys)

    return in_blocks(one, observations, numbers, rows=count * agent.candidates)

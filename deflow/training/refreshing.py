"""A refresh online: the frozen flow is trained further, alone, on everything in the replay, and proposes anew."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Key

from ..behaviour import ProposedReplay, flow_alone
from ..keys import named_key
from ..progress import Bar
from ..types import trainable
from .learner import Learner
from .precision import Precision
from .updates import FusedUpdates, batch_keys

_PER_DISPATCH = 100


def refreshed(
    learner: Learner,
    replay: ProposedReplay,
    *,
    updates: int,
    batch_size: int,
    precision: Precision,
    key: Key[Array, "*seeds"],
) -> tuple[Learner, Float[Array, "*seeds"]]:
    """The learner with its flow trained further, and the flow's mean loss in the last dispatch. The proposals in
    `replay` are drawn again, from that flow.

    Adam begins anew; its learning rate falls from the learner's to 0 along half a cosine. What is drawn depends on
    `key` and the number of online transitions alone.
    """
    key = _refresh_key(key, jnp.asarray(replay.inserted))
    make = _alone if learner.seeds is None else eqx.filter_vmap(_alone, in_axes=(eqx.if_array(0), None))
    metrics = dict[str, Array]()
    program = FusedUpdates(make(learner, updates), batch_size=batch_size, precision=precision)
    with Bar(total=updates, desc="refresh", unit="step", leave=False) as bar:
        for first in range(0, updates, _PER_DISPATCH):
            count = min(_PER_DISPATCH, updates - first)
            keys = batch_keys(key, jnp.arange(first, first + count))
            metrics = program(replay.transitions.source(batch_size, keys), count, key)
            jax.block_until_ready(metrics)
            bar.update(count)
    learner = dataclasses.replace(learner, agent=dataclasses.replace(learner.agent, field=program.learner.agent.field))
    replay.refresh(learner.agent)
    return learner, metrics["flow_loss"]


def _alone(learner: Learner, updates: int) -> Learner:
    """A learner of the flow and nothing else, at its first update."""
    agent = flow_alone(learner.agent)
    state = optax.adam(learner.learning_rate).init(eqx.filter(agent, trainable(agent)))
    return Learner(agent, state, jnp.zeros((), jnp.int32), learner.learning_rate, updates)


@jax.jit
def _refresh_key(key: Key[Array, "*seeds"], inserted: Array) -> Key[Array, "*seeds"]:
    one = lambda key: jax.random.fold_in(named_key(key, "refresh"), inserted)  # noqa: E731
    return jax.vmap(one)(key) if key.ndim else one(key)

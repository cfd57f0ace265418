"""Online training: environments and updates take turns, and overlap when that does not change the result."""

from collections.abc import Iterator
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from ..agent import Agent
from ..behaviour import ProposedReplay
from ..interaction import Actors, Step
from ..keys import check_key, named_key
from ..replay import AbstractReplay, AbstractSource, Chunks
from ..types import Batch, check_number
from .learner import Learner
from .offline import warn_of_no_steps
from .precision import Precision
from .refreshing import refreshed
from .updates import FusedUpdates, batch_keys

_AHEAD = 32  # rounds whose draws are looked at together


def train_online(
    learner: Learner,
    replay: AbstractReplay,
    actors: Actors,
    *,
    steps: int,
    key: Key[Array, "*seeds"],
    batch_size: int = 256,
    updates_per_step: int = 1,
    warmup: int = 0,
    update_after: int = 0,
    overlap: bool = True,
    precision: Precision = "float32",
    refresh_every: int = 0,
    refresh_updates: int = 10_000,
) -> Iterator[tuple[int, Learner, dict[str, Any]]]:
    """Acts and learns until each seed has made `steps` environment steps. Yields (steps made, learner, metrics) once
    per round, in which each of a seed's E environments makes one step and the learner `updates_per_step * E` updates.

    The agent acts as in evaluation, without further noise; for the first `warmup` steps actions are uniform instead.
    An agent with chunks is asked again when an environment has executed those that it chose, or its episode has ended.
    Its updates draw the windows that were complete before their round.

    Updates begin after `update_after` steps. The number of steps made is the number of transitions in `replay`, so an
    interrupted loop can continue. With `overlap`, a round's updates run while its environments step, unless they draw a
    transition that is still being made; the result is the same, bit for bit. Metrics are means over the round's updates
    (none before the updates begin). If episodes ended in a round, there are also their number `episode_count` and the
    means `episode_return`, `episode_success` and `episode_length` (NaN for a seed in which none ended).

    With a `ProposedReplay` the flow is frozen and no update solves an ODE. With `refresh_every` above 0, each time that
    so many steps were made, the flow is trained alone for `refresh_updates` updates on everything in the replay, and
    all proposals are drawn again.

    The mask of a transition is 0 at a termination; at a truncation, such as a time limit, it is 1
    (arXiv 2601.10471, section 5).

    Raises:
        ValueError: If a size is below 1 or arguments do not match.
        InteractionError: From the actors.
    """
    environments = actors.observation.shape[1]
    _check(learner, replay, actors, key, batch_size, updates_per_step, warmup, update_after)
    _check_refresh(replay, refresh_every, refresh_updates)
    if isinstance(replay, ProposedReplay):
        learner = learner.freeze_field()
        replay.check(learner.agents)
    updates = FusedUpdates(learner, batch_size=batch_size, precision=precision)
    learner = updates.learner  # on one device, where the replay is
    per_round = updates_per_step * environments
    plan = _Plan(replay, batch_size, per_round, environments, key)
    done = int(jnp.max(learner.step))
    if replay.inserted >= steps:
        warn_of_no_steps("environment steps", replay.inserted, steps)
    while replay.inserted < steps:
        made = replay.inserted
        if actors.queue.empty.any():
            actors.queue.fill(_actions(learner, actors.observation, key, made, warmup))
        actors.send(actors.queue.take())
        learns = made + environments > update_after
        metrics = {}
        at_once = learns and (replay.windows is not None or (overlap and not plan.waits(done)))
        if at_once:
            source = replay.source(batch_size, plan.keys(done), expected=environments)
            metrics = _learn(updates, source, per_round, key)
        step = actors.receive()
        replay.insert(step_batch(step))
        if learns and not at_once:
            metrics = _learn(updates, replay.source(batch_size, plan.keys(done)), per_round, key)
        done += per_round * learns
        learner = updates.learner
        if (
            isinstance(replay, ProposedReplay)
            and refresh_every
            and made // refresh_every < replay.inserted // refresh_every
        ):
            learner, flow_loss = refreshed(
                learner, replay, updates=refresh_updates, batch_size=batch_size, precision=precision, key=key
            )
            metrics = {**metrics, "flow_loss": flow_loss}
            updates = FusedUpdates(learner, batch_size=batch_size, precision=precision)
        yield replay.inserted, learner, {**metrics, **_episodes(step, learner.seeds)}


def _learn(
    updates: FusedUpdates, source: AbstractSource, count: int, key: Key[Array, "*seeds"]
) -> dict[str, Float[Array, "*seeds"]]:
    """A round's updates. A training's rounds all make the same number, so that after a break it goes on with the same
    program."""
    return updates.once(source, key) if count == 1 else updates(source, count, key)


def step_batch(step: Step) -> Batch:
    """The environments' step as transitions with leading axes (S, E)."""
    return Batch(
        observation=step.observation,
        action=step.action,
        reward=step.reward.astype(np.float32),
        mask=1.0 - step.terminated.astype(np.float32),
        next_observation=step.next_observation,
        extras={"trajectory_end": (step.terminated | step.truncated).astype(np.float32)},
    )


class _Plan:
    """What the next updates draw, computed for many rounds at once."""

    def __init__(self, replay: AbstractReplay, size: int, updates: int, environments: int, key: Key[Array, "*seeds"]):
        self._replay, self._size, self._updates, self._environments, self._key = (
            replay,
            size,
            updates,
            environments,
            key,
        )
        self._first, self._waits = 0, np.zeros(0, bool)

    def keys(self, done: int) -> Key[Array, " updates *seeds"]:
        """The keys of the next round's batches."""
        return batch_keys(self._key, jnp.arange(done, done + self._updates))

    def waits(self, done: int) -> bool:
        """Whether the next round's updates draw a transition that this round makes."""
        round_ = (done - self._first) // self._updates
        if not 0 <= round_ < len(self._waits):
            keys = batch_keys(self._key, jnp.arange(done, done + _AHEAD * self._updates))
            keys = keys.reshape(_AHEAD, self._updates, *keys.shape[1:])
            self._waits = self._replay.waits(self._size, keys, self._replay.inserted, self._environments)
            self._first, round_ = done, 0
        return bool(self._waits[round_])


def _actions(
    learner: Learner, observation: np.ndarray, key: Key[Array, "*seeds"], made: int, warmup: int
) -> np.ndarray:
    """The next actions, shape (S, E, A), or of an agent with chunks (S, E, execute, A); 0 for a seed whose parameters
    are not finite, which its loss reveals too."""
    explore = jnp.asarray(made < warmup)
    if learner.seeds is None:
        action = _act(learner.agent, jnp.asarray(observation[0]), explore, jnp.asarray(made), key)[None]
    else:
        action = _act_together(learner.agent, jnp.asarray(observation), explore, jnp.asarray(made), key)
    action = np.asarray(action)
    return np.where(np.isfinite(action), action, np.float32(0.0))


def _act_one(
    agent: Agent, observation: Array, explore: Array, made: Int[Array, ""], key: Key[Array, ""]
) -> Float[Array, "environments *steps action"]:
    keys = jax.random.split(jax.random.fold_in(named_key(key, "acting"), made), len(observation))
    actions = jax.vmap(lambda observation, key: agent(observation, key=key))(observation, keys)
    uniform = jax.random.uniform(named_key(keys[0], "warm-up"), actions.shape, minval=-1.0, maxval=1.0)
    return jnp.where(explore, uniform, actions)


_act = eqx.filter_jit(_act_one)
_act_together = eqx.filter_jit(eqx.filter_vmap(_act_one, in_axes=(eqx.if_array(0), 0, None, None, 0)))


def _episodes(step: Step, seeds: int | None) -> dict[str, np.ndarray]:
    """Means over the episodes that ended, per seed; empty if none did."""
    ended = step.terminated | step.truncated
    if not ended.any():
        return {}
    number = ended.sum(axis=1)
    found = {"episode_count": np.where(number > 0, number, np.nan)}
    for name in ("episode_return", "episode_success", "episode_length"):
        total = np.where(ended, getattr(step, name), 0.0).sum(axis=1)
        found[name] = np.divide(total, number, out=np.full(len(number), np.nan), where=number > 0)
    return {name: np.asarray(values[0]) if seeds is None else values for name, values in found.items()}


def _check(
    learner: Learner,
    replay: AbstractReplay,
    actors: Actors,
    key: Key[Array, "*seeds"],
    batch_size: int,
    updates_per_step: int,
    warmup: int,
    update_after: int,
) -> None:
    check_key(key)
    sizes = {"batch_size": (batch_size, 1), "updates_per_step": (updates_per_step, 1)}
    for name, (value, least) in {**sizes, "warmup": (warmup, 0), "update_after": (update_after, 0)}.items():
        check_number("train_online", name, value, int)
        if value < least:
            raise ValueError(f"{name} must be at least {least}, got {value}.")
    agent, wanted = learner.agent, Chunks(learner.agent.chunk, learner.agent.discount, actors.observation.shape[1])
    if replay.chunks.length != agent.chunk or (agent.chunk > 1 and replay.chunks != wanted):
        raise ValueError(
            f"The replay was made with {replay.chunks}, and this agent in these environments needs {wanted}: give that "
            "to deflow.make_replay as chunks, or the environments to deflow.ProposedReplay."
        )
    seeds, shape = learner.seeds or 1, actors.observation.shape
    if key.shape != learner.step.shape:
        raise ValueError(f"A learner of shape {learner.step.shape} needs keys of that shape, got {key.shape}.")
    if shape[0] != seeds or replay.seeds != learner.seeds:
        raise ValueError(
            f"A learner of {seeds} seed(s) needs as many actors and as much replay, got {shape[0]} and "
            f"{replay.seeds or 1}: give all three the same seeds."
        )
    if shape[2:] != learner.agent.spec.observation_shape:
        raise ValueError(
            f"The agent was built for observations of shape {learner.agent.spec.observation_shape}, but the "
            f"environment's have shape {shape[2:]}."
        )


def _check_refresh(replay: AbstractReplay, every: int, updates: int) -> None:
    for name, value, least in (("refresh_every", every, 0), ("refresh_updates", updates, 1)):
        check_number("train_online", name, value, int)
        if value < least:
            raise ValueError(f"{name} must be at least {least}, got {value}.")
    if every and not isinstance(replay, ProposedReplay):
        raise ValueError(
            f"refresh_every={every} draws proposals again, and this replay has none: give a deflow.ProposedReplay, or "
            "let the flow train along with everything else."
        )

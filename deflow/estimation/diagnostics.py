"""What can be said of a policy without fitting anything."""

import dataclasses
import math
import threading
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Array, Key

from ..agent import Agent
from ..behaviour import flow_alone
from ..critics import NoCritic
from ..data.action_variance import comparable, evenly_spaced
from ..data.chunks import chunked
from ..data.neighbours_of import neighbours_of
from ..keys import named_key
from ..types import Batch
from .fitted_q import values_of
from .policy_actions import policy_actions
from .value_estimate import Diagnostics

NEIGHBOURS = 10
"""Similar states whose actions are compared."""

ROWS = 2_000
"""Transitions that are looked at, evenly spaced."""

Drawn = Callable[[Array | np.ndarray, str], np.ndarray]
"""Maps observations (n, *observation), and a name for what is random, to the policy's actions (n, K, A) there."""

AT_BOUND = 1e-3
"""How near to a bound of 1 counts as at it."""


def diagnose(
    agent: Agent,
    train: Batch,
    held_out: Batch,
    *,
    separate: bool,
    actions: int,
    interrupt: threading.Event | None,
    key: Key[Array, ""],
) -> Diagnostics:
    """The diagnostics on held-out data; `actions` of the policy are drawn for each state. Without `separate`, it is the
    training data itself."""
    whole = dataclasses.replace(agent, execute=agent.chunk)  # all actions of a chunk, which the own critic judges
    windows = chunked(held_out, agent.chunk, discount=agent.discount)
    first = agent.rows(held_out)[0]
    rows = evenly_spaced(len(windows), min(ROWS, len(windows)))
    batch = windows[rows]

    def drawn(observations: Array | np.ndarray, what: str, policy: Agent = whole) -> np.ndarray:
        own = named_key(key, what)
        return policy_actions(policy, observations, actions, interrupt=interrupt, key=own)

    here = drawn(batch.observation, "here")
    size = agent.spec.action_size
    flow = drawn(batch.observation, "flow", dataclasses.replace(flow_alone(whole), candidates=1))
    near = distances(train, batch, [here[..., :size], flow[..., :size]], None if separate else first[rows])
    judged = (math.nan, math.nan, math.nan, math.nan)
    if not isinstance(agent.critic, NoCritic):
        returns = returns_that_followed(agent, held_out, drawn)[first[rows]]
        judged = judge(agent, batch, drawn(batch.next_observation, "next"), returns)
    return Diagnostics(*judged, *near, share_at_bounds(here), share_at_bounds(batch.action))


def judge(
    agent: Agent, batch: Batch, next_actions: np.ndarray, returns: np.ndarray
) -> tuple[float, float, float, float]:
    """TD error, value, return and their rank correlation, of the agent's own critic."""
    from scipy import stats  # a second to import

    values = values_of(agent.critic, batch.observation, batch.action[:, None])
    following = values_of(agent.critic, batch.next_observation, next_actions)
    errors = values - batch.reward - agent.discount * batch.mask * following
    varied = np.ptp(values) > 0 and np.ptp(returns) > 0
    correlation = float(stats.spearmanr(values, returns)[0]) if varied else math.nan  # pyright: ignore[reportArgumentType]
    return float(np.sqrt(np.mean(np.square(errors)))), float(values.mean()), float(returns.mean()), correlation


def returns_that_followed(agent: Agent, data: Batch, drawn: Drawn) -> np.ndarray:
    """G_t = r_t + discount * mask_t * G_(t+1) along each trajectory, shape (N,). At a cut, the own critic's value of
    the policy's actions stands for the rest."""
    ends = np.flatnonzero(data.extras["trajectory_end"])
    last = data.next_observation[ends]
    return discounted_returns(data, agent.discount, rest=values_of(agent.critic, last, drawn(last, "rest")))


def discounted_returns(data: Batch, discount: float, *, rest: np.ndarray | None = None) -> np.ndarray:
    """The discounted sum of a transition's and the following rewards of its trajectory, shape (N,). `rest` is what
    comes after each trajectory's last transition unless it is a termination; nothing if it is not given."""
    found, following = np.empty(len(data)), 0.0
    ends, cut = np.asarray(data.extras["trajectory_end"]) != 0, 0 if rest is None else len(rest)
    rewards, factors = np.asarray(data.reward, np.float64), discount * np.asarray(data.mask, np.float64)
    for row in range(len(data) - 1, -1, -1):
        if ends[row]:
            cut -= 1
            following = 0.0 if rest is None else float(rest[cut])
        found[row] = following = rewards[row] + factors[row] * following
    return found


def distances(
    train: Batch, queries: Batch, actions: Sequence[np.ndarray], rows: np.ndarray | None
) -> tuple[float, float, float]:
    """How far the policy's actions, the data's own and the flow's are from the nearest of the training data's actions
    in similar states. `actions` are the policy's and the flow's, (n, K, A). `rows` are those of the queries if they are
    training data themselves, of which other trajectories are then searched."""
    points, count = np.asarray(train.observation), min(NEIGHBOURS, len(train))
    if points.dtype == np.uint8:
        return math.nan, math.nan, math.nan  # pixels: no distance says which states are similar
    if rows is None:
        points = np.concatenate([points, queries.observation])
        rows, bounds = np.arange(len(train), len(points)), np.array([len(train), len(points)])
        apart = np.tile(bounds, (len(rows), 1))
    else:
        ends = np.flatnonzero(train.extras["trajectory_end"])
        number = np.searchsorted(ends, rows)
        apart = np.column_stack([np.append(0, ends + 1)[number], np.append(ends, len(train))[number] + 1])
    nearest = neighbours_of(rows, comparable(points.reshape(len(points), -1)), count, apart=apart)
    if (nearest < 0).any():  # no other trajectories
        return math.nan, math.nan, math.nan
    others, size = np.asarray(train.action)[nearest], train.action.shape[-1]
    own = np.asarray(queries.action)[:, None, :size]
    policy, data, flow = (_nearest(each, others) for each in (actions[0], own, actions[1]))
    return policy, data, flow


def _nearest(actions: np.ndarray, others: np.ndarray) -> float:
    """Of actions (n, K, A) and others (n, count, A): the root mean square distance per dimension to the nearest."""
    squares = np.mean(np.square(actions[:, :, None] - others[:, None], dtype=np.float64), axis=-1).min(-1)
    return float(np.sqrt(squares.mean()))


def share_at_bounds(actions: Array | np.ndarray) -> float:
    """The share of coordinates that are at a bound."""
    return float(np.mean(np.abs(actions) >= 1 - AT_BOUND))

"""Whether an exported file does what the policy does."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Num

from ..errors import ExportError
from .format import Runner
from .policy import Policy

TOLERANCE = 1e-5
"""Largest difference between a file's actions and the policy's, where a coordinate's range counts as 2."""

TIE = 1e-5
"""Difference of two candidates' scores, relative to the largest, within which rounding decides which is better."""


class Agreement(NamedTuple):
    """A file's actions against the policy's, where the range of an action's coordinate counts as 2."""

    observations: int
    """How many were compared, each with a noise of its own."""

    largest: float
    """The largest difference of any coordinate."""

    beyond: int
    """Observations with a difference above 1e-5."""

    ties: int
    """Observations not compared: two candidates are equally good there, and rounding decided between them."""

    def __str__(self) -> str:
        ties = f"; {self.ties:,} more chose another of two equally good candidates" if self.ties else ""
        return f"largest difference {self.largest:.1e} on {self.observations:,} observations{ties}"


def agreement(
    policy: Policy, run: Runner, observations: Num[np.ndarray, "rows ..."], noises: Float[np.ndarray, "rows ..."]
) -> Agreement:
    """Compares what a file gives with what the policy gives, from the same noises."""
    wanted = policy.act(observations, noise=noises)
    got = run(observations[:1], noises[:1])
    if len(observations) > 1:  # the file takes any number
        got = np.concatenate([got, run(observations[1:], noises[1:])])
    if got.shape != wanted.shape:
        raise ExportError(f"The exported policy gives actions of shape {got.shape}, the policy {wanted.shape}.")
    differences = _largest(got, wanted, policy)
    rows = np.flatnonzero(differences > TOLERANCE)
    tied = np.zeros(len(wanted), bool)
    if policy.agent.candidates > 1 and len(rows):
        tied[rows] = _tied(policy, observations[rows], noises[rows], got[rows])
    left = differences[~tied]
    return Agreement(len(left), float(left.max(initial=0.0)), int(np.sum(left > TOLERANCE)), int(tied.sum()))


def _largest(got: np.ndarray, wanted: np.ndarray, policy: Policy) -> Float[np.ndarray, " rows"]:
    """The largest difference of a coordinate, for each row; infinite where one is not a number."""
    low, high = np.asarray(policy.bounds.low), np.asarray(policy.bounds.high)
    # Where a bound is large and the range small, float32 has few numbers in it: two of its steps are no difference.
    step = np.spacing(np.abs(policy.bounds.in_float32).max(0)).astype(np.float64)
    half = np.maximum(high / 2 - low / 2, 2 * step / TOLERANCE)
    differences = np.abs((got.astype(np.float64) - wanted) / half).reshape(len(wanted), -1).max(1)
    return np.where(np.isnan(differences), np.inf, differences)


def _tied(policy: Policy, observations: np.ndarray, noises: np.ndarray, got: np.ndarray) -> Bool[np.ndarray, " rows"]:
    """Whether what a file gives is another candidate whose score is the best one's but for rounding."""
    agent = policy.agent
    alone = dataclasses.replace(agent, candidates=1, execute=agent.chunk)

    @jax.jit
    @jax.vmap
    def candidates(observation, noises):
        actions = jax.vmap(lambda noise: jnp.ravel(alone.act_from(observation, noise[None])))(noises)
        return actions, jax.vmap(lambda action: agent.critic.score(observation, action))(actions)

    actions, scores = map(np.asarray, candidates(observations, noises))
    executed = actions[..., : got[0].size].reshape(-1, *got.shape[1:])
    distances = _largest(policy.bounds.from_unit_in_float32(executed), np.repeat(got, agent.candidates, axis=0), policy)
    best = scores.max(1, keepdims=True)
    as_good = best - scores <= TIE * np.abs(scores).max(1, keepdims=True)
    return np.any((distances.reshape(scores.shape) <= TOLERANCE) & as_good, axis=1)

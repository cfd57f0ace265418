"""Estimating what a policy is worth, before it runs."""

import dataclasses
import threading

import jax
import numpy as np

from ..agent import Agent
from ..behaviour import States
from ..critics import AbstractCritic, AbstractCriticConfig
from ..data import Task
from ..data.action_variance import evenly_spaced
from ..deployment import Policy
from ..keys import check_seeds, named_key
from ..progress import Bar
from ..types import Batch, check_number
from .diagnostics import diagnose, discounted_returns
from .fitted_q import CRITIC, FittedQ, judge_config, judging_critic, next_actions
from .policy_actions import policy_actions
from .value_estimate import ValueEstimate

STARTS = 1_000
"""Most starts of trajectories, and most other states, at which the policy is judged."""

FEWEST = 10
"""Held-out trajectories that are enough to judge a policy on them alone."""

STEPS = 5_000
"""Updates of the fitted critics, unless told otherwise."""

MEMBERS = 3
"""Number of fitted critics, unless told otherwise."""

ROWS = 100_000
"""Most training transitions that they are fitted to, unless told otherwise."""


def estimate(
    policy: Agent | Policy,
    task: Task,
    *,
    critic: str | AbstractCritic | AbstractCriticConfig = CRITIC,
    members: int = MEMBERS,
    steps: int = STEPS,
    rows: int = ROWS,
    actions: int = 2,
    batch_size: int = 256,
    seed: int = 0,
    progress: bool = True,
    interrupt: threading.Event | None = None,
) -> ValueEstimate:
    """The discounted return of a policy, by fitted Q evaluation (Le et al. 2019, arXiv 1903.08738), and diagnostics.

    Critics are fitted to the training data with the policy's own next actions, and are asked for its value where
    held-out trajectories start. No environment is needed. What it cannot know: what happens where the policy leaves the
    data. Values of unlike policies compare better than they are right.

    Args:
        policy: An agent of one seed, or what `deflow.load` gives.
        task: Its data. With less than 10 held-out trajectories, the starts of the training data's count, too.
        critic: A critic that looks at next actions, such as `deflow.critics.EnsembleCriticConfig()`, or its name.
        members: Number of independent critics, at least 2 for an interval.
        steps: Updates of each.
        rows: Most training transitions to use; of more, whole trajectories are drawn.
        actions: Actions of the policy that are drawn in each state.
        batch_size: Transitions in an update.
        seed: What is random follows from this.
        progress: Whether to show bars.
        interrupt: Ends the estimation when it is set.

    Raises:
        EstimationError: If the critics diverge.
        EvaluationInterrupted: If `interrupt` is set.
        UnknownNameError: If no critic has this name.
        ValueError: If a number is too small, the task is another than the agent's, or the critic cannot judge a policy.
    """
    agent = policy.agent if isinstance(policy, Policy) else policy
    sizes = {"members": members, "steps": steps, "rows": rows, "actions": actions, "batch_size": batch_size}
    for name, value in sizes.items():
        check_number("estimate", name, value, int)
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}.")
    if agent.spec.observation_shape != task.spec.observation_shape or agent.spec.action_size != task.spec.action_size:
        raise ValueError(f"The agent was built for {agent.spec}, and the task has {task.spec}: give its own task.")
    check_number("estimate", "seed", seed, int)
    check_seeds("seed", seed)
    config = judge_config(agent, judging_critic(critic) if isinstance(critic, str) else critic)
    key = jax.random.key(seed)
    train = recorded(some_trajectories(task.train, rows, seed), task)
    separate = task.validation is not None and longest(task.validation) >= agent.chunk
    held_out = task.validation if separate else task.train
    assert held_out is not None
    diagnostics = diagnose(
        agent,
        task.train,
        held_out,
        separate=separate,
        actions=actions,
        interrupt=interrupt,
        key=named_key(key, "diagnostics"),
    )
    states = States.of(train)
    drawn = max(actions, next_actions(config, agent.spec))
    own = policy_actions(agent, states, drawn, progress=progress, interrupt=interrupt, key=named_key(key, "actions"))
    fitted = FittedQ(
        agent, train, own, config=config, members=members, steps=steps, batch_size=batch_size, key=named_key(key, "fit")
    )
    starts, returns, unseen = starts_of(task, agent.discount)
    others = evenly_spaced(len(held_out), min(STARTS, len(held_out)))
    places = np.concatenate([starts, held_out.observation[others]])
    there = policy_actions(agent, places, max(actions, 16), interrupt=interrupt, key=named_key(key, "starts"))

    with Bar(total=steps, desc="fitting critics", unit="update", disable=not progress) as bar:
        fitted.fit(max(steps * 3 // 4, 1), bar=bar, interrupt=interrupt)
        before = fitted.values(places, there)[:, : len(starts)].mean()
        if steps > 1:
            fitted.fit(steps, bar=bar, interrupt=interrupt)
    values = fitted.values(places, there)
    return ValueEstimate(
        values=values[:, : len(starts)],
        state_values=values[:, len(starts) :].mean(1),
        returns=returns,
        drift=float(values[:, : len(starts)].mean() - before),
        steps=steps,
        discount=agent.discount,
        held_out=unseen,
        diagnostics=diagnostics,
    )


def longest(data: Batch) -> int:
    """The number of transitions of the longest trajectory."""
    return int(np.diff(np.flatnonzero(data.extras["trajectory_end"]), prepend=-1).max())


def starts_of(task: Task, discount: float) -> tuple[np.ndarray, np.ndarray, bool]:
    """The observations at which trajectories start, the discounted returns from there, and whether all of them are held
    out. Where too few are, those of the training data count, too."""
    held_out = [] if task.validation is None else [task.validation]
    separate = sum(int(np.sum(data.extras["trajectory_end"])) for data in held_out) >= FEWEST
    observations, returns = [], []
    for data in held_out if separate else [*held_out, task.train]:
        ends = np.asarray(data.extras["trajectory_end"]) != 0
        rows = np.flatnonzero(np.append(True, ends[:-1]))
        rows = rows[evenly_spaced(len(rows), min(STARTS, len(rows)))]
        observations.append(data.observation[rows])
        returns.append(discounted_returns(recorded(data, task), discount)[rows])
    return np.concatenate(observations), np.concatenate(returns), separate


def recorded(data: Batch, task: Task) -> Batch:
    """The data with the rewards as they were recorded."""
    return dataclasses.replace(data, reward=task.rewards.undone(np.asarray(data.reward)))


def some_trajectories(data: Batch, rows: int, seed: int) -> Batch:
    """At most so many transitions, of trajectories drawn at random."""
    if len(data) <= rows:
        return data
    ends = np.flatnonzero(data.extras["trajectory_end"])
    lengths = np.diff(ends, prepend=-1)
    drawn = np.random.default_rng(seed).permutation(len(ends))
    drawn = drawn[np.cumsum(lengths[drawn]) <= rows]
    if len(drawn) > 0:
        return data[np.isin(np.searchsorted(ends, np.arange(len(data))), drawn)]
    part = data[:rows]  # one trajectory is longer than that
    cut = np.asarray(part.extras["trajectory_end"]).copy()
    cut[-1] = 1.0
    return dataclasses.replace(part, extras={**part.extras, "trajectory_end": cut})

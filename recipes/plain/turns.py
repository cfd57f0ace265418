"""The variants that `benchmark.py` compares. Each is a turn: it runs for a while and returns its rate."""

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import deflow
from deflow.behaviour import States, behaviour_digest, proposal_source
from deflow.replay import AbstractSource, Dataset
from deflow.training import Precision
from deflow.training.updates import FusedUpdates

from .loop import plain_policy, plain_updates

Turn = Callable[[], float]
"""Runs one variant for a while and returns its updates per second (of one seed), calls or GFLOP per second."""

SPEC = deflow.Spec(observation_shape=(28,), action_size=5)  # cube-single
COLUMNS = ("observation", "action", "reward", "mask", "next_observation")


def random_data(rows: int) -> deflow.Batch:
    """One trajectory of the right shapes: speed does not depend on its values."""
    generator = np.random.default_rng(0)
    observation = generator.normal(size=(rows + 1, SPEC.observation_size)).astype(np.float32)
    action = generator.uniform(-1, 1, size=(rows, SPEC.action_size)).astype(np.float32)
    ones = np.ones(rows, np.float32)
    ends = (np.arange(rows) == rows - 1).astype(np.float32)
    return deflow.Batch(observation[:-1], action, -ones, ones, observation[1:], {"trajectory_end": ends})


def product_turn(options: Any) -> Turn:
    """The machine's own rate: a product of the solve's size, in float32."""
    left, right = jnp.ones((2 * options.batch_size, options.width)), jnp.ones((options.width, options.width))

    @jax.jit
    def products(left):
        with jax.default_matmul_precision("float32"):
            return jax.lax.fori_loop(0, 100, lambda _, x: x @ right * 1e-3, left)

    gflop = 100 * 2 * left.shape[0] * options.width**2 / 1e9

    def run() -> None:
        jax.block_until_ready(products(left))

    return lambda: gflop * calls_per_second(run, options.seconds / 3)


def fused_turn(
    options: Any,
    data: deflow.Batch,
    precision: Precision = "float32",
    *,
    algorithm: deflow.agent.AlgorithmName = "deflow",
    seeds: int | None = None,
    frozen: bool = False,
    proposals: int = 0,
    **numbers: Any,
) -> Turn:
    """The fused training: everything on the device, many updates per dispatch; with `proposals`, no solve in them.
    `numbers` are fields of the agent's configuration, or of its critic's."""
    key = jax.random.key(0) if seeds is None else jax.random.split(jax.random.key(0), seeds)
    config = lever_config(options, algorithm, **numbers)
    learner = deflow.Learner.create(config, SPEC, key=key)
    learner = learner.freeze_field() if frozen or proposals else learner
    source = proposed(learner.seed(0).agent, data, proposals) if proposals else Dataset(data.on_device())
    updates = FusedUpdates(learner, batch_size=options.batch_size, precision=precision)
    count = 10 if jax.default_backend() == "cpu" else 200

    def run() -> None:
        jax.block_until_ready(updates(source, count, key))

    return lambda: count * calls_per_second(run, options.seconds)


def proposed(agent: deflow.Agent, data: deflow.Batch, count: int) -> AbstractSource:
    """The source of updates that need no solve."""
    states, given = States.of(data), [random_proposals(agent, data, count)]
    return proposal_source(agent, states, given, batch_size=1, keys=lambda *_: jax.random.key(0)[None])(0, 1)


def random_proposals(agent: deflow.Agent, data: deflow.Batch, count: int) -> deflow.Proposals:
    """Proposals that no flow has made: speed does not depend on their values."""
    states = States.of(data)
    generator = np.random.default_rng(1)
    actions = generator.uniform(-1, 1, size=(len(states), count, agent.action_size)).astype(np.float32)
    return deflow.Proposals(actions, jax.random.key(0), behaviour_digest(agent), states.digest)


def lever_config(options: Any, algorithm: deflow.agent.AlgorithmName, **numbers: Any) -> deflow.AgentConfig:
    """The algorithm at the benchmark's sizes, with these numbers of the agent or of its critic."""
    config = deflow.agent_config(algorithm, width=options.width, depth=options.depth)
    of_critic = {name: numbers.pop(name) for name in tuple(numbers) if hasattr(config.critic, name)}
    return dataclasses.replace(config, critic=dataclasses.replace(config.critic, **of_critic), **numbers)


def acting_turn(options: Any, data: deflow.Batch, observations: int, **numbers: Any) -> Turn:
    """Actions of a policy for one observation or a batch, as a user calls it: calls per second."""
    agent = deflow.Learner.create(lever_config(options, "deflow", **numbers), SPEC, key=jax.random.key(0)).agent
    asked, key = data.observation[0] if observations == 1 else data.observation[:observations], jax.random.key(0)

    def run() -> None:
        jax.block_until_ready(agent(asked, key=key))

    return lambda: calls_per_second(run, options.seconds / 3)


def plain_acting_turn(options: Any, data: deflow.Batch, observations: int) -> Turn:
    """The same by the plain code."""
    act = plain_policy(SPEC.observation_size, SPEC.action_size, width=options.width, depth=options.depth)
    asked, key = np.asarray(data.observation[:observations]), jax.random.key(0)

    def run() -> None:
        jax.block_until_ready(act(asked, key))

    return lambda: calls_per_second(run, options.seconds / 3)


def plain_turn(options: Any, data: deflow.Batch, algorithm: str) -> Turn:
    """The plain loop, which shares no code with deflow."""
    columns = {name: np.asarray(getattr(data, name)) for name in COLUMNS}
    sizes = {"width": options.width, "depth": options.depth, "batch_size": options.batch_size}
    once = plain_updates(algorithm, columns, **sizes)
    return lambda: calls_per_second(once, options.seconds)


def calls_per_second(run: Callable[[], object], seconds: float) -> float:
    """How often `run` can be called; the first call, which may compile, is not counted."""
    if run not in _warm:
        run()
        _warm.add(run)
    calls, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        run()
        calls += 1
    return calls / (time.perf_counter() - start)


_warm: set[Callable[[], object]] = set()

"""Estimates: values against exact ones of a small problem, diagnostics against NumPy, and what is refused."""

import dataclasses
import math
import threading

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import deflow
from deflow import critics
from deflow.behaviour import States
from deflow.data.rewards import RewardScale
from deflow.errors import EstimationError, EvaluationInterrupted, UnknownNameError
from deflow.estimation import ValueEstimate, judging_critic
from deflow.estimation.diagnostics import diagnose, discounted_returns, distances, share_at_bounds
from deflow.estimation.estimate import recorded, some_trajectories, starts_of
from deflow.estimation.fitted_q import CRITIC, FittedQ, judge_config, values_of
from deflow.estimation.policy_actions import policy_actions
from deflow.estimation.value_estimate import Diagnostics
from deflow.progress import Bar
from deflow.types import Batch, Spec

DISCOUNT = 0.8
CELLS = 5
"""A corridor: an action moves one cell to its side, and the way out is on the right. A step costs its cell's number."""


def corridor(trajectories=80, seed=0):
    """Transitions of random walks of at most 8 steps; the observation is the cell, as one number per cell."""
    random, rows = np.random.default_rng(seed), []
    for _ in range(trajectories):
        cell = random.integers(CELLS)
        for step in range(8):
            action = random.uniform(-1, 1)
            following, reward, out = move(cell, action)
            rows.append((cell, action, reward, not out, following, out or step == 7))
            cell = following
            if out:
                break
    here, action, reward, mask, following, end = map(np.array, zip(*rows, strict=True))
    cells = np.eye(CELLS, dtype=np.float32)
    return Batch(
        cells[here],
        action[:, None].astype(np.float32),
        reward.astype(np.float32),
        mask.astype(np.float32),
        cells[following],
        {"trajectory_end": end.astype(np.float32)},
    )


def move(cell, action):
    """The next cell, the reward, and whether that was the way out."""
    out = cell == CELLS - 1 and action > 0
    return (cell if out else int(np.clip(cell + (1 if action > 0 else -1), 0, CELLS - 1))), -1.0 - cell, out


def exact(action, discount=DISCOUNT):
    """The value of always taking this action, in each cell, from the linear equations V = r + discount * P V."""
    transition, reward = np.zeros((CELLS, CELLS)), np.zeros(CELLS)
    for cell in range(CELLS):
        following, reward[cell], out = move(cell, action)
        transition[cell, following] += not out
    return np.linalg.solve(np.eye(CELLS) - discount * transition, reward)


def agent_of(data, algorithm="flow-bc", **parts):
    config = deflow.agent_config(algorithm, width=8, depth=1, solver=deflow.solvers.Euler(steps=1), **parts)
    config = dataclasses.replace(config, discount=DISCOUNT)
    spec = Spec(data.observation.shape[1:], data.action.shape[1])
    return config.build(spec, data, key=jax.random.key(0))


def fitted(data, agent, action, *, steps=3000, members=2, critic=None):
    """The values in all cells of a policy that always takes one action."""
    critic = critic or critics.EnsembleCriticConfig(members=1, width=64, depth=2, target_rate=0.05)
    size = agent.execute * agent.spec.action_size
    actions = np.full((len(States.of(data)), 8, size), action, np.float32)
    config = judge_config(agent, critic)
    judges = FittedQ(
        agent, data, actions, config=config, members=members, steps=steps, batch_size=64, key=jax.random.key(1)
    )
    with Bar(disable=True) as bar:
        judges.fit(steps, bar=bar)
    return judges.values(np.eye(CELLS, dtype=np.float32), np.full((CELLS, 1, size), action, np.float32))


@pytest.fixture(scope="module")
def walks():
    return corridor()


@pytest.mark.parametrize("action", [0.5, -0.5])
def test_values_are_those_of_the_linear_equations(walks, action):
    found = fitted(walks, agent_of(walks), action)
    assert found.shape == (2, CELLS)
    np.testing.assert_allclose(found, np.broadcast_to(exact(action), found.shape), rtol=0.08)
    assert not np.array_equal(found[0], found[1])  # independent critics


def test_a_chunk_is_judged_as_the_actions_that_are_executed_together(walks):
    found = fitted(walks, agent_of(walks, chunk=3, execute=2), 0.5)
    odd = slice(1, None, 2)  # from even cells a pair of steps ends before the way out, of which there are no windows
    np.testing.assert_allclose(found[:, odd], np.broadcast_to(exact(0.5)[odd], (2, 2)), rtol=0.12)


def test_values_are_in_the_units_of_the_rewards(walks):
    agent = agent_of(walks)
    one = fitted(walks, agent, 0.5, steps=20)
    thousand = fitted(dataclasses.replace(walks, reward=walks.reward * 1024), agent, 0.5, steps=20)
    np.testing.assert_allclose(thousand, one * 1024, rtol=1e-6)
    nothing = fitted(dataclasses.replace(walks, reward=walks.reward * 0), agent, 0.5, steps=20)
    assert np.isfinite(nothing).all()


def test_every_critic_that_looks_at_next_actions_judges(walks):
    agent = agent_of(walks)
    for name in critics.registry:
        critic = judging_critic(name)
        if name in ("none", "expectile"):
            with pytest.raises(ValueError, match="cannot judge one: choose 'ensemble'"):
                fitted(walks, agent, 0.5, critic=critic, steps=2)
            continue
        assert np.isfinite(fitted(walks, agent, 0.5, critic=critic, steps=2)).all(), name
    assert judging_critic("ensemble") == CRITIC
    with pytest.raises(UnknownNameError, match="ensemble"):
        judging_critic("ensembel")


def test_divergence_is_said(walks):
    wild = dataclasses.replace(walks, reward=np.where(np.arange(len(walks)) == 3, np.nan, walks.reward))
    with pytest.raises(EstimationError, match="diverged at update"):
        fitted(wild, agent_of(walks), 0.5, steps=200)


def test_the_policys_actions_are_its_own_whatever_the_block(walks, monkeypatch):
    agent, key = agent_of(walks), jax.random.key(3)
    states = States.of(walks)
    found = policy_actions(agent, states, 2, key=key)
    assert found.shape == (len(states), 2, 1)
    for number in (0, 7, len(states) - 1):
        keys = jax.random.split(jax.random.fold_in(key, number), 2)
        observation = jnp.asarray(states.observations(number, number + 1)[0])
        wanted = [agent.act(observation, key=each) for each in keys]
        np.testing.assert_allclose(found[number], np.stack(wanted), atol=1e-6)
    monkeypatch.setattr("deflow.estimation.policy_actions.ROWS", 2 * 37)
    np.testing.assert_allclose(policy_actions(agent, states, 2, key=key), found, atol=1e-6)
    chunks = agent_of(walks, chunk=3, execute=2)
    assert policy_actions(chunks, walks.observation[:5], 1, key=key).shape == (5, 1, 2)
    stop = threading.Event()
    stop.set()
    with pytest.raises(EvaluationInterrupted):
        policy_actions(agent, states, 2, key=key, interrupt=stop)


def test_returns_that_followed():
    data = Batch(
        *(np.zeros((6, 1), np.float32), np.zeros((6, 1), np.float32)),
        *(np.array([1, 2, 3, 4, 5, 6], np.float32), np.array([1, 1, 0, 1, 1, 1], np.float32)),
        np.zeros((6, 1), np.float32),
        {"trajectory_end": np.array([0, 0, 1, 0, 1, 1], np.float32)},
    )
    seen = [1 + 0.5 * (2 + 0.5 * 3), 2 + 0.5 * 3, 3, 4 + 0.5 * 5, 5, 6]
    np.testing.assert_allclose(discounted_returns(data, 0.5), seen)
    rest = [9.0, 100.0, 8.0]  # after the first trajectory nothing counts, since it terminated
    whole = [1 + 0.5 * (2 + 0.5 * 3), 2 + 0.5 * 3, 3, 4 + 0.5 * (5 + 0.5 * 100), 5 + 0.5 * 100, 6 + 0.5 * 8]
    np.testing.assert_allclose(discounted_returns(data, 0.5, rest=np.array(rest)), whole)


@pytest.mark.parametrize("separate", [True, False])
def test_distances_by_hand(separate):
    random = np.random.default_rng(0)
    make = lambda rows: Batch(  # noqa: E731
        random.normal(size=(rows, 3)).astype(np.float32),
        random.uniform(-1, 1, (rows, 2)).astype(np.float32),
        np.zeros(rows, np.float32),
        np.ones(rows, np.float32),
        random.normal(size=(rows, 3)).astype(np.float32),
        {"trajectory_end": (np.arange(rows) % 10 == 9).astype(np.float32)},
    )
    train, rows = make(50), np.array([3, 17, 44])
    queries = make(3) if separate else train[rows]
    actions = random.uniform(-1, 1, (3, 4, 2)).astype(np.float32)
    flow = actions[:, ::-1] * 0.5
    found = distances(train, queries, [actions, flow], None if separate else rows)
    points = np.concatenate([train.observation, queries.observation]) if separate else train.observation
    scale, policy, own, flows = points.std(0), [], [], []
    for index, query in enumerate(queries.observation):
        away = np.linalg.norm((train.observation - query) / scale, axis=1)
        if not separate:
            away[rows[index] // 10 * 10 : rows[index] // 10 * 10 + 10] = np.inf  # its own trajectory
        near = train.action[np.argsort(away)[:10]]
        policy += [np.square(near - action).mean(1).min() for action in actions[index]]
        flows += [np.square(near - action).mean(1).min() for action in flow[index]]
        own.append(np.square(near - queries.action[index]).mean(1).min())
    np.testing.assert_allclose(found, [math.sqrt(np.mean(each)) for each in (policy, own, flows)], rtol=1e-5)


def test_distances_that_do_not_exist(walks):
    alone = walks[:5]
    alone.extras["trajectory_end"] = np.array([0, 0, 0, 0, 1], np.float32)
    assert np.isnan(distances(alone, alone[:2], [alone.action[:2, None]] * 2, np.array([0, 1]))).all()
    pixels = dataclasses.replace(walks, observation=np.zeros((len(walks), 2, 2, 1), np.uint8))
    assert np.isnan(distances(pixels, pixels[:2], [walks.action[:2, None]] * 2, None)).all()
    assert share_at_bounds(np.array([[1.0, -0.9995], [0.5, -0.99]])) == 0.5


def test_diagnostics_of_the_own_critic(walks):
    agent, key = agent_of(walks, "deflow"), jax.random.key(0)
    found = diagnose(agent, walks, walks, separate=False, actions=2, interrupt=None, key=key)
    values = values_of(agent.critic, walks.observation, walks.action[:, None])
    by_hand = [
        float(agent.critic.value(*map(jnp.asarray, row)))
        for row in zip(walks.observation[:3], walks.action[:3], strict=True)
    ]
    np.testing.assert_allclose(values[:3], by_hand, rtol=1e-5, atol=1e-6)
    assert found.critic_value == pytest.approx(values.mean(), rel=1e-4)
    assert found.td_error > 1  # the rewards are, and an untrained critic knows nothing of them
    assert -1 <= found.rank_correlation <= 1
    without = diagnose(agent_of(walks), walks, walks, separate=False, actions=2, interrupt=None, key=key)
    assert math.isnan(without.td_error)
    assert without.distance > 0


def test_the_interval_adds_two_variances():
    values = np.array([[1.0, 2.0, 3.0, 4.0], [2.0, 3.0, 5.0, 4.0], [1.5, 2.5, 3.5, 6.0]])
    estimate = made(values)
    members, starts = values.mean(1), values.mean(0)
    parts = np.array([members.var(ddof=1) / 3, starts.var(ddof=1) / 4])
    freedom = parts.sum() ** 2 / (parts[0] ** 2 / 2 + parts[1] ** 2 / 3)
    half = stats.t.ppf(0.975, freedom) * math.sqrt(parts.sum())
    assert estimate.interval == pytest.approx((values.mean() - half, values.mean() + half))
    assert np.isnan(made(values[:1]).interval).all()
    assert np.isnan(made(values[:, :1]).interval).all()
    assert made(np.ones((2, 2))).interval == (1.0, 1.0)


def made(values, **diagnostics):
    near = {"distance": 0.1, "data_distance": 0.1, "flow_distance": 0.1}
    every = {field.name: math.nan for field in dataclasses.fields(Diagnostics)} | near | diagnostics
    return ValueEstimate(values, values.mean(1), values[0], 0.0, 5, 0.9, True, Diagnostics(**every))


def test_what_speaks_against_an_estimate_is_said():
    assert made(np.ones((2, 3))).warnings == []
    away = made(np.ones((2, 3)), distance=0.8, data_distance=0.2, flow_distance=0.1)
    assert "4 times as far" in away.warnings[0]
    assert (away.supported, away.metrics()["estimate/supported"]) == (False, 0.0)
    assert made(np.ones((2, 3)), distance=0.21, data_distance=0.1, flow_distance=0.2).supported
    unknown = made(np.ones((2, 3)), distance=math.nan, data_distance=math.nan, flow_distance=math.nan)
    assert unknown.supported  # nobody knows
    assert "could not be measured" in unknown.warnings[0]
    astray = made(np.ones((2, 3)), distance=0.4, data_distance=0.1, flow_distance=0.41)
    assert "The behaviour's own actions are 4.1 times as far" in astray.warnings[0]
    moved = dataclasses.replace(made(np.ones((2, 3))), drift=0.06, held_out=False)
    assert "changed the value by 0.06. Give more updates than 5" in moved.warnings[0]
    assert "fewer than 10 trajectories are held out" in moved.warnings[1]
    alone = made(np.ones((1, 3)))
    assert "at least two critics" in alone.warnings[0]
    assert "value 1 at 3 held-out starts, 1 critic," in str(alone)


def test_rows_starts_and_units(walks):
    some = some_trajectories(walks, 100, seed=0)
    ends = np.flatnonzero(some.extras["trajectory_end"])
    assert len(some) <= 100
    assert ends[-1] == len(some) - 1
    assert some_trajectories(walks, len(walks), seed=0) is walks
    assert some_trajectories(walks, 3, seed=0).extras["trajectory_end"][-1] == 1
    task = task_of(walks, rewards=RewardScale(0.5, -2.0))
    np.testing.assert_allclose(recorded(task.train, task).reward, (walks.reward + 2.0) / 0.5, rtol=1e-6)
    np.testing.assert_allclose(task.rewards.undone(task.rewards(walks.reward)), walks.reward, rtol=1e-6)
    observations, returns, separate = starts_of(task_of(walks), DISCOUNT)
    first = np.flatnonzero(np.append(True, np.asarray(walks.extras["trajectory_end"])[:-1]))
    np.testing.assert_array_equal(observations, walks.observation[first])
    np.testing.assert_allclose(returns, discounted_returns(walks, DISCOUNT)[first])
    assert not separate
    held_out = task_of(walks, validation=corridor(12, seed=1))
    assert (len(starts_of(held_out, DISCOUNT)[0]), starts_of(held_out, DISCOUNT)[2]) == (12, True)
    few = task_of(walks, validation=corridor(3, seed=1))
    assert (len(starts_of(few, DISCOUNT)[0]), starts_of(few, DISCOUNT)[2]) == (3 + len(first), False)


def task_of(data, *, validation=None, rewards=RewardScale()):
    """The corridor as a task without an environment."""
    bounds = deflow.environments.ActionBounds((-1.0,), (1.0,), "given")
    provenance = deflow.data.Provenance(
        source="user", dataset="corridor", path="corridor.npz", sha256="0" * 64, rows=len(data)
    )
    spec = Spec((CELLS,), 1, horizon=8)
    return deflow.Task(None, spec, data, validation, provenance, bounds, rewards)


def test_an_estimate_tells_policies_apart_and_repeats(walks):
    task = task_of(walks, validation=corridor(12, seed=1))
    worth = {}
    for action in (0.9, -0.9):  # a policy that has learned nothing but where to go
        agent = agent_of(walks)
        still = jax.tree.map(lambda leaf: leaf * 0 if eqx.is_inexact_array(leaf) else leaf, agent.field)
        field = eqx.tree_at(lambda field: field.network.layers[-1].bias, still, jnp.full(1, 20.0 * action))
        agent = dataclasses.replace(agent, field=field)
        critic = critics.EnsembleCriticConfig(members=1, width=64, depth=2, target_rate=0.05)
        settings = {"critic": critic, "members": 2, "batch_size": 64, "progress": False}
        found = worth[action] = deflow.estimate(agent, task, steps=2000, **settings)
        assert found.values.shape == (2, 12)
        assert found.metrics().keys() >= {"estimate/value", "estimate/value.low", "estimate/td_error"}
        assert "2 critics" in str(found)
    once, again = (deflow.estimate(agent, task, steps=5, **settings) for _ in range(2))
    np.testing.assert_array_equal(once.values, again.values)
    starts = np.argmax(starts_of(task, DISCOUNT)[0], axis=1)
    for action, found in worth.items():
        np.testing.assert_allclose(found.values.mean(0), exact(action)[starts], rtol=0.15)


def test_held_out_trajectories_that_are_shorter_than_a_chunk(walks):
    short = some_trajectories(walks, 2, seed=0)
    agent = agent_of(walks, "deflow", chunk=3)
    found = deflow.estimate(agent, task_of(walks, validation=short), steps=1, members=1, progress=False)
    assert found.diagnostics.distance > 0
    assert np.isfinite(found.diagnostics.td_error)


def test_critics_by_name(walks):
    agent, task, small = agent_of(walks), task_of(walks), {"steps": 1, "members": 1, "progress": False}
    by_name = deflow.estimate(agent, task, critic="categorical", **small)
    assert by_name.value == deflow.estimate(agent, task, critic=judging_critic("categorical"), **small).value
    with pytest.raises(ValueError, match="expectile does not look at a policy's next actions"):
        deflow.estimate(agent, task, critic="expectile")
    with pytest.raises(ValueError, match="seed must be from 0 to"):
        deflow.estimate(agent, task, seed=-3)


@pytest.mark.parametrize("wrong", [{"members": 0}, {"steps": 0}, {"rows": 0}, {"actions": -1}, {"batch_size": 0}])
def test_numbers_that_are_too_small(walks, wrong):
    with pytest.raises(ValueError, match="must be at least 1"):
        deflow.estimate(agent_of(walks), task_of(walks), **wrong)


def test_another_task_is_refused(walks):
    agent = deflow.agent_config("flow-bc", width=8, depth=1).build(Spec((3,), 1), key=jax.random.key(0))
    with pytest.raises(ValueError, match="give its own task"):
        deflow.estimate(agent, task_of(walks))

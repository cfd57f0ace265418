"""Chunks of actions: which windows there are, what is learned from them, and how they are executed."""

import dataclasses
import math

import equinox as eqx
import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small import SPEC

import deflow
from deflow import ALGORITHMS, Batch, Learner, agent_config, draw_proposals, solvers, train_offline
from deflow.behaviour import HeldOutLoss, States
from deflow.behaviour.source import proposal_source
from deflow.data.chunks import chunk_rows, chunked
from deflow.testing import example_data
from deflow.training.updates import batch_keys

KEY = jax.random.key(4)
A = SPEC.action_size
CHUNKED = [name for name in ALGORITHMS if agent_config(name).chunk > 1]


def data(seed=0, size=200, ends=0.1, solved=0.1):
    """Trajectories of random lengths, which go on after the task was solved."""
    random = np.random.default_rng(seed)
    terminal = (random.random(size) < ends).astype(np.float32)
    mask = (random.random(size) >= solved).astype(np.float32)
    rows = example_data(SPEC, size)
    following = np.where(terminal[:, None] != 0, rows.next_observation, np.roll(rows.observation, -1, axis=0))
    return dataclasses.replace(
        rows, next_observation=following.astype(np.float32), mask=mask, extras={"trajectory_end": terminal}
    )


def config(algorithm="deflow-chunked", **parts):
    return agent_config(algorithm, width=8, depth=1, solver=solvers.Euler(steps=2), **parts)


def arrays(tree):
    return jax.tree.leaves(eqx.filter(tree, eqx.is_array))


# --- which windows there are


def windows(batch: Batch, length: int, discount: float):
    """(start, reward, factor of the value that follows, last row) of each window, as the definition reads."""
    ends = np.asarray(batch.extras["trajectory_end"], bool)
    for start in range(len(batch) - length + 1):
        if ends[start : start + length - 1].any():
            continue  # it would run into the next trajectory
        total, factor = 0.0, 1.0
        for row in range(start, start + length):
            total += factor * float(batch.reward[row])
            factor *= discount * float(batch.mask[row])
            if batch.mask[row] == 0:
                break
        yield start, total, factor, start + length - 1


@pytest.mark.parametrize("length", [2, 5, 9])
def test_windows_against_a_loop(length):
    batch, discount = data(), 0.9
    found = chunked(batch, length, discount=discount)
    starts, totals, factors, lasts = map(np.array, zip(*windows(batch, length, discount), strict=True))
    assert 0 < len(starts) < len(batch) - length + 1
    np.testing.assert_array_equal(found.observation, batch.observation[starts])
    np.testing.assert_allclose(found.reward, totals, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(discount * found.mask, factors, rtol=1e-5)
    goes_on = factors > 0
    assert not goes_on.all()
    np.testing.assert_array_equal(found.next_observation[goes_on], batch.next_observation[lasts[goes_on]])
    last = found.extras["trajectory_end"] == 1  # no window of the same trajectory follows
    np.testing.assert_array_equal(last, [start + 1 not in starts for start in starts])
    for start, action in zip(starts, found.action, strict=True):
        np.testing.assert_array_equal(action, batch.action[start : start + length].ravel())


@pytest.mark.parametrize("rows", [2, 3, 4])
def test_fewer_transitions_than_a_chunk(rows):
    ends = np.arange(rows) == rows - 1
    data = dataclasses.replace(example_data(SPEC, rows), extras={"trajectory_end": ends.astype(np.float32)})
    with pytest.raises(ValueError, match="No trajectory in the data has 5 transitions"):
        chunk_rows(data, 5)


def test_windows_of_a_real_set(data_dir):
    """Of trajectories that OGBench's oracle played: each window lies in one of them, and no step of it is missing."""
    task = deflow.load_task(
        "cube-single-play-singletask-task2-v0", deflow.Collected(rows=1000), data_dir=data_dir, workers=1
    )
    pair = jax.tree.map(lambda column: np.concatenate([column, column]), task.train)  # two trajectories
    found = chunked(pair, 5, discount=0.99)
    assert len(found) == 2 * (1000 - 4)
    first, last = chunk_rows(pair, 5)
    np.testing.assert_array_equal(first // 1000, last // 1000)
    np.testing.assert_array_equal(found.next_observation[found.mask > 0], pair.next_observation[last][found.mask > 0])
    states = States.of(pair)
    goes_on = found.mask > 0
    np.testing.assert_array_equal(states.following[last][goes_on], states.here[first][goes_on] + 5)
    unsolved = pair.mask[first].astype(bool) & (found.mask > 0)
    expected = np.sum([0.99**step * pair.reward[first + step] for step in range(5)], axis=0)
    np.testing.assert_allclose(found.reward[unsolved], expected[unsolved], rtol=1e-5)


def test_data_without_a_window_is_refused():
    batch = data()
    with pytest.raises(ValueError, match=r"Chunks of 5 actions need to know where trajectories end: .* or use chunk=1"):
        chunked(dataclasses.replace(batch, extras={}), 5, discount=0.9)
    short = dataclasses.replace(batch, extras={"trajectory_end": np.tile([0, 1], 100)})
    assert len(chunked(short, 2, discount=0.9)) == 100
    with pytest.raises(ValueError, match="No trajectory in the data has 3 transitions, so there is no chunk"):
        chunked(short, 3, discount=0.9)


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"chunk": 0}, "chunk must be at least 1, got 0"),
        ({"execute": 6}, "execute must be from 1 to the chunk's length 5, got 6"),
        ({"execute": 0}, "execute must be from 1 to the chunk's length 5, got 0"),
        (
            {"n_step": 3},
            "A chunk of 5 actions has the rewards of its own steps.* got 3-step ones",
        ),
    ],
)
def test_numbers_that_do_not_fit(numbers, message):
    with pytest.raises(ValueError, match=message):
        config(**numbers)


# --- what is learned from them


@pytest.mark.parametrize("name", CHUNKED)
def test_a_chunk_is_learned_as_an_action_of_so_many_numbers(name):
    """The loss, its gradient and acting are those of a row without chunks whose actions have h * A coordinates, whose
    formulas are tested against NumPy."""
    batch = data()
    of_row = config(name, target_candidates=3 if name == "qc" else 1, candidates=3 if name == "qc" else 1)
    learner = Learner.create(of_row, SPEC, batch, key=KEY)
    agent, transitions = learner.agent, learner.agent.with_returns(batch)[:16]
    assert transitions.action.shape == (16, 5 * A)
    wide = dataclasses.replace(SPEC, action_size=5 * A)
    plain = Learner.create(dataclasses.replace(of_row, chunk=1), wide, transitions, key=KEY)
    for one, other in zip(*map(arrays, (learner, plain)), strict=True):
        np.testing.assert_array_equal(one, other)
    after, metrics = learner.update(transitions.on_device(), key=KEY)
    same, expected = plain.update(transitions.on_device(), key=KEY)
    np.testing.assert_allclose(metrics["loss"], expected["loss"], rtol=1e-6)
    for one, other in zip(*map(arrays, (after, same)), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    action = agent(batch.observation[0], key=KEY)
    assert action.shape == (5, A)
    np.testing.assert_allclose(action.ravel(), plain.agent(batch.observation[0], key=KEY), atol=1e-6)
    two = dataclasses.replace(agent, execute=2)
    np.testing.assert_allclose(two(batch.observation[0], key=KEY), action[:2], atol=1e-6)
    assert two(batch.observation[:3], key=KEY).shape == (3, 2, A)


def test_the_target_of_a_chunk():
    """Five rewards, each discounted once more, and the value five steps later, by hand."""
    batch = dataclasses.replace(data(size=5, ends=0, solved=0), reward=np.array([1, 2, 3, 4, 5], np.float32))
    agent = Learner.create(config(discount=0.5), SPEC, batch, key=KEY).agent
    only = agent.with_returns(batch)
    assert len(only) == 1
    np.testing.assert_allclose(only.reward[0], 1 + 2 / 2 + 3 / 4 + 4 / 8 + 5 / 16)
    np.testing.assert_allclose(0.5 * only.mask[0], 1 / 32)  # the critic multiplies by the discount itself
    np.testing.assert_array_equal(only.next_observation[0], batch.next_observation[4])


def test_from_proposals():
    """Those of a window are of its own first state, and of the state that follows its last step; host and device draw
    the same."""
    batch, names = data(), ("device", "host")
    learner = Learner.create(config(chunk=3), SPEC, batch, key=KEY).freeze_field()
    proposals = draw_proposals(learner.agent, batch, 4, key=KEY, progress=False)
    states = States.of(batch)
    assert proposals.actions.shape == (len(states), 4, 3 * A)
    first, last = chunk_rows(batch, 3)
    keys = batch_keys(KEY, jnp.arange(1))
    for placement in names:
        source = proposal_source(
            learner.agent, states, [proposals], batch_size=32, keys=lambda *_: keys, placement=placement
        )(0, 1)
        drawn = source.sample(32, jnp.asarray(0), key=keys[0])
        starts = np.array(
            [np.flatnonzero((batch.observation == row).all(1))[0] for row in np.asarray(drawn.observation)]
        )
        np.testing.assert_array_equal(drawn.proposals.number, states.here[starts])
        windows = np.searchsorted(first, starts)
        np.testing.assert_array_equal(drawn.proposals.next_number, states.following[last[windows]])
    ends = [
        list(train_offline(learner, batch, steps=5, key=KEY, batch_size=16, proposals=proposals, placement=placement))
        for placement in names
    ]
    for one, other in zip(*(arrays(rounds[-1][1]) for rounds in ends), strict=True):
        np.testing.assert_array_equal(one, other)
    assert np.isfinite(ends[0][-1][2]["value"])


def test_the_held_out_loss_is_that_of_windows():
    batch = data()
    agent = Learner.create(config(chunk=3), SPEC, batch, key=KEY).agent
    expected = agent.flow_loss(chunked(batch, 3, discount=0.99).on_device(), key=jax.random.key(0))
    np.testing.assert_allclose(HeldOutLoss(batch, chunk=3)(agent), expected, rtol=1e-5)


# --- how they are executed


class Echo(gymnasium.Env):
    """The observation is the number of steps so far; the reward is the first coordinate of the action."""

    def __init__(self):
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (1,), np.float32)
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.steps += 1
        return np.array([self.steps], np.float32), float(action[0]), False, self.steps == 7, {}


class Echoing:
    name = "echo"

    def make(self):
        return Echo()


@pytest.mark.parametrize("length", [1, 3])
def test_the_actions_of_a_chunk_are_executed_one_after_another(length):
    """A policy that returns 0.01 x (the step it was asked at) + 0.1 x (place in the chunk), seven steps: with chunks of
    three it is asked at 0, 3 and 6, and what is left of the last one is dropped when the episode ends."""

    def policy(observation, *, key):
        chunk = 0.01 * observation[0] + 0.1 * jnp.arange(length, dtype=jnp.float32)
        actions = jnp.stack([chunk, jnp.zeros(length)], axis=1)
        return actions if length > 1 else actions[0]

    with deflow.Evaluator(Echoing(), workers=1) as evaluator:
        result = evaluator(policy, episodes=2, seed=0)
    asked = [step - step % length for step in range(7)]
    expected = sum(0.01 * at + 0.1 * (step - at) for step, at in enumerate(asked))
    np.testing.assert_allclose(result.returns, [expected] * 2, rtol=1e-5)
    assert math.isclose(expected, 0.21 if length == 1 else 0.03 * 3 + 0.06 + 2 * 0.3, rel_tol=1e-6)

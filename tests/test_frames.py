"""Stacked frames: each is stored once, and batches are what stacking all of them plainly in NumPy would give."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from deflow import Spec, agent_config
from deflow.behaviour import States
from deflow.data import stack_frames
from deflow.data.chunks import chunked
from deflow.data.n_step import n_step_returns
from deflow.encoders import ImpalaSmallConfig
from deflow.errors import DataError
from deflow.frames import Frames
from deflow.replay import Dataset, make_replay
from deflow.training import Learner, train_offline
from deflow.types import Batch

KEY = jax.random.key(0)
LENGTHS = (1, 2, 7, 5)
SPEC = Spec((8, 8, 6), 2, "uint8")


def episodes(lengths=LENGTHS, shape=(8, 8, 2)):
    """Single images: (data, its episodes' frames)."""
    random = np.random.default_rng(0)
    shown = [random.integers(0, 256, (length + 1, *shape), np.uint8) for length in lengths]
    rows = sum(lengths)
    ends = np.zeros(rows, np.float32)
    ends[np.cumsum(lengths) - 1] = 1
    data = Batch(
        observation=np.concatenate([frames[:-1] for frames in shown]),
        action=random.uniform(-1, 1, (rows, 2)).astype(np.float32),
        reward=random.normal(size=rows).astype(np.float32),
        mask=np.ones(rows, np.float32),
        next_observation=np.concatenate([frames[1:] for frames in shown]),
        extras={"trajectory_end": ends},
    )
    return data, shown


def plainly(data, shown, count):
    """The same transitions with every stack written out."""
    stacks = []
    for frames in shown:
        padded = np.concatenate([frames[:1]] * (count - 1) + [frames])
        stacks.append(np.concatenate([padded[k : k + len(frames)] for k in range(count)], axis=-1))
    return dataclasses.replace(
        data,
        observation=np.concatenate([each[:-1] for each in stacks]),
        next_observation=np.concatenate([each[1:] for each in stacks]),
    )


def same(one, other):
    assert jax.tree.structure(one) == jax.tree.structure(other)
    for left, right in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        assert (left.shape, left.dtype) == (right.shape, right.dtype)
        np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize("count", [1, 3, 4])
def test_stacks_against_numpy(count):
    data, shown = episodes()
    known, wanted = stack_frames(data, count), plainly(data, shown, count)
    same(known.stacked(), wanted)
    assert known.observation.shape == wanted.observation.shape
    assert len(known.observation) == len(data)
    np.testing.assert_array_equal(np.asarray(known.observation[3:6]), wanted.observation[3:6])
    same(known[np.array([4, 0, 14])].stacked(), wanted[np.array([4, 0, 14])])


def test_every_frame_is_stored_once():
    """On the host and on the device: s' shares the array with s, and an episode has one frame more than transitions."""
    data, _ = episodes()
    known = stack_frames(data)
    assert known.observation.frames is known.next_observation.frames
    assert len(known.observation.frames) == sum(LENGTHS) + len(LENGTHS)
    moved = known.on_device()
    assert isinstance(moved.observation.frames, jax.Array)
    assert moved.observation.frames is moved.next_observation.frames


def test_sampled_inside_a_compiled_program():
    """The very batch that a dataset of written-out stacks gives, and the stacks are made from row numbers in it."""
    data, shown = episodes()
    known, wanted = Dataset(stack_frames(data).on_device()), Dataset(plainly(data, shown, 3).on_device())
    draw = jax.jit(lambda source, key: source.sample(6, jnp.asarray(0), key=key))
    for key in jax.random.split(KEY, 3):
        same(draw(known, key).columns, draw(wanted, key).columns)


@pytest.mark.parametrize(
    "prepared",
    [lambda data: n_step_returns(data, 3, discount=0.9), lambda data: chunked(data, 2, discount=0.9)],
    ids=["3-step returns", "chunks"],
)
def test_returns_and_chunks_keep_frames(prepared):
    data, shown = episodes()
    found = prepared(stack_frames(data))
    assert isinstance(found.next_observation, Frames)
    assert found.observation.frames is found.next_observation.frames
    same(found.stacked(), prepared(plainly(data, shown, 3)))


@pytest.mark.parametrize("placement", ["device", "host"])
def test_replay(placement):
    """Beside online transitions, whose stacks are in the ring."""
    data, shown = episodes()
    batches = []
    for dataset in (stack_frames(data), plainly(data, shown, 3)):
        replay = make_replay(dataset, SPEC, steps=8, placement=placement)
        online = plainly(data, shown, 3).columns[:4]
        for index in range(4):
            replay.insert(jax.tree.map(lambda column, index=index: column[None, None, index], online))
        source = replay.source(16, jax.random.split(KEY, 1))
        batches.append(
            jax.jit(lambda source: source.sample(16, jnp.asarray(0), key=jax.random.split(KEY, 1)[0]))(source)
        )
    same(*(batch.columns for batch in batches))


def test_states_are_the_frames():
    """What proposals are drawn for: as many states, numbered alike, with the same digest."""
    data, shown = episodes()
    known, wanted = States.of(stack_frames(data)), States.of(plainly(data, shown, 3))
    np.testing.assert_array_equal(known.here, wanted.here)
    assert known.digest == wanted.digest


def test_training_is_the_same():
    data, shown = episodes()
    config = agent_config(encoder=ImpalaSmallConfig(stacks=(2,), features=4), width=8, depth=1)
    agents = []
    for known in (stack_frames(data), plainly(data, shown, 3)):
        learner = Learner.create(config, SPEC, known, key=KEY)
        *_, (_, learner, _) = train_offline(learner, known, steps=2, batch_size=4, key=KEY)
        agents.append(learner.agent)
    for one, other in zip(*map(jax.tree.leaves, agents), strict=True):
        np.testing.assert_array_equal(one, other)


def test_what_is_refused():
    data, _ = episodes()
    with pytest.raises(ValueError, match="At least 1 frame is stacked, got 0"):
        stack_frames(data, 0)
    with pytest.raises(DataError, match="stacked already"):
        stack_frames(stack_frames(data))
    with pytest.raises(DataError, match=r"got observations of shape \(8, 8, 2\) and type float32: stack images only"):
        stack_frames(dataclasses.replace(data, observation=data.observation.astype(np.float32)))
    with pytest.raises(ValueError, match="Stacks of 3 frames need to know where trajectories end"):
        stack_frames(dataclasses.replace(data, extras={}))
    jumped = dataclasses.replace(data, extras={"trajectory_end": np.zeros(len(data), np.float32)})
    with pytest.raises(DataError, match="The image after transition 0 is not that of the next one"):
        stack_frames(jumped)

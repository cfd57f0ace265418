"""Replay: what is drawn from dataset and ring, how often, and that device and host draw the same."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from deflow import Batch, Spec, make_replay
from deflow.replay import choose_placement, replay_bytes, written_bytes
from deflow.training.updates import batch_key

SPEC = Spec((1,), 1)
KEY = jax.random.key(3)


def rows(start, count, lead=()):
    """Transitions that are numbered in every column."""
    numbers = np.broadcast_to(start + np.arange(count, dtype=np.float32), (*lead, count)).copy()
    if lead:
        numbers += 1000 * np.arange(lead[0], dtype=np.float32)[:, None]  # each seed's own
    return Batch(
        observation=numbers[..., None],
        action=numbers[..., None] / 2**20,
        reward=numbers,
        mask=np.ones_like(numbers),
        next_observation=numbers[..., None] + 0.5,
    )


def replay(dataset=6, *, slots=10, seeds=None, **settings):
    return make_replay(rows(0, dataset), SPEC, seeds=seeds, steps=slots, **settings)


def drawn(made, size=4000, updates=1, **more):
    """The numbers that the next update draws."""
    keys = jax.vmap(lambda update: batch_key(KEY, update))(jnp.arange(updates))
    source = made.source(size, keys, **more)
    batch = source.sample(size, jnp.asarray(0), key=keys[0])
    for column in ("observation", "next_observation", "action"):
        entry = np.asarray(getattr(batch, column))[:, 0]
        expected = {"observation": batch.reward, "next_observation": batch.reward + 0.5, "action": batch.reward / 2**20}
        np.testing.assert_array_equal(entry, np.asarray(expected[column]))
    return np.asarray(batch.reward).astype(int)


@pytest.fixture(params=["device", "host"])
def placement(request):
    return request.param


def test_starts_with_the_dataset_and_grows(placement):
    made = replay(placement=placement)
    assert set(drawn(made)) == set(range(6))
    made.insert(rows(100, 2, lead=(1,)))
    made.insert(rows(102, 1, lead=(1,)))
    counts = np.bincount(drawn(made), minlength=103)
    assert set(np.flatnonzero(counts)) == {*range(6), 100, 101, 102}
    assert counts[[*range(6), 100, 101, 102]].min() > 4000 / 9 * 0.8


@pytest.mark.parametrize("inserted", [3, 4, 5, 9, 10, 13, 25])
def test_the_ring_holds_the_newest_and_every_slot_is_drawn(placement, inserted):
    """A ring of 8 slots that starts with 6 rows, against a list of which the first are dropped."""
    made = replay(placement=placement, slots=25, capacity=8)
    for number in range(inserted):
        made.insert(rows(100 + number, 1, lead=(1,)))
    expected = [*range(6), *range(100, 100 + inserted)][-8:]
    counts = np.bincount(drawn(made, size=8000), minlength=200)
    assert set(np.flatnonzero(counts)) == set(expected)
    assert counts[expected].min() > 1000 * 0.8
    assert counts[expected].max() < 1000 * 1.2


def test_balanced_is_half_and_half_and_keeps_the_dataset(placement):
    made = replay(placement=placement, slots=25, capacity=4, sampling="balanced")
    for number in range(7):
        made.insert(rows(100 + number, 1, lead=(1,)))
    numbers = drawn(made, size=4000)
    assert (numbers < 100).sum() == 2000
    assert set(numbers) == {*range(6), 103, 104, 105, 106}


def test_device_and_host_draw_the_same_for_each_seed():
    for sampling in ("uniform", "balanced"):
        device, host = (replay(seeds=2, placement=p, sampling=sampling) for p in ("device", "host"))
        for made in (device, host):
            made.insert(rows(100, 3, lead=(2,)))
        keys = jax.random.split(KEY, (2, 2))  # updates, seeds
        for index in range(2):
            batches = [
                jax.vmap(
                    lambda source, key: source.sample(16, jnp.asarray(index), key=key),  # noqa: B023
                    in_axes=(source.axes, 0),
                )(source, keys[index])
                for source in (made.source(16, keys) for made in (device, host))
            ]
            for one, other in zip(*map(jax.tree.leaves, batches), strict=True):
                np.testing.assert_array_equal(one, other)
            numbers = np.asarray(batches[0].reward)
            assert set(numbers[0]) <= {*range(6), 100, 101, 102}
            assert set(numbers[1]) <= {*range(6), 1100, 1101, 1102}
            assert (numbers[1] > 1000).any()


def test_waits_exactly_where_a_draw_needs_what_is_not_there_yet(placement):
    made = replay(dataset=30, slots=40, placement=placement)
    made.insert(rows(100, 2, lead=(1,)))
    keys = jax.random.split(KEY, (12, 3))  # rounds, updates
    waits = made.waits(4, keys, made.inserted, 2)
    for number in range(12):
        new = {102 + 2 * number, 103 + 2 * number}
        made.insert(rows(102 + 2 * number, 2, lead=(1,)))
        source = made.source(4, keys[number])
        numbers = [source.sample(4, jnp.asarray(i), key=keys[number, i]).reward for i in range(3)]
        assert waits[number] == bool(new & set(np.concatenate(numbers).astype(int)))
    assert waits.any()
    assert not waits.all()


def test_expected_transitions_count_before_they_are_there(placement):
    early, late = (replay(dataset=30, slots=40, placement=placement) for _ in range(2))
    for made in (early, late):
        made.insert(rows(100, 5, lead=(1,)))
    expected = drawn(early, size=8, expected=1)
    late.insert(rows(105, 1, lead=(1,)))
    numbers = drawn(late, size=8)
    assert 105 not in numbers  # else this test says nothing
    np.testing.assert_array_equal(expected, numbers)


def test_state_and_restore(placement):
    made = replay(seeds=2, slots=4, capacity=7, placement=placement)
    for number in range(6):  # the online ring has wrapped
        made.insert(rows(100 + number, 1, lead=(2,)))
    states = [made.state(seed) for seed in range(2)]
    assert [len(state) for state in states] == [4, 4]
    made.insert(rows(777, 1, lead=(2,)))
    assert 777 not in states[0].reward  # a copy
    again = replay(seeds=2, slots=4, capacity=7, placement=placement)
    again.restore(states, 6)
    again.insert(rows(777, 1, lead=(2,)))
    for seed in range(2):
        np.testing.assert_array_equal(again.state(seed).reward, made.state(seed).reward)
    assert again.inserted == made.inserted == 7
    keys = jax.random.split(KEY, (1, 2))
    for one, other in zip(*(jax.tree.leaves(m.source(9, keys)) for m in (made, again)), strict=True):
        np.testing.assert_array_equal(one, other)


def test_writing_copies_nothing():
    """The device's arrays are written in place."""
    made = replay(slots=1000, placement="device")
    made.insert(rows(0, 1, lead=(1,)))
    before = made._online.observation.unsafe_buffer_pointer()
    made.insert(rows(1, 1, lead=(1,)))
    assert made._online.observation.unsafe_buffer_pointer() == before


def test_refuses():
    with pytest.raises(ValueError, match="capacity of 5 transitions is smaller than the dataset's 6"):
        replay(capacity=5)
    with pytest.raises(ValueError, match="at least 1, got 2000000 and 0"):
        replay(slots=0)


def test_placement_by_size():
    spec = Spec((28,), 5)
    assert replay_bytes(spec, 1_000_000) == 1_000_000 * 4 * (2 * 28 + 5 + 2)
    assert choose_placement(replay_bytes(spec, 2_000)) == "device"
    assert choose_placement(replay_bytes(spec, 10**12)) == "host"
    assert written_bytes(Spec((64, 64, 9), 5, "uint8"), 1) == 2 * 64 * 64 * 9 + 28

"""Chunks online: which windows of the ring are drawn, how chosen actions wait, and that a break changes nothing."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from drifting import Drifting

import deflow
from deflow import (
    Batch,
    Learner,
    ProposedReplay,
    Spec,
    agent_config,
    draw_proposals,
    make_replay,
    solvers,
    train_online,
)
from deflow.interaction.queue import ActionQueue
from deflow.replay import Chunks
from deflow.session import capture, resume
from deflow.testing import example_data
from deflow.training.updates import batch_keys

KEY = jax.random.key(5)


# --- which windows are drawn

NUMBERED = Spec((1,), 2)
DATASET = 7  # chunks


class History:
    """Random episodes of E environments for each of S seeds, as a list of everything that was ever inserted."""

    def __init__(self, seeds, environments, seed=0):
        self.random, self.shape = np.random.default_rng(seed), (seeds, environments)
        self.at = np.zeros(self.shape, np.float32)
        self.count, self.rounds = 0, []
        self._begin(np.ones(self.shape, bool))

    def _begin(self, where):
        """New episodes begin at numbers that no state has had."""
        fresh = 1000.0 * (1 + self.count + np.arange(self.at.size, dtype=np.float32).reshape(self.shape))
        self.at = np.where(where, fresh, self.at).astype(np.float32)
        self.count += self.at.size

    def step(self):
        """A transition of every environment; some end their episodes, some of those with the task solved."""
        ended, solved = self.random.random(self.shape) < 0.25, self.random.random(self.shape) < 0.3
        reward = self.random.normal(size=self.shape).astype(np.float32)
        action = self.random.uniform(-1, 1, (*self.shape, 2)).astype(np.float32)
        mask = np.where(ended & solved, 0.0, 1.0).astype(np.float32)
        following = self.at + 1
        made = Batch(
            self.at[..., None].copy(), action, reward, mask, following[..., None], {"trajectory_end": ended * 1.0}
        )
        self.rounds.append(made)
        self.at = following
        self._begin(ended)
        return made

    def windows(self, seed, length, slots, discount):
        """(observation, action, reward, mask, next observation) of every window that is in a ring of so many slots."""
        environments = self.shape[1]
        oldest = max(len(self.rounds) * environments - slots, 0)
        for first in range(len(self.rounds) - length + 1):
            for environment in range(environments):
                rounds = self.rounds[first : first + length]
                rows = [jax.tree.map(lambda column, e=environment: column[seed, e], made) for made in rounds]
                if first * environments + environment < oldest:
                    continue  # overwritten
                if any(row.extras["trajectory_end"] for row in rows[:-1]):
                    continue
                yield (
                    rows[0].observation[0],
                    np.concatenate([row.action for row in rows]),
                    sum(discount**k * row.reward for k, row in enumerate(rows)),
                    discount ** (length - 1) * rows[-1].mask,
                    rows[-1].next_observation[0],
                )


def numbered(count, length):
    """A dataset of chunks whose observations are negative numbers."""
    numbers = -1.0 - np.arange(count, dtype=np.float32)
    action = np.zeros((count, length * 2), np.float32)
    return Batch(numbers[:, None], action, numbers, np.ones_like(numbers), numbers[:, None] - 0.5)


def sampled(made, size=3000, seeds=None):
    keys = batch_keys(KEY, jnp.arange(1)) if seeds is None else batch_keys(jax.random.split(KEY, seeds), jnp.arange(1))
    source = made.source(size, keys)
    if seeds is None:
        return [source.sample(size, jnp.asarray(0), key=keys[0])]
    each = jax.vmap(lambda source, key: source.sample(size, jnp.asarray(0), key=key), in_axes=(source.axes, 0))
    batch = each(source, keys[0])
    return [jax.tree.map(lambda column, s=seed: column[s], batch) for seed in range(seeds)]


@pytest.mark.parametrize("placement", ["device", "host"])
@pytest.mark.parametrize(("seeds", "environments", "slots"), [(None, 1, 23), (None, 2, 13), (2, 2, 29), (2, 3, 1000)])
def test_exactly_the_whole_windows_are_drawn(placement, seeds, environments, slots):
    """Against a list of everything that happened: none across an episode's end or the place where the ring is written,
    none that was overwritten, and every other one equally often."""
    length, discount = 3, 0.9
    history = History(seeds or 1, environments)
    made = make_replay(
        numbered(DATASET, length), NUMBERED, seeds=seeds, steps=slots, capacity=slots + DATASET, placement=placement,
        chunks=Chunks(length, discount, environments),
    )  # fmt: skip
    checked = 0
    for round_ in range(40):
        made.insert(history.step())
        if round_ % 8 != 7 and round_ != 2:
            continue
        for seed, batch in enumerate(sampled(made, seeds=seeds)):
            expected = {row[0]: row for row in history.windows(seed, length, slots, discount)}
            online = np.asarray(batch.reward) != np.asarray(batch.observation[:, 0])
            starts, counts = np.unique(np.asarray(batch.observation)[online, 0], return_counts=True)
            assert set(starts) == set(expected)
            if len(counts):
                assert counts.min() > 3000 / (len(expected) + DATASET) * 0.4
            for row in range(200):
                if online[row]:
                    _, action, reward, mask, following = expected[float(batch.observation[row, 0])]
                    np.testing.assert_array_equal(batch.action[row], action)
                    np.testing.assert_allclose(batch.reward[row], reward, rtol=1e-5, atol=1e-6)
                    np.testing.assert_allclose(batch.mask[row], mask, rtol=1e-6)
                    assert float(batch.next_observation[row, 0]) == following
                    checked += 1
    assert checked > 200


def test_a_restored_ring_has_the_same_windows():
    history = History(2, 2)
    settings = {"seeds": 2, "steps": 29, "capacity": 29 + DATASET, "chunks": Chunks(3, 0.9, 2)}
    made, again = (make_replay(numbered(DATASET, 3), NUMBERED, **settings) for _ in range(2))
    for round_ in range(45):
        made.insert(history.step())
        if round_ in (3, 20):
            again.restore([made.state(seed) for seed in range(2)], made.inserted)
        elif round_ > 3:
            again.insert(history.rounds[-1])
    for one, other in zip(sampled(made, seeds=2), sampled(again, seeds=2), strict=True):
        np.testing.assert_array_equal(one.observation, other.observation)
        np.testing.assert_array_equal(one.reward, other.reward)


def test_restarted_environments_begin_a_new_trajectory():
    """No flag says so, but the state is another one."""
    made = make_replay(numbered(DATASET, 2), NUMBERED, steps=20, chunks=Chunks(2, 0.9, 1))
    row = lambda at: Batch(  # noqa: E731
        np.full((1, 1, 1), at, np.float32), np.zeros((1, 1, 2), np.float32), np.zeros((1, 1), np.float32),
        np.ones((1, 1), np.float32), np.full((1, 1, 1), at + 1, np.float32), {"trajectory_end": np.zeros((1, 1))},
    )  # fmt: skip
    for at in (10.0, 11.0, 50.0, 51.0):
        made.insert(row(at))
    starts = set(np.asarray(sampled(made)[0].observation[:, 0]).tolist())
    assert {at for at in starts if at > 0} == {10.0, 50.0}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"chunks": Chunks(3, 0.9)}, r"must have 3 x 2 numbers \(chunk x action size\), and the dataset's have 4"),
        ({"chunks": Chunks(2, 0.9, 8), "capacity": 12}, "no room for a chunk of 2 in each of 8 environment"),
    ],
)
def test_a_replay_that_cannot_hold_chunks_is_refused(change, message):
    settings = {"steps": 20, "chunks": Chunks(2, 0.9), **change}
    with pytest.raises(ValueError, match=message):
        make_replay(numbered(DATASET, 2), NUMBERED, **settings)
    with pytest.raises(ValueError, match="length and environments must be at least 1, got 0 and 1"):
        Chunks(0)


# --- how chosen actions wait


def test_actions_wait_in_order_and_end_with_the_episode():
    queue = ActionQueue(1, 2)
    assert queue.empty.all()
    assert queue.state() == {}
    chunk = np.arange(12, dtype=np.float32).reshape(1, 2, 3, 2)
    queue.fill(chunk)
    np.testing.assert_array_equal(queue.take(), chunk[:, :, 0])
    queue.clear(np.array([[True, False]]))
    assert queue.empty.tolist() == [[True, False]]
    queue.fill(chunk + 100)
    np.testing.assert_array_equal(queue.take(), [[chunk[0, 0, 0] + 100, chunk[0, 1, 1]]])
    other = ActionQueue(1, 2)
    other.restore(queue.state())
    for expected in ([chunk[0, 0, 1] + 100, chunk[0, 1, 2]],):
        np.testing.assert_array_equal(other.take(), [expected])
        np.testing.assert_array_equal(queue.take(), [expected])
    assert other.empty.tolist() == [[False, True]]
    other.fill(np.zeros((1, 2, 2)))  # one action at a time: nothing of the chunks is left
    np.testing.assert_array_equal(other.take(), np.zeros((1, 2, 2)))
    assert other.empty.all()


# --- training on real steps

SPEC = Spec((2,), 2, horizon=7)
DATA = dataclasses.replace(example_data(SPEC, 40), extras={"trajectory_end": (np.arange(40) % 10 == 9) * 1.0})
LENGTH = 3


@pytest.fixture(scope="module")
def alone():
    """One seed with two environments, and its beginning."""
    with deflow.Actors(Drifting(7), seeds=[3], environments=2) as actors:
        yield actors, actors.state()


@pytest.fixture(scope="module")
def together():
    """Two seeds with one environment each, and their beginning."""
    with deflow.Actors(Drifting(7), seeds=[3, 4]) as actors:
        yield actors, actors.state()


def learner(key=KEY, **numbers):
    numbers = {"chunk": LENGTH, "execute": 2, **numbers}
    config = agent_config("deflow-chunked", width=8, depth=2, solver=solvers.Euler(steps=2), **numbers)
    return Learner.create(config, SPEC, DATA, key=key)


def replay(begun, environments=2, *, steps=200, proposed=False, **settings):
    agent = begun.agent
    if proposed:
        drawn = draw_proposals(begun.agents[0], DATA, 3, key=KEY, progress=False)
        return ProposedReplay(agent, DATA, drawn, steps=steps, environments=environments, **settings)
    chunks = Chunks(agent.chunk, agent.discount, environments)
    return make_replay(agent.with_returns(DATA), SPEC, seeds=begun.seeds, steps=steps, chunks=chunks, **settings)


def train(actors, start, made, begun, *, steps=60, key=KEY, **settings):
    """All rounds of an online training from the actors' beginning."""
    if start is not None:
        actors.restore(start)
    return list(train_online(begun, made, actors, steps=steps, key=key, batch_size=8, **settings))


def assert_same(one, other):
    for left, right in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_array_equal(left, right)


def test_executed_actions_are_those_of_the_chunks_that_were_chosen(alone):
    """Two of three actions are executed, unless an episode ends first. The learner does not change here, so that every
    chunk can be computed again from the state in which it was chosen."""
    begun = learner()
    made = replay(begun)
    train(*alone, made, begun, update_after=10_000)
    stored, asked, dropped = made.state(0), 0, 0
    for environment in range(2):
        own = stored[environment::2]
        waiting = []
        for step in range(len(own)):
            if not waiting:
                key = jax.random.fold_in(deflow.keys.named_key(KEY, "acting"), 2 * step)
                key = jax.random.split(key, 2)[environment]
                waiting = list(np.asarray(begun.agent(own.observation[step], key=key)))
                assert len(waiting) == 2
                asked += 1
            np.testing.assert_allclose(own.action[step], waiting.pop(0), atol=1e-6)
            if own.extras["trajectory_end"][step]:
                dropped += len(waiting)
                waiting = []
    assert dropped > 0
    assert asked < 60 - 20


@pytest.mark.parametrize("proposed", [False, True])
def test_a_break_in_the_middle_of_a_chunk_changes_nothing(alone, proposed):
    actors, start = alone
    begun = learner()
    begun = begun.freeze_field() if proposed else begun
    whole = replay(begun, proposed=proposed)
    expected = train(actors, start, whole, begun, update_after=6)[-1][1]
    first = replay(begun, proposed=proposed)
    middle = train(actors, start, first, begun, update_after=6, steps=26)[-1][1]
    assert not actors.queue.empty.all()
    saved = capture(first, actors)
    assert set(saved[0].episodes) >= {"waiting", "left"}
    actors.restart()
    second = replay(begun, proposed=proposed, placement="device")
    resume(saved, second, actors, inserted=26)
    got = train(actors, None, second, middle, update_after=6)[-1][1]
    assert_same(got, expected)
    assert_same(second.state(0), whole.state(0))


@pytest.mark.parametrize("proposed", [False, True])
def test_what_changes_nothing(together, proposed):
    """Overlap, and where transitions are kept (but for rounding); seeds together are what each is alone."""
    keys = jax.random.split(KEY, 2)
    begun = Learner.stack([learner(keys[0]), learner(keys[0])])
    begun = begun.freeze_field() if proposed else begun
    ends = []
    for overlap, placement in ((True, "device"), (False, "device"), (True, "host")):
        settings = {"seeds": 2} if proposed else {}
        made = replay(begun, 1, proposed=proposed, placement=placement, **settings)
        ends.append((train(*together, made, begun, key=keys, overlap=overlap)[-1][1], made.state(0), made.state(1)))
    assert_same(ends[0], ends[1])
    for left, right in zip(jax.tree.leaves(ends[0]), jax.tree.leaves(ends[2]), strict=True):
        if eqx.is_inexact_array(left):
            np.testing.assert_allclose(left, right, atol=1e-4)
    assert not np.array_equal(ends[0][1].action, ends[0][2].action)


@pytest.mark.parametrize("sampling", ["uniform", "balanced"])
@pytest.mark.parametrize("placement", ["device", "host"])
def test_as_long_as_no_window_is_whole_the_dataset_is_drawn(sampling, placement):
    """Episodes of two steps hold no window of three, even where they have overwritten the whole dataset in the ring."""
    made = make_replay(
        numbered(DATASET, 3), NUMBERED, steps=40, capacity=10, sampling=sampling, placement=placement,
        chunks=Chunks(3, 0.9),
    )  # fmt: skip
    history = History(1, 1)
    for number in range(30):
        one = history.step()
        one.extras["trajectory_end"][...] = number % 2
        made.insert(one)
        if number in (0, 5, 29):
            (batch,) = sampled(made, 500)
            assert set(np.asarray(batch.observation[:, 0])) == set(-1.0 - np.arange(DATASET))
            np.testing.assert_array_equal(batch.reward, batch.observation[:, 0])


def test_balanced_sampling_learns_from_the_first_round_on(alone):
    """Also where no window is whole yet; afterwards half of a batch is online."""
    begun = learner()
    made = replay(begun, sampling="balanced")
    rounds = train(*alone, made, begun, steps=20)
    assert all(np.isfinite(metrics["critic_loss"]) for _, _, metrics in rounds)
    assert int(rounds[-1][1].step) == 20
    (batch,) = sampled(made, 400)
    ours = {row.tobytes() for row in np.asarray(DATA.observation)}
    assert sum(row.tobytes() not in ours for row in np.asarray(batch.observation)) == 200


def test_a_replay_of_other_chunks_is_refused(alone):
    begun = learner()
    for made in (
        make_replay(DATA, SPEC, steps=9),
        replay(begun, environments=1),
        replay(learner(discount=0.5)),
    ):
        with pytest.raises(ValueError, match=r"needs Chunks\(length=3, discount=0.99, environments=2\): give that to"):
            train(*alone, made, begun)
    single = learner(chunk=1, execute=1)
    with pytest.raises(ValueError, match=r"was made with Chunks\(length=3"):
        train(*alone, replay(begun), single)
    made = replay(begun)
    with pytest.raises(ValueError, match=r"made for 2 environment.s. of each seed, and these are transitions of 1"):
        made.insert(jax.tree.map(lambda column: column[:, :1], History(1, 2).step()))

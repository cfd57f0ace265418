"""Online transitions with images: each image is stored once, and batches have the stacks that were inserted."""

import dataclasses
import json
import re

import equinox as eqx
import image_environment
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from in_process import recipe

import deflow
from deflow import ProposedReplay, Spec, agent_config, draw_proposals
from deflow.behaviour.proposals import solved_block
from deflow.encoders import ImpalaSmallConfig
from deflow.environments.frame_stack import FrameStack
from deflow.replay import Chunks, make_replay, replay_bytes
from deflow.runs import Run
from deflow.session.state import Online, blank, capture, resume, sizes
from deflow.training import Learner
from deflow.types import Batch, placeholder_data

KEY = jax.random.key(0)
SHAPE = (4, 4, 2)
COUNT = 3
SPEC = Spec((4, 4, 6), 2, "uint8", frame_stack=COUNT)


def dataset(rows=3):
    """Transitions with the rewards -1, -2, ..., and a trajectory of one step each."""
    random = np.random.default_rng(1)
    before, after = random.integers(0, 256, (2, rows, *SPEC.observation_shape), np.uint8)
    numbers = -1.0 - np.arange(rows, dtype=np.float32)
    ends = {"trajectory_end": np.ones(rows, np.float32)}
    return Batch(before, np.zeros((rows, 2), np.float32), numbers, np.ones(rows, np.float32), after, ends)


class Played:
    """Seeds' environments, whose images are random and whose transitions are numbered by their rewards."""

    def __init__(self, lengths, *, seeds=2, environments=2, repeats=0.0):
        self.random, self.lengths, self.repeats = np.random.default_rng(0), lengths, repeats
        self.shape, self.made = (seeds, environments), 0
        self.running = {own: self.begin() for own in np.ndindex(self.shape)}
        self.transitions = []

    def image(self):
        if self.random.uniform() < self.repeats:
            return np.zeros(SHAPE, np.uint8)  # as where nothing moves
        return self.random.integers(0, 256, SHAPE, np.uint8)

    def begin(self):
        stack = FrameStack(COUNT)
        return [stack, stack.first(self.image()), int(self.random.choice(self.lengths))]

    def step(self):
        """The next transitions, with leading axes (S, E)."""
        rows = np.empty(self.shape, object)
        for own, running in self.running.items():
            stack, before, left = running
            after = stack.next(self.image())
            number = np.asarray(1000 * own[0] + self.made + own[1], np.float32)
            goes_on, ends = (np.asarray(flag, np.float32) for flag in (left != 1, left == 1))
            rows[own] = Batch(before, np.full(2, number), number, goes_on, after, {"trajectory_end": ends})
            self.running[own] = [stack, after, left - 1] if left > 1 else self.begin()
        self.made += self.shape[1]
        flat = jax.tree.map(lambda *leaves: np.stack(leaves), *rows.ravel())
        made = jax.tree.map(lambda leaf: leaf.reshape(*self.shape, *leaf.shape[1:]), flat)
        self.transitions += [made[:, index] for index in range(self.shape[1])]
        return made

    def row(self, seed, number):
        """The transition of this reward."""
        return self.transitions[int(number) - 1000 * seed][seed]


def batches(replay, *, seeds=2, size=32, key=KEY):
    keys = jax.random.split(key, (1, seeds))
    source = replay.source(size, keys)
    draw = jax.vmap(lambda one, key: one.sample(size, jnp.asarray(0), key=key), in_axes=(source.axes, 0))
    return jax.jit(draw)(source, keys[0])


def assert_as_played(found, played, given):
    """Every drawn transition is, bit for bit, the one with its number, and some are of those that were played."""
    for seed, rewards in enumerate(np.asarray(found.reward)):
        assert (rewards >= 0).any()
        for index, number in enumerate(rewards):
            wanted = given[int(-1 - number)] if number < 0 else played.row(seed, number)
            for name in ("observation", "action", "mask", "next_observation"):
                np.testing.assert_array_equal(getattr(found, name)[seed, index], getattr(wanted, name))


@pytest.mark.parametrize("placement", ["device", "host"])
@pytest.mark.parametrize("lengths", [(7, 12), (1,), (1, 2, 5)], ids=str)
def test_what_was_inserted_is_drawn(placement, lengths):
    """Round the ring more than twice, with episodes so short that the store grows, and where images repeat."""
    given, played = dataset(), Played(lengths, repeats=0.3)
    settings = {"seeds": 2, "steps": 11, "placement": placement}
    replay = make_replay(given, SPEC, **settings)
    for step in range(13):
        replay.insert(played.step())
        if step % 3 == 0:
            assert_as_played(batches(replay, key=jax.random.key(step)), played, given)
            again = make_replay(given, SPEC, **settings)
            again.restore([replay.state(seed) for seed in range(2)], replay.inserted)
            for one, other in zip(*(jax.tree.leaves(batches(each)) for each in (replay, again)), strict=True):
                np.testing.assert_array_equal(one, other)
    for _ in range(6):  # the restored one goes on
        new = played.step()
        again.insert(new)
    newest = batches(again)
    assert set(np.asarray(newest.reward[0]).astype(int)) <= {-1, -2, -3, *range(27, 38)}
    assert_as_played(newest, played, given)


def test_each_image_is_stored_once():
    """An episode of n transitions has n + 1 images, in the ring and in a checkpoint; entries are used again."""
    replay, played = make_replay(dataset(), SPEC, seeds=1, steps=40), Played((10,), seeds=1, environments=2)
    for _ in range(20):
        replay.insert(played.step())
    state = replay.state(0)
    assert state.images.shape == (4 * 11, *SHAPE)
    assert len(state.rows) == 40
    for _ in range(200):
        replay.insert(played.step())
    assert len(replay.state(0).images) <= 4 * 11 + 2 * COUNT  # begun episodes, and the rest of those overwritten
    assert replay.ring.store.room == 40 + 5 + 8  # it had room for them
    assert replay_bytes(SPEC, 40) == replay.ring.store.images.nbytes + 40 * (2 * 4 * COUNT + 4 * (2 + 2))
    assert replay_bytes(SPEC, 10**6) < 1.2e6 * np.prod(SHAPE) + 4e7 + 1.2e6


@pytest.mark.parametrize("placement", ["device", "host"])
def test_windows(placement):
    """Chunks of two steps have the stacks of their first s and of their last s'."""
    given, played = dataset(), Played((3, 4))
    chunks = Chunks(2, 0.5, environments=2)
    wide = dataclasses.replace(given, action=np.zeros((3, 4), np.float32))
    replay = make_replay(wide, SPEC, seeds=2, steps=10, placement=placement, chunks=chunks)
    for _ in range(9):
        replay.insert(played.step())
    found = batches(replay)
    for seed, index in np.ndindex(found.reward.shape):
        if (first := float(found.action[seed, index, 0])) > 0:
            assert float(found.action[seed, index, 2]) == first + 2
            one, other = played.row(seed, first), played.row(seed, first + 2)
            np.testing.assert_array_equal(found.observation[seed, index], one.observation)
            np.testing.assert_array_equal(found.next_observation[seed, index], other.next_observation)
    assert float(found.action.max()) > 1000


@pytest.mark.parametrize("placement", ["device", "host"])
def test_proposals_are_of_the_images(placement):
    """Those of s' are those of the next s, and what the flow gives for its stack."""
    given, played = dataset(), Played((4,), seeds=1)
    config = agent_config(encoder=ImpalaSmallConfig(stacks=(2,), features=4), width=8, depth=1)
    agent = Learner.create(config, SPEC, given, key=KEY).agent
    drawn = draw_proposals(agent, given, 2, key=KEY, progress=False)
    replay = ProposedReplay(agent, given, drawn, steps=9, environments=2, placement=placement)
    for _ in range(7):
        replay.insert(played.step())
    before = batches_of_one(replay)
    for which in ("", "next_"):
        places = getattr(before.proposals, f"{which}place")
        numbers = np.asarray(getattr(before.proposals, f"{which}number"))
        seen = getattr(before, f"{which}observation")
        for index in range(len(numbers)):
            again = draw_alone(agent, seen[index], numbers[index], drawn.key)
            np.testing.assert_allclose(before.proposals.actions[places[index]], again, atol=1e-5)
    replay.refresh(agent, progress=False)  # of the same flow: the same again
    after = batches_of_one(replay)
    np.testing.assert_array_equal(before.observation, after.observation)
    np.testing.assert_allclose(before.proposals.actions, after.proposals.actions, atol=1e-5)


def batches_of_one(replay):
    keys = jax.random.split(KEY, 1)
    return jax.jit(lambda source: source.sample(16, jnp.asarray(0), key=keys[0]))(replay.source(16, keys))


def draw_alone(agent, seen, number, key):
    return solved_block(agent, np.asarray(seen)[None], np.asarray([number]), 2, key=key)[0]


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """One seed with two environments that are seen, their data, and their beginning."""
    environment = deflow.Environment("seen/SmallReach-v0", frame_stack=2)
    path = tmp_path_factory.mktemp("seen") / "seen.npz"
    np.savez(path, **image_environment.played(6, size=16))
    task = deflow.load_task(environment, path)
    with deflow.Actors(environment, seeds=[3], environments=2) as actors:
        yield task, actors, actors.state()


@pytest.mark.parametrize("placement", ["device", "host"])
def test_a_break_changes_nothing(seen, placement):
    """Learner and transitions, after all was built anew in the middle, with a ring that is full."""
    task, actors, start = seen
    config = agent_config(encoder=ImpalaSmallConfig(stacks=(2,), features=4), width=8, depth=1)
    begun = Learner.create(config, task.spec, task.train, key=KEY)

    def train(learner, replay, steps):
        return list(deflow.train_online(learner, replay, actors, steps=steps, batch_size=8, key=KEY))[-1][1]

    def empty():
        return make_replay(task.train, task.spec, steps=12, placement=placement)

    actors.restore(start)
    whole = empty()
    wanted = train(begun, whole, 40)
    actors.restore(start)
    half = empty()
    learner = train(begun, half, 20)
    (online,) = capture(half, actors)
    actors.restore(start)  # others use the environments meanwhile
    again = empty()
    resume((online,), again, actors, inserted=20)
    assert_same(train(learner, again, 40), wanted)
    assert_same(again.state(0), whole.state(0))


def assert_same(one, other):
    for left, right in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize("spec", [SPEC, Spec((3,), 2)], ids=["images", "states"])
def test_fewer_slots_than_environments(spec):
    data = placeholder_data(spec)
    replay = make_replay(data, spec, seeds=1, steps=1)
    new = jax.tree.map(lambda column: np.stack([column[:2]]), data)
    with pytest.raises(ValueError, match=r"1 online .* no room for one of each of 2 environments"):
        replay.insert(new)
    make_replay(data, spec, seeds=1, steps=1, chunks=Chunks(environments=2)).insert(new)
    with pytest.raises(ValueError, match=r"no room for a transition in each of 3 environment"):
        make_replay(data, spec, steps=1, capacity=2, chunks=Chunks(environments=3))


def test_a_ring_that_is_empty():
    replay = make_replay(dataset(), SPEC, steps=8)
    empty = replay.state(0)
    assert (len(empty.rows), len(empty.images)) == (0, 0)
    replay.restore([empty], 0)
    assert_same(replay.state(0), empty)


def test_the_recipe_and_resume(tmp_path):
    """Online from images, at once and in two parts: the same logs and the same agents of two seeds, whose episodes end
    at different steps, so that the seeds have different numbers of images."""
    np.savez(tmp_path / "seen.npz", **image_environment.played(6, size=16))
    task = ["--env", "seen/BriefReach-v0", "--seeds", 3, 4, "--data", tmp_path / "seen.npz", "--frame-stack", 2]
    sizes = ["encoder:impala-small", "--encoder.stacks", 2, "--encoder.features", 4, "--field.width", 8]
    sizes += ["--refiner.width", 8, "--critic.width", 8, "--steps", 4, "--batch-size", 4, "--proposals", 2]
    often = ["--eval-every", 4, "--episodes", 1, "--log-every", 4, "--save-every", 4, "--workers", 1]
    made = []
    for steps in (24, 12):
        output = ["--online-steps", steps, "--capacity", 200, "--output-dir", tmp_path / f"{steps}"]
        done = recipe("offline_to_online", *task, *sizes, "--field-steps", 2, *often, *output)
        assert done.returncode == 0, done.stderr
        assert re.search(r"replay .* (kB|MB) on the device", done.stdout)
        made.append(sorted((tmp_path / f"{steps}").glob("*/deflow/seed*/")))
    notes = [json.loads((path / "checkpoints/16/notes/metadata").read_text()) for path in made[1]]
    assert notes[0]["online"]["images"] != notes[1]["online"]["images"]
    done = recipe("resume", made[1][0], "--online-steps", 24, "--workers", 1)
    assert done.returncode == 0, done.stderr
    for whole, resumed in zip(*made, strict=True):
        for table in ("train", "eval"):
            one, other = (Run.open(path).read(table) for path in (whole, resumed))
            assert one.keys() == other.keys()
            for name in set(one) - {"time/seconds", "time/steps_per_second"}:
                np.testing.assert_array_equal(one[name], other[name], err_msg=name)
        agents = [eqx.filter(deflow.load(path).agent, eqx.is_array) for path in (whole, resumed)]
        assert_same(*agents)


def test_a_checkpoints_outline():
    """A blank checkpoint has the shapes of the one that was saved."""
    replay, played = make_replay(dataset(), SPEC, seeds=1, steps=8), Played((3,), seeds=1)
    for _ in range(6):
        replay.insert(played.step())
    saved = (Online(replay.state(0), {"length": np.zeros(2, np.int32)}),)
    empty = blank(sizes(saved), SPEC)
    for one, other in zip(*map(jax.tree.leaves, (saved, empty)), strict=True):
        assert (one.shape, one.dtype) == (other.shape, other.dtype)
    assert jax.tree.structure(saved) == jax.tree.structure(empty)

"""Proposals on disk: drawn once and read again, interrupted and gone on with, damaged and said so."""

import concurrent.futures
import dataclasses
import json
import threading

import equinox as eqx
import jax
import numpy as np
import pytest
from small import SPEC

from deflow import agent_config, draw_proposals, solvers
from deflow.behaviour import States, find_proposals, open_proposals, proposals, proposals_file
from deflow.errors import ProposalsError, ProposalsInterrupted
from deflow.testing import example_data

KEY = jax.random.key(5)
DATA = example_data(SPEC, 11)
STATES = States.of(DATA)
AGENT = agent_config(width=4, depth=1, solver=solvers.Euler(steps=1)).build(SPEC, DATA, key=jax.random.key(0))
COUNT, BLOCKS = 4, 6
"""Proposals for a state, and blocks of four states each, the last with two."""


class After(threading.Event):
    """An event that is found set when it is asked for the given time."""

    def __init__(self, times):
        super().__init__()
        self.left = times

    def is_set(self):
        self.left -= 1
        return self.left <= 0


@pytest.fixture(autouse=True)
def drawings(monkeypatch):
    """The states at which drawings began; blocks are small."""
    begun, drawing = [], proposals_file.solved_blocks

    def counted(*arguments, start, **values):
        begun.append(start)
        return drawing(*arguments, start=start, **values)

    monkeypatch.setattr(proposals, "ROWS", 16)
    monkeypatch.setattr(proposals_file, "solved_blocks", counted)
    return begun


def opened(folder, count=COUNT, agent=AGENT, states=STATES, key=KEY, interrupt=None):
    return open_proposals(folder, agent, states, count, key=key, interrupt=interrupt, progress=False)


def files(folder):
    return sorted(path.suffix for path in folder.iterdir())


def only(folder, suffix):
    (path,) = folder.glob(f"*{suffix}")
    return path


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The bytes of a file that was drawn without interruption."""
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(proposals, "ROWS", 16)
        opened(folder)
    return only(folder, ".npy").read_bytes()


def test_drawn_once(tmp_path, drawings):
    """What is on disk is what is drawn in memory; the second call reads it."""
    assert len(STATES) == 22
    folder = tmp_path / "a" / "b"
    assert find_proposals(folder, AGENT, STATES, COUNT, key=KEY) is None
    first = opened(folder)
    path = only(folder, ".npy")
    assert find_proposals(folder, AGENT, STATES, COUNT, key=KEY) == path
    expected = draw_proposals(AGENT, DATA, COUNT, key=KEY, progress=False)
    for found in (first, opened(folder)):
        np.testing.assert_array_equal(found.actions, expected.actions)
        assert isinstance(found.actions, np.memmap)
        assert (found.behaviour, found.states, found.count) == (expected.behaviour, expected.states, COUNT)
        found.check(AGENT, STATES)
    assert drawings == [0]
    np.testing.assert_array_equal(np.load(path), expected.actions)
    assert files(folder) == [".json", ".lock", ".npy"]
    facts = json.loads(path.with_suffix(".json").read_text())
    assert (facts["proposals"], facts["state_count"], facts["solver"]) == (COUNT, 22, "Euler(steps=1)")


def test_fewer_are_read_from_the_larger_file(tmp_path, drawings):
    larger = opened(tmp_path)
    fewer = opened(tmp_path, 3)
    assert drawings == [0]
    np.testing.assert_array_equal(fewer.actions, larger.first(3).actions)
    assert fewer.count == 3


def test_more_are_drawn_anew(tmp_path, drawings):
    """The first ones are equal; afterwards, fewer are read from the smallest file that has enough."""
    smaller, larger = opened(tmp_path), opened(tmp_path, 6)
    assert drawings == [0, 0]
    np.testing.assert_allclose(larger.first(COUNT).actions, smaller.actions, atol=1e-6)
    found = [find_proposals(tmp_path, AGENT, STATES, count, key=KEY) for count in (1, 4, 5, 6, 7)]
    assert [path and path.name.partition("-")[0] for path in found] == ["4", "4", "6", "6", None]


def test_another_task_of_the_environment_reads_them(tmp_path, drawings):
    """Other rewards and actions are the same states; another flow, key or observation is not."""
    opened(tmp_path)
    task = dataclasses.replace(DATA, reward=DATA.reward - 1, action=-DATA.action)
    opened(tmp_path, states=States.of(task))
    assert drawings == [0]
    moved = dataclasses.replace(DATA, observation=DATA.observation + np.float32(1))
    other = eqx.tree_at(lambda agent: agent.field.network.layers[0].bias, AGENT, replace_fn=lambda bias: bias + 1)
    for change in ({"states": States.of(moved)}, {"agent": other}, {"key": jax.random.key(6)}):
        opened(tmp_path, **change)
    assert drawings == [0] * 4
    assert len(list(tmp_path.glob("*.npy"))) == 4


# --- interruptions


@pytest.mark.parametrize("blocks", [1, 3, 5])
def test_interrupted(tmp_path, drawings, whole, blocks):
    """The next call goes on before the last block, and the bytes are those of an uninterrupted drawing."""
    done = 4 * blocks
    with pytest.raises(ProposalsInterrupted, match=f"after the proposals of {done} of 22 states, which are kept"):
        opened(tmp_path, interrupt=After(blocks))
    assert files(tmp_path) == [".lock", ".part"]
    assert find_proposals(tmp_path, AGENT, STATES, COUNT, key=KEY) is None
    opened(tmp_path)
    assert drawings == [0, done - 4]
    assert only(tmp_path, ".npy").read_bytes() == whole
    assert files(tmp_path) == [".json", ".lock", ".npy"]


def test_an_interruption_at_the_end_comes_too_late(tmp_path, whole):
    opened(tmp_path, interrupt=After(BLOCKS))
    assert only(tmp_path, ".npy").read_bytes() == whole


@pytest.mark.parametrize(
    ("size", "start"),
    [
        (0, 0),
        (5, 0),
        (128, 0),
        (129, 0),
        (128 + 2 * 128 - 1, 0),
        (128 + 2 * 128, 4),
        (128 + 4 * 128 + 77, 12),
        (832, 16),
    ],
)
def test_killed(tmp_path, drawings, whole, size, start):
    """Cut at any byte (a header of 128, then blocks of 128 and a last one of 64), it goes on to the same bytes."""
    assert len(whole) == 128 + 22 * COUNT * 2 * 4 == 832
    opened(tmp_path)
    path = only(tmp_path, ".npy")
    path.with_suffix(".json").unlink()
    path.rename(path.with_suffix(".part"))
    path.with_suffix(".part").write_bytes(whole[:size])
    opened(tmp_path)
    assert drawings == [0, start]
    assert path.read_bytes() == whole


def test_killed_before_the_digest_was_written(tmp_path, whole):
    """A file without facts beside it goes on with its last block; one that is none of ours is drawn again."""
    opened(tmp_path)
    path = only(tmp_path, ".npy")
    for content in (whole, bytes(len(whole))):
        path.with_suffix(".json").unlink()
        path.write_bytes(content)
        opened(tmp_path)
        assert path.read_bytes() == whole


def test_two_at_a_time_draw_once(tmp_path, drawings):
    """Who comes second waits."""
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: opened(tmp_path), range(2))
    assert drawings == [0]
    np.testing.assert_array_equal(first.actions, second.actions)


# --- damage


def flip(path):
    content = bytearray(path.read_bytes())
    content[-7] ^= 1
    path.write_bytes(content)


DAMAGES = {
    "a flipped bit": (flip, ".npy"),
    "cut off": (lambda path: path.write_bytes(path.read_bytes()[:-1]), ".npy"),
    "missing": (lambda path: path.unlink(), ".npy"),
    "no JSON": (lambda path: path.write_text("{"), ".json"),
    "no text": (lambda path: path.write_bytes(b"\xff\xfe"), ".json"),
    "no object": (lambda path: path.write_text("null"), ".json"),
    "no digest": (lambda path: path.write_text('{"proposals": 4}'), ".json"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damaged(tmp_path, whole, name):
    """One sentence says which two files to delete; without them it is drawn again."""
    opened(tmp_path)
    path, (damage, suffix) = only(tmp_path, ".npy"), DAMAGES[name]
    damage(only(tmp_path, suffix))
    for count in (COUNT, 1):
        with pytest.raises(ProposalsError) as said:
            opened(tmp_path, count)
        message = str(said.value)
        assert message.startswith(f"The proposals in {path} ")
        assert message.endswith(f": delete it and {path.stem}.json beside it, and they are drawn again.")
        assert "\n" not in message
    path.unlink(missing_ok=True)
    path.with_suffix(".json").unlink()
    opened(tmp_path)
    assert path.read_bytes() == whole


def test_a_folder_that_cannot_be_written(tmp_path):
    """A file stands in its place."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ProposalsError, match=r"cannot be written to .*file.* \((File exists|Not a directory)\): "):
        opened(tmp_path / "file")
    with pytest.raises(ProposalsError, match=r"cannot be written to .*file.* \(Not a directory\): "):
        opened(tmp_path / "file" / "below")


def test_a_full_disk(tmp_path, monkeypatch, whole):
    """Said in a sentence; with more space, the drawing goes on."""

    def full(file):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(proposals_file.os, "fsync", full)
        with pytest.raises(ProposalsError, match=r"\(No space left on device\): free some space, or draw fewer"):
            opened(tmp_path)
    opened(tmp_path)
    assert only(tmp_path, ".npy").read_bytes() == whole


def test_refuses(tmp_path):
    with pytest.raises(ValueError, match="The number of proposals must be at least 1, got 0"):
        opened(tmp_path, 0)
    with pytest.raises(TypeError, match=r"key must be made by jax\.random\.key\(seed\), got 0"):
        opened(tmp_path, key=0)
    other = States.of(example_data(dataclasses.replace(SPEC, observation_shape=(4,))))
    with pytest.raises(ValueError, match=r"observations of shape \(3,\), but the dataset's have shape \(4,\)"):
        opened(tmp_path, states=other)
    assert list(tmp_path.iterdir()) == []

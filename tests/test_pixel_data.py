"""Images in files and environments: each is stored once, and both give the same stacks."""

import re

import equinox as eqx
import image_environment as seen
import jax
import numpy as np
import pytest

from deflow import agent_config, draw_proposals, load_task, trust_regions
from deflow.agent import resolve_bound
from deflow.behaviour import HeldOutLoss
from deflow.data import UserData, npz
from deflow.data.report_card.making import report
from deflow.encoders import ImpalaSmallConfig
from deflow.environments import Environment, check_images
from deflow.errors import DataError, DatasetFileError, SpaceError
from deflow.frames import Frames
from deflow.training import Learner, train_offline

KEY = jax.random.key(0)
NAME = "seen/SmallReach-v0"
PIXELS = {"encoder": ImpalaSmallConfig(stacks=(2,), features=4), "width": 8, "depth": 1}


@pytest.fixture(scope="module")
def columns():
    """Of six episodes, of which some reach the target, with a row for the image in which each ends."""
    return seen.played(6, size=16, noise=3.0)


def saved(folder, columns, save=np.savez, **more):
    save(folder / "seen.npz", **{**columns, **more})
    return folder / "seen.npz"


def stacks(columns, count):
    """Every stack of the file's rows, written out."""
    ends = np.flatnonzero(columns["terminals"] | columns["truncations"])
    shown = []
    for start, end in zip([0, *ends[:-1] + 1], ends, strict=True):
        frames = columns["observations"][start : end + 1]
        padded = np.concatenate([frames[:1]] * (count - 1) + [frames])
        shown.append(np.concatenate([padded[k : k + len(frames)] for k in range(count)], axis=-1))
    return shown


@pytest.mark.parametrize("count", [1, 3])
def test_a_file_with_an_image_per_row(tmp_path, columns, count):
    """Its array is that of s and of s'. No image follows a termination, whose s' is not used."""
    task = load_task("none", saved(tmp_path, columns), frame_stack=count)
    data, shown = task.train, stacks(columns, count)
    assert task.spec.observation_shape == (16, 16, 3 * count)
    assert task.spec.frame_shape == (16, 16, 3)
    assert data.observation.frames is data.next_observation.frames
    np.testing.assert_array_equal(data.observation.frames, columns["observations"])
    over = columns["terminals"][np.flatnonzero(columns["terminals"] | columns["truncations"])]
    assert 0 < over.sum() < len(over)
    expected = [each if terminated else each[:-1] for each, terminated in zip(shown, over, strict=True)]
    following = [
        np.concatenate([each[1:], each[-1:]][: 1 + terminated]) for each, terminated in zip(shown, over, strict=True)
    ]
    np.testing.assert_array_equal(np.asarray(data.observation), np.concatenate(expected))
    np.testing.assert_array_equal(np.asarray(data.next_observation), np.concatenate(following))


def test_a_file_with_next_images(tmp_path, columns):
    ends = columns["terminals"] | columns["truncations"]
    after = np.append(columns["observations"][1:], columns["observations"][:1], axis=0)
    after[ends] = 255 - columns["observations"][ends]
    task = load_task("none", saved(tmp_path, columns, next_observations=after), frame_stack=2)
    assert len(task.train.observation.frames) == len(ends) + ends.sum()
    assert task.train.observation.frames is task.train.next_observation.frames
    np.testing.assert_array_equal(np.asarray(task.train.next_observation)[..., 3:], after)
    np.testing.assert_array_equal(np.asarray(task.train.next_observation)[..., :3], columns["observations"])


def test_an_environment_gives_the_stacks_of_its_data(tmp_path):
    """Played again with the recorded actions, with an environment that draws into one array again and again."""
    environment, random = Environment(NAME, frame_stack=3), np.random.default_rng(0)
    made, single = environment.make(), Environment(NAME).make()
    frames, actions, found = [single.reset(seed=5)[0]], random.uniform(-1, 1, (7, 2)), [made.reset(seed=5)[0]]
    for action in actions:
        frames.append(single.step(action)[0])
        found.append(made.step(action)[0])
    columns = {
        "observations": np.asarray(frames),
        "actions": np.append(actions, actions[:1], axis=0),
        "rewards": np.zeros(8),
        "terminations": np.zeros(8),
        "truncations": np.arange(8) == 7,
    }
    task = load_task(environment, saved(tmp_path, columns))
    assert task.spec == environment.spec()
    np.testing.assert_array_equal(np.asarray(task.train.observation), found[:-1])
    np.testing.assert_array_equal(np.asarray(task.train.next_observation), found[1:])


def test_visual_tasks_stack_three():
    assert Environment("visual-cube-single-play-singletask-task1-v0").frame_stack == 3
    assert Environment("cube-single-play-singletask-task1-v0").frame_stack == 1
    assert Environment("visual-cube-single-play-singletask-task1-v0", frame_stack=1).frame_stack == 1


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_many_images_stay_on_the_disk(tmp_path, columns, monkeypatch, save):
    """If they are not compressed; and training from there is training from memory."""
    path = saved(tmp_path, columns, save)
    whole = load_task("none", path, frame_stack=2)
    monkeypatch.setattr(npz, "MAPPED", 1)
    task = load_task("none", path, frame_stack=2)
    assert isinstance(task.train.observation.frames, np.memmap) == (save is np.savez)
    agents = []
    for data, placement in ((whole.train, "device"), (task.train, "host")):
        learner = Learner.create(agent_config(**PIXELS), task.spec, data, key=KEY)
        *_, (_, learner, _) = train_offline(learner, data, steps=3, batch_size=4, key=KEY, placement=placement)
        agents.append(learner.agent)
    for one, other in zip(*map(jax.tree.leaves, agents), strict=True):
        np.testing.assert_array_equal(one, other)


def test_more_images_than_memory(tmp_path, columns, monkeypatch):
    path = saved(tmp_path, columns, np.savez_compressed)
    monkeypatch.setattr(npz, "MAPPED", 1)
    monkeypatch.setattr(npz, "available_memory", lambda: 1000)
    with pytest.raises(DatasetFileError, match=r"needs 0.0 GB of memory, .* \(without compression\)"):
        load_task("none", path)


@pytest.mark.parametrize("seeds", [None, 2])
def test_from_proposals(tmp_path, columns, seeds):
    """Training from proposals for stacks of frames is training from those for the stacks written out."""
    task = load_task("none", saved(tmp_path, columns), frame_stack=2)
    written = task.train.stacked()
    assert not isinstance(written.observation, Frames)
    key = KEY if seeds is None else jax.random.split(KEY, seeds)
    agents = []
    for data in (task.train, written):
        learner = Learner.create(agent_config(**PIXELS), task.spec, data, key=key)
        proposals = draw_proposals(learner.seed(0).agent, data, count=2, key=KEY)
        learner = learner.with_behaviour(learner.seed(0).agent)
        *_, (_, learner, _) = train_offline(learner, data, steps=3, batch_size=4, key=key, proposals=proposals)
        agents.append((learner.agent, proposals.actions))
    for one, other in zip(*(jax.tree.leaves(eqx.filter(each, eqx.is_array)) for each in agents), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_an_agent_acts_on_what_its_data_has(tmp_path, columns):
    task = load_task("none", saved(tmp_path, columns), frame_stack=2)
    agent = agent_config(**PIXELS, trust_region=trust_regions.MeanSquare(bound=0.1)).build(
        task.spec, task.train, key=KEY
    )
    for rows in (3, slice(2, 5)):
        shown = np.asarray(task.train.observation[rows])
        np.testing.assert_array_equal(agent(task.train.observation[rows], key=KEY), agent(shown, key=KEY))


def test_the_held_out_loss_is_that_of_stacks(tmp_path, columns):
    path = saved(tmp_path, columns)
    task = load_task("none", UserData(path, path), frame_stack=2)
    agent = agent_config("flow-bc", **PIXELS).build(task.spec, task.train, key=KEY)
    losses = [HeldOutLoss(data)(agent) for data in (task.validation, task.validation.stacked())]
    assert losses[0] == losses[1] > 0
    assert agent.flow_loss(task.train, key=KEY) == agent.flow_loss(task.train.stacked(), key=KEY)


# --- what is refused


def test_a_damaged_image_of_a_mapped_file(tmp_path, columns, monkeypatch):
    monkeypatch.setattr(npz, "MAPPED", 1)
    path = saved(tmp_path, columns)
    content = bytearray(path.read_bytes())
    content[400] ^= 1
    path.write_bytes(content)
    with pytest.raises(DatasetFileError, match="is truncated or damaged"):
        load_task("none", path)


def test_data_of_another_number_of_frames(tmp_path, columns):
    grey = load_task("none", saved(tmp_path, columns, observations=columns["observations"][..., :1]), frame_stack=3)
    colours = load_task("none", saved(tmp_path, columns))
    learner = Learner.create(agent_config(**PIXELS), grey.spec, grey.train, key=KEY)
    with pytest.raises(ValueError, match="built for 3 frames, but the dataset stacks 1: load it with frame_stack=3"):
        next(train_offline(learner, colours.train, steps=1, key=KEY))


@pytest.mark.parametrize("given", ["3", 2.0, np.nan, [3], True])
def test_what_is_no_number_of_frames(tmp_path, columns, given):
    path = saved(tmp_path, columns)
    with pytest.raises(SpaceError, match=r"^frame_stack must be a whole number, got"):
        load_task("none", path, frame_stack=given)
    with pytest.raises(SpaceError, match=r"^frame_stack must be a whole number, got"):
        Environment(NAME, frame_stack=given)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda images: np.moveaxis(images, -1, 1), "Loading will refuse the observations. .*channels first"),
        (lambda images: images.astype(np.int64), r"Loading will refuse the observations. .*image.astype"),
        (lambda images: images / np.float32(255), "images of type float32, and encoders of images take bytes"),
    ],
    ids=["channels first", "whole numbers", "floats"],
)
def test_a_report_card_says_what_is_wrong_with_images(tmp_path, columns, change, says):
    card = report(saved(tmp_path, columns, observations=change(columns["observations"])), progress=False)
    assert any(re.search(says, warning) for warning in card.warnings)
    warnings = report(saved(tmp_path, columns), progress=False).warnings
    assert not any("Loading" in warning for warning in warnings)
    assert any("name an encoder for them (encoder:impala-small)" in warning for warning in warnings)


def test_a_bound_from_images(tmp_path, columns):
    task = load_task("none", saved(tmp_path, columns), frame_stack=2)
    config = agent_config(**PIXELS, trust_region=trust_regions.MeanSquare(bound="auto"))
    with pytest.raises(DataError, match=r"of shape \(16, 16, 6\): give the trust region's bound as a number"):
        resolve_bound(config, task)


def test_channels_first(tmp_path, columns):
    path = saved(tmp_path, columns, observations=np.moveaxis(columns["observations"], -1, 1))
    with pytest.raises(SpaceError, match=r"has images of shape \(3, 16, 16\), channels first.* move them to the end"):
        load_task("none", path)
    with pytest.raises(SpaceError, match=r"^seen/FirstReach-v0 has images of shape \(3, 16, 16\), channels first"):
        Environment("seen/FirstReach-v0").spec()


@pytest.mark.parametrize("shape", [(9, 16, 16), (2, 16, 12)])
def test_channels_first_of_stacks(shape):
    with pytest.raises(SpaceError, match="channels first"):
        check_images("It", shape, np.uint8, 1)


@pytest.mark.parametrize("shape", [(16, 16, 27), (8, 9, 20), (7, 64, 3), (12, 16, 4), (84, 84, 12)])
def test_channels_last(shape):
    check_images("It", shape, np.uint8, 1)


def test_stacks_of_states(tmp_path, columns):
    path = saved(tmp_path, columns, observations=columns["observations"].mean((1, 2)))
    with pytest.raises(SpaceError, match=r"observations of shape \(3,\) and type float.*, or leave frame_stack out"):
        load_task("none", path, frame_stack=3)
    with pytest.raises(SpaceError, match="frame_stack must be at least 1, got 0"):
        load_task("none", path, frame_stack=0)
    with pytest.raises(SpaceError, match=r"^Pendulum-v1 has observations of shape .*, or leave frame_stack out"):
        Environment("Pendulum-v1", frame_stack=2).spec()
    with pytest.raises(SpaceError, match="frame_stack must be at least 1, got 0"):
        Environment("Pendulum-v1", frame_stack=0).spec()


def test_whole_numbers_that_are_no_bytes(tmp_path, columns):
    path = saved(tmp_path, columns, observations=columns["observations"].astype(np.int64))
    with pytest.raises(SpaceError, match=r"has images of type int64, .* convert them by image.astype\(numpy.uint8\)"):
        load_task("none", path)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda images: images[:, :12], r"observations of shape \(12, 16, 3\) per row, but seen/SmallReach-v0 has"),
        (lambda images: images[..., :1], r"observations of shape \(16, 16, 1\) per row, but .* has \(16, 16, 3\)"),
        (lambda images: images / np.float32(255), "observations of type float32, but seen/SmallReach-v0 has uint8"),
    ],
    ids=["another size", "grey", "floats"],
)
def test_images_that_are_not_the_environments(tmp_path, columns, change, says):
    path = saved(tmp_path, columns, observations=change(columns["observations"]))
    with pytest.raises(DatasetFileError, match=says):
        load_task(NAME, UserData(path), frame_stack=3)


def test_a_truncated_file(tmp_path, columns, monkeypatch):
    monkeypatch.setattr(npz, "MAPPED", 1)
    path = saved(tmp_path, columns)
    path.write_bytes(path.read_bytes()[:-5000])
    with pytest.raises(DatasetFileError, match="is truncated or damaged"):
        load_task("none", path)

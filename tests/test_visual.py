"""OGBench's visual tasks: collected sets have the images that the environment would show, drawn by stated means."""

import shutil
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from deflow import Collected, Evaluator, agent_config, load_task
from deflow.behaviour import HeldOutLoss
from deflow.data import Official, UserData, collect, visual
from deflow.data.episodes import SPLITS
from deflow.environments import Environment, graphics_variables
from deflow.errors import CollectionError, DatasetFileError
from deflow.frames import Frames
from deflow.testing import example_data
from deflow.workers import WorkerPool

NAMES = {
    "cube": "visual-cube-single-play-singletask-task1-v0",
    "puzzle": "visual-puzzle-3x3-play-singletask-task4-v0",
}
SETTINGS = Collected(rows=16, validation_rows=8, episode_steps=8)

pytestmark = pytest.mark.skipif(
    not graphics_variables(), reason=f"MuJoCo has no OpenGL here: apt install {visual.PACKAGES}"
)


@pytest.fixture(scope="module", params=NAMES.values(), ids=NAMES)
def collected(request, tmp_path_factory):
    """A name, and a data directory with its set, collected by two processes."""
    folder = tmp_path_factory.mktemp("visual")
    collect(request.param, SETTINGS, data_dir=folder, workers=2, progress=False)
    return request.param, folder


def files(folder):
    return sorted(folder.rglob("*.npz"))


def shown(name, seed, actions):
    """In a process that draws: what the environment shows while it is played with these actions, from its own reset."""
    import gymnasium

    from deflow.environments.task_names import parse_task_name
    from deflow.environments.visual import without_picture_effects

    words = np.random.SeedSequence([seed, SPLITS.index("train"), 0, 0]).generate_state(2)
    made = gymnasium.make(
        parse_task_name(name).base_id, mode="data_collection", terminate_at_goal=False, disable_env_checker=True
    )
    without_picture_effects(made)
    np.random.seed(words[0])
    images = [made.unwrapped.reset(seed=int(words[1]))[0]]
    images += [made.unwrapped.step(action)[0] for action in actions]
    return np.asarray(images)


def test_its_images_are_what_the_environment_shows(collected):
    """But for the substep of 2 ms by which a shown image is older, and rounding of the recorded states."""
    name, folder = collected
    (train,) = [file for file in files(folder) if not file.stem.endswith("-val")]
    with np.load(train) as file:
        images, actions = file["observations"][:9], file["actions"][:8]
    with WorkerPool(1, variables=graphics_variables()) as pool:
        expected = pool.submit(shown, name, SETTINGS.seed, actions).result()
    assert images.shape == expected.shape == (9, 64, 64, 3)
    differ = np.abs(images.astype(int) - expected)
    assert differ.mean() < 0.3  # with shadows it would be 15
    assert np.mean(differ > 16) < 0.005


@pytest.mark.parametrize("collected", [NAMES["cube"]], indirect=True, ids=["cube"])
def test_the_same_bytes_with_another_number_of_processes(collected, tmp_path):
    name, folder = collected
    collect(name, SETTINGS, data_dir=tmp_path, workers=1, progress=False)
    for one, other in zip(files(folder), files(tmp_path), strict=True):
        assert one.read_bytes() == other.read_bytes()


def test_a_task_from_it(collected):
    """Three frames are stacked, labels are those of the states, and what is evaluated is drawn as the data was."""
    name, folder = collected
    task = load_task(name, SETTINGS, data_dir=folder)
    assert task.spec.observation_shape == (64, 64, 9)
    assert isinstance(task.train.observation, Frames)
    assert len(task.train) == 16
    assert not task.environment.picture_effects
    drawn = task.provenance.rendering
    assert (drawn["shadows"], drawn["samples"], drawn["height"]) == (False, 1, 64)
    assert "Mesa" in drawn["drawn_by"] or drawn["drawn_by"]
    path = Path(task.provenance.path)
    own = load_task(name, path)  # the file itself says it, too
    assert own.environment == task.environment
    states = load_task(name.removeprefix("visual-"), SETTINGS, data_dir=folder)
    np.testing.assert_array_equal(task.train.reward, states.train.reward)
    np.testing.assert_array_equal(task.train.action, states.train.action)


def test_a_variable_that_names_no_library(monkeypatch, tmp_path):
    monkeypatch.setenv("MUJOCO_GL", "nonsense")
    with pytest.raises(CollectionError, match="MuJoCo draws none with MUJOCO_GL=nonsense here: unset it"):
        collect(NAMES["cube"], SETTINGS, data_dir=tmp_path, progress=False)
    program = f"from deflow.environments import Environment; Environment({NAMES['cube']!r}).make()"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "DataError: visual-cube-single-play-singletask-task1-v0 cannot be made: invalid value" in done.stderr


@pytest.mark.parametrize("collected", [NAMES["cube"]], indirect=True, ids=["cube"])
def test_its_validation_data_has_a_held_out_loss(collected):
    name, folder = collected
    (path,) = [file for file in files(folder) if "visual" in file.stem and not file.stem.endswith("-val")]
    held_out = load_task(name, UserData(path, path.with_name(f"{path.stem}-val.npz"))).validation
    agent = agent_config("flow-bc", encoder="impala-small", width=8, depth=1).build(
        Environment(name).spec(), held_out, key=jax.random.key(0)
    )
    assert np.isfinite(HeldOutLoss(held_out)(agent))


@pytest.mark.parametrize("collected", [NAMES["cube"]], indirect=True, ids=["cube"])
def test_evaluated(collected):
    name, _ = collected
    environment = Environment(name, picture_effects=False, arguments={"max_episode_steps": 4})
    spec = environment.spec()
    agent = agent_config(encoder="impala-small", width=8, depth=1, trust_region="mean-square").build(
        spec, example_data(spec), key=jax.random.key(0)
    )
    with Evaluator(environment, workers=1) as evaluator:
        result = evaluator(agent, episodes=1, seed=0)
    assert result.lengths.tolist() == [4]


@pytest.mark.parametrize("collected", [NAMES["cube"]], indirect=True, ids=["cube"])
def test_it_cannot_pass_for_an_official_one(collected, tmp_path):
    name, folder = collected
    official = tmp_path / "official"
    official.mkdir()
    for file in files(folder):
        shutil.copy(file, official)
    with pytest.raises(DatasetFileError, match="was collected by deflow, and its images are drawn otherwise"):
        load_task(name, Official(download=False), data_dir=tmp_path)


def test_nothing_draws(monkeypatch, tmp_path):
    """Said before anything is played."""
    monkeypatch.setattr(visual, "graphics_variables", dict)
    monkeypatch.setattr(visual, "renders_here", lambda: False)
    with pytest.raises(CollectionError, match=r"has no OpenGL here to draw them .* apt install libegl1"):
        collect(NAMES["cube"], SETTINGS, data_dir=tmp_path, progress=False)
    assert not [*tmp_path.rglob("*.npz")]

"""Videos: what is filmed is what was evaluated, what is written can be watched, and what cannot work is said first."""

import dataclasses
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import gymnasium
import imageio.v2 as imageio
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from in_process import recipe
from PIL import Image
from test_evaluation import CUBE, Policy, Recorder, outcomes

import deflow
from deflow.environments import Environment, graphics_variables, import_file
from deflow.environments.rendering import drawing
from deflow.errors import DataError, EvaluationError, EvaluationInterrupted, FolderError
from deflow.evaluation import Evaluator, Film, Moment, Outcome, evaluate, pictures, record, sheet, video, write_video
from deflow.evaluation.pictures import as_picture
from deflow.workers import environment_variables

ROOT = Path(__file__).parents[1]
FILE = Path(__file__).with_name("own_environment.py")
POINT = Environment("lab/Point-v0", arguments={"max_episode_steps": 30})

linux = pytest.mark.skipif(sys.platform != "linux", reason="MuJoCo has one library to draw with elsewhere")


@pytest.fixture(scope="module", autouse=True)
def imported():
    import_file(FILE)


@pytest.fixture(scope="module")
def films_of_points():
    with Evaluator(POINT, workers=1, renders=True) as evaluator:
        yield evaluator.film


def home(observation, *, key):
    """Moves a point towards the origin, with some noise."""
    return jnp.clip(-observation, -0.1, 0.1) / 0.5 + 0.02 * jax.random.normal(key, (2,))


def frames(path):
    with environment_variables({"IMAGEIO_FFMPEG_NO_PREVENT_SIGINT": "1"}), imageio.get_reader(path) as reader:
        return np.stack([np.asarray(frame)[..., :3] for frame in reader])


# --- the same episodes


@dataclasses.dataclass(frozen=True)
class Cube:
    """The real task for a few steps, whose return is a fingerprint of the episode."""

    steps: int = 6
    drawn: bool = False
    name: str = "a short cube"

    def make(self):
        environment = Environment(CUBE, arguments={"max_episode_steps": self.steps})
        return Recorder((drawing(environment) if self.drawn else environment).make())


def test_the_films_of_a_real_task_are_the_first_episodes_of_its_evaluation(monkeypatch, tmp_path):
    """To the last bit, at the size and without the effects that it is drawn with, and with a library chosen here."""
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    policy = Policy(28, 5)
    expected = evaluate(policy, Cube(), episodes=3, seed=5, workers=1)
    with Evaluator(Cube(drawn=True), workers=2, renders=True) as evaluator:
        films = evaluator.film(policy, episodes=2, seed=5)
        after = evaluator(policy, episodes=3, seed=5)
        written = write_video(films, tmp_path / "cube.mp4", title="a cube")
    assert outcomes(after) == outcomes(expected)
    assert [film.outcome.episode_return for film in films] == expected.returns[:2].tolist()
    assert [film.outcome.length for film in films] == [6, 6]
    for film in films:
        assert [moment.step for moment in film.moments] == list(range(7))
        assert film.moments[-1] == Moment(0.0, film.outcome.episode_return, 6, True)
        assert (film.height, film.width) == (pictures.LARGEST, pictures.LARGEST)
    assert "MUJOCO_GL" not in os.environ
    shown = frames(written.mp4)
    assert len(shown) == 7 + sheet.HOLD
    assert shown.shape[1:] == (400, 674, 3)
    # The arm moves where it is, and nothing does in the corner above it.
    moving = np.abs(np.diff(shown[:7].astype(int), axis=0)).max((0, 3))
    assert moving[40:360, :330].max() > 60
    assert moving[40:360, 340:].max() > 60
    assert moving[:20, 300:].max() < 30


def test_filming_every_few_steps_changes_nothing_and_shows_the_end(films_of_points):
    each = films_of_points(home, episodes=2, seed=1)
    pictures_of_each = [film.pictures().copy() for film in each]
    some = films_of_points(home, episodes=2, seed=1, every=7)
    assert [film.outcome for film in some] == [film.outcome for film in each]
    for film, all_pictures in zip(some, pictures_of_each, strict=True):
        assert [moment.step for moment in film.moments] == [0, 7, 14, 21, 28, 30]
        assert np.array_equal(film.pictures(), all_pictures[[0, 7, 14, 21, 28, 30]])
        assert film.moments[-1].success == 1.0


def test_long_episodes_get_fewer_pictures():
    """It has no time limit, so that it is played for 1,000 steps."""
    with Evaluator("lab/Point-v0", workers=1, renders=True) as evaluator:
        (film,) = evaluator.film(home, episodes=1, seed=0)
    assert [moment.step for moment in film.moments] == list(range(0, 1001, 5))


OBSERVED = """
import sys
from deflow.environments import Environment
from deflow.environments.rendering import drawing, without_slow_effects

visual = Environment(sys.argv[1])
assert drawing(visual) == visual
made = visual.make()
made.reset(seed=0)
without_slow_effects(made)
print(made.unwrapped.model.vis.quality.shadowsize)
"""


def test_where_pictures_are_observed_they_stay_as_they_are():
    done = subprocess.run(
        [sys.executable, "-c", OBSERVED, f"visual-{CUBE}"],
        env={**os.environ, **graphics_variables()},  # before MuJoCo is imported
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 0


def test_an_interrupted_filming_ends_soon(films_of_points):
    interrupt = threading.Event()
    interrupt.set()
    with pytest.raises(EvaluationInterrupted):
        films_of_points(home, episodes=1, seed=0, interrupt=interrupt)
    with pytest.raises(ValueError, match="every must be at least 1, got 0"):
        films_of_points(home, episodes=1, seed=0, every=0)


# --- files


def test_a_gymnasium_environment_of_mujocos_is_recorded(tmp_path):
    """It falls after a few steps, at its own time in each episode."""
    pendulum = Environment("InvertedPendulum-v5", arguments={"max_episode_steps": 12})

    def push(observation, *, key):
        return jax.random.uniform(key, (1,), minval=-1.0, maxval=1.0)

    written = record(push, pendulum, path=tmp_path / "new" / "fall.mp4", episodes=3, seed=2, title="it falls")
    lengths = evaluate(push, pendulum, episodes=3, seed=2).lengths
    assert len(set(lengths)) > 1
    shown = frames(written.mp4)
    assert len(shown) == max(lengths) + 1 + sheet.HOLD
    assert shown.shape[1] % 2 == shown.shape[2] % 2 == 0
    with Image.open(written.gif) as gif:
        assert gif.n_frames > 5
        assert gif.info["loop"] == 0
    assert written.gif.stat().st_size < video.MOST_GIF_BYTES
    moved = frames(written.gif)[[0, 5]].astype(int)
    assert np.abs(moved[1] - moved[0]).max() > 60


def film(folder, episode, *, successes, shape=(61, 81), seed=0):
    """A film of noise, with this success at each of its pictures."""
    generator = np.random.default_rng(seed)
    path = folder / str(episode)
    path.write_bytes(generator.integers(0, 256, (len(successes), *shape, 3), np.uint8).tobytes())
    end = len(successes) - 1
    moments = tuple(Moment(success, -step, step, step == end) for step, success in enumerate(successes))
    return Film(episode, Outcome(successes[-1], -end, end), moments, str(path), *shape)


NAN = float("nan")


def test_shorter_episodes_keep_their_last_picture_dimmed_and_solved_ones_have_a_green_frame(tmp_path):
    films = [film(tmp_path, 0, successes=[NAN, 0, 0, 1]), film(tmp_path, 1, successes=[NAN, 0]), *()]
    drawn = sheet.Sheet(films, "", 162)
    assert len(drawn) == 4 + sheet.HOLD
    images = [np.asarray(drawn.draw(number)).astype(int) for number in range(len(drawn))]
    left, right = (slice(0, drawn.size[0] // 2), slice(drawn.size[0] // 2, None))
    inside = slice(20, 100)
    green = [np.any(np.all(image == (70, 200, 110), axis=-1), axis=0) for image in images]
    assert [bool(line[left].any()) for line in green[:5]] == [False, False, False, True, True]
    assert not any(line[right].any() for line in green)
    second = [image[inside, right] for image in images]
    assert second[1].mean() > 1.4 * second[2].mean()
    assert all(np.array_equal(second[2], later) for later in second[3:])
    first = [image[inside, left] for image in images]
    assert first[3].mean() > 1.4 * first[4].mean()
    assert np.array_equal(first[4], first[-1])


@pytest.mark.parametrize(("count", "columns", "rows"), [(1, 1, 1), (4, 4, 1), (5, 3, 2), (16, 4, 4)])
def test_films_stand_in_a_grid_of_even_size(count, columns, rows, tmp_path):
    films = [film(tmp_path, number, successes=[NAN, 0], shape=(33, 21)) for number in range(count)]
    width, height = sheet.Sheet(films, "a title that is " + "much " * 100 + "too long", 101).size
    assert (width // 115, (height - 30) // 151) == (columns, rows)
    assert width % 2 == height % 2 == 0


def test_a_gif_gives_up_pixels_and_pictures_to_stay_small(tmp_path, monkeypatch):
    films = [film(tmp_path, 0, successes=[NAN] + [0.0] * 30)]
    large = write_video(films, tmp_path / "large.mp4").gif.stat().st_size
    monkeypatch.setattr(video, "MOST_GIF_BYTES", large // 2)
    small = write_video(films, tmp_path / "small.mp4").gif
    assert small.stat().st_size <= large // 2
    with Image.open(small) as gif, Image.open(tmp_path / "large.gif") as other:
        assert gif.size < other.size
        assert gif.info["duration"] >= other.info["duration"]


@pytest.mark.parametrize("number", [3, 30])
def test_ctrl_c_leaves_the_files_that_were_there(number, tmp_path, monkeypatch):
    """While the MP4 is written, and while the GIF is."""
    films = [film(tmp_path, 0, successes=[0.0] * 8)]
    path = tmp_path / "video.mp4"
    path.write_text("old")
    path.with_suffix(".gif").write_text("old")
    draw, drawn = sheet.Sheet.draw, []

    def interrupted(self, place):
        drawn.append(place)
        if len(drawn) == number:
            signal.raise_signal(signal.SIGINT)
        return draw(self, place)

    monkeypatch.setattr(sheet.Sheet, "draw", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_video(films, path)
    assert path.with_suffix(".gif").read_text() == "old"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["0", "video.gif", "video.mp4"]
    assert (path.read_bytes() == b"old") == (number == 3)


# --- what render() returns


def test_what_render_returns_becomes_a_picture():
    grey = np.arange(6, dtype=np.uint8).reshape(2, 3)
    colours = np.arange(18, dtype=np.uint8).reshape(2, 3, 3)
    opaque = np.concatenate([colours, np.full((2, 3, 1), 255, np.uint8)], -1)
    assert np.array_equal(as_picture(colours), colours)
    assert np.array_equal(as_picture(colours / 255), colours)  # in [0, 1]
    assert np.array_equal(as_picture(colours.astype(np.float32) * 10), colours * 10)  # in [0, 255]
    assert np.array_equal(as_picture(colours.astype(np.int64) - 5), np.clip(colours.astype(int) - 5, 0, 255))
    assert np.array_equal(as_picture(grey), np.stack([grey] * 3, -1))
    assert np.array_equal(as_picture(grey[..., None] > 2), 255 * np.stack([grey > 2] * 3, -1))
    assert np.array_equal(as_picture(opaque), colours)
    assert np.array_equal(as_picture(0 * opaque), np.full((2, 3, 3), 255))  # transparent, on white
    assert as_picture(colours.tolist()).dtype == np.uint8
    assert as_picture(np.zeros((1080, 1919, 3), np.uint8)).shape == (180, 320, 3)
    assert as_picture(np.zeros((3, 2000), np.uint8)).shape == (1, 320, 3)
    assert as_picture(np.array([[np.nan, 0.5]]))[0, :, 0].tolist() == [0, 128]


@pytest.mark.parametrize(
    ("rendered", "words"),
    [
        (None, r"Its render\(\) returned None: make it with render_mode='rgb_array'"),
        ("a text", r"returned a str: let it return an array of shape \(height, width, 3\)"),
        (np.zeros((3, 40, 50)), r"returned an array of shape \(3, 40, 50\) and type float64"),
        (np.zeros((0, 5, 3)), r"of shape \(0, 5, 3\)"),
        (np.zeros((4, 5, 3), complex), "complex128"),
    ],
)
def test_what_is_no_picture_is_refused(rendered, words):
    with pytest.raises(EvaluationError, match=words):
        as_picture(rendered)


# --- what cannot work is said before any episode


class Blind(gymnasium.Env):
    """Takes no render_mode."""

    observation_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)
    action_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)
    name = "the blind"

    def reset(self, *, seed=None, options=None):
        return np.zeros(2, np.float32), {}

    def step(self, action):
        raise AssertionError("an episode was played")

    def make(self):
        return self


class Broken(Blind):
    """Cannot draw."""

    name = "the broken"

    def render(self):
        raise OSError("no such font")


class Growing(Blind):
    """Draws larger and larger pictures."""

    name = "the growing"
    drawn = 0

    def step(self, action):
        return np.zeros(2, np.float32), 0.0, False, False, {}

    def render(self):
        self.drawn += 1
        return np.zeros((40, 40 + self.drawn, 3))


class Absent(Blind):
    """Nobody makes it."""

    def make(self):
        raise AssertionError("it was made")


gymnasium.register("lab/Blind-v0", entry_point=Blind)


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        (
            "lab/Blind-v0",
            r"A picture of lab/Blind-v0 failed. It cannot be made with render_mode='rgb_array' \(Blind\(\) t",
        ),
        (Blind(), "A picture of the blind failed. Its render\\(\\) raised NotImplementedError "),
        (Broken(), r"Its render\(\) raised OSError \(no such font\). Look at what it does."),
        (
            Growing(),
            r"Episode 0 of .* Its pictures changed their size from \(40, 42\) to \(40, 43\) within the episode",
        ),
    ],
    ids=["no mode", "no render", "an error", "another size"],
)
def test_environments_that_do_not_draw_are_refused_in_a_sentence(environment, words, tmp_path):
    with pytest.raises(EvaluationError, match=words) as raised:
        record(home, environment, path=tmp_path / "x.mp4", episodes=1)
    assert "Traceback" not in str(raised.value)
    assert not list(tmp_path.iterdir())


def test_files_that_cannot_be_written_are_refused_first(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    with pytest.raises(FolderError, match=r"No video can be written to .*file \(.*\): choose another path"):
        record(home, Absent(), path=tmp_path / "file" / "x.mp4")
    with pytest.raises(ValueError, match=r"must end in \.mp4, got x\.avi"):
        record(home, Absent(), path=tmp_path / "x.avi")
    with pytest.raises(ValueError, match="1 to 16 episodes, got 17"):
        record(home, Absent(), path=tmp_path / "x.mp4", episodes=17)
    with pytest.raises(TypeError, match="no policy"):
        record(3, Absent(), path=tmp_path / "x.mp4")
    for package in ("imageio.v2", "imageio_ffmpeg"):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, package, None)
            with pytest.raises(DataError, match=r"pip install 'deflow\[video\]'\."):
                record(home, Absent(), path=tmp_path / "x.mp4")


def test_an_evaluator_that_does_not_render_says_so():
    with Evaluator(POINT, workers=1, at_once=False) as evaluator, pytest.raises(EvaluationError, match="renders=True"):
        evaluator.film(home, episodes=1, seed=0)


# --- drawing without a screen


@linux
def test_a_library_is_chosen_unless_the_user_has_or_none_works(monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setenv("MUJOCO_GL", "osmesa")
    assert graphics_variables() == {}
    monkeypatch.delenv("MUJOCO_GL")
    chosen = graphics_variables()
    assert chosen in ({"MUJOCO_GL": "egl"}, {"MUJOCO_GL": "osmesa"})
    monkeypatch.setenv("DISPLAY", ":12345")  # which is not there
    assert graphics_variables() == chosen
    monkeypatch.setenv("PYOPENGL_PLATFORM", "glx")  # with which MuJoCo refuses both
    assert graphics_variables() == {}


@linux
def test_a_machine_without_any_is_told_what_to_install(monkeypatch, tmp_path):
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "MUJOCO_GL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PYOPENGL_PLATFORM", "glx")
    pendulum = Environment("InvertedPendulum-v5")
    with pytest.raises(EvaluationError, match=r"MuJoCo has no OpenGL here .*libegl1") as raised:
        record(home, pendulum, path=tmp_path / "x.mp4", episodes=1, workers=1)
    assert "Traceback" not in str(raised.value)
    with Evaluator(POINT, workers=1, renders=True) as evaluator:  # which needs none
        assert len(evaluator.film(home, episodes=1, seed=0)) == 1


# --- the recipe


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of an agent that executes two actions of a chunk, trained for nothing."""
    folder = tmp_path_factory.mktemp("run")
    generator = np.random.default_rng(0)
    names = ("observations", "actions", "rewards", "terminals")
    rows = [generator.uniform(-0.5, 0.5, (40, size)).astype(np.float32) for size in (2, 2, 1, 1)]
    rows[2], rows[3] = rows[2][:, 0], np.arange(40) % 10 == 9
    np.savez(folder / "data.npz", **dict(zip(names, rows, strict=True)))
    task = deflow.load_task(POINT, deflow.UserData(folder / "data.npz"))
    config = deflow.agent_config("deflow-chunked", chunk=4, execute=2, width=8, depth=1, solver=deflow.solvers.Euler(1))
    learner = deflow.Learner.create(config, task.spec, task.train, key=jax.random.key(0))
    made = deflow.create_run(folder, task, config, learner, seed=0)
    made.save(7, learner)
    return made.path


def test_evaluate_writes_a_video_and_gives_the_same_numbers(run, tmp_path):
    plain = recipe("evaluate", run, "--episodes", 3, "--workers", 1)
    filmed = recipe("evaluate", run, "--episodes", 3, "--workers", 2, "--video", 2)
    assert plain.returncode == filmed.returncode == 0, filmed.stderr
    numbers, said = filmed.stdout.rsplit("\n", 2)[:2]
    assert numbers == plain.stdout.rstrip("\n")
    assert said == f"The first 2 episodes: {run}/videos/step7.mp4 and step7.gif"
    assert len(frames(run / "videos" / "step7.mp4")) == 31 + sheet.HOLD
    assert "warning" not in filmed.stderr
    elsewhere = recipe("evaluate", run, "--episodes", 1, "--video", 1, "--workers", 1, "--output", tmp_path / "a b.mp4")
    assert elsewhere.returncode == 0, elsewhere.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"a b.mp4", "a b.gif"}
    assert deflow.Run.open(run).checkpoints.steps() == [7]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--video", "3", "--episodes", "2"], "--video 3 shows more than the 2 episodes that are played."),
        (["--video", "-1"], "--video must be at least 0, got -1."),
        (["--output", "x.mp4"], "--output is the file of a video"),
        (["--video", "2", "--output", "x.gif"], "must end in .mp4, got x.gif."),
    ],
)
def test_what_evaluate_refuses(run, flags, words):
    outcome = recipe("evaluate", run, *flags)
    assert outcome.returncode == 2
    assert words in outcome.stderr
    assert outcome.stdout == ""


def test_an_interrupted_video_leaves_the_numbers(run, tmp_path):
    """Ctrl-C during a film of an environment that draws slowly."""
    slow = tmp_path / "own_environment.py"
    slow.write_text(FILE.read_text().replace("sheet = np.full", "__import__('time').sleep(0.2); sheet = np.full"))
    words = [
        "recipes/evaluate.py",
        run,
        "--import",
        slow,
        "--episodes",
        1,
        "--video",
        1,
        "--output",
        tmp_path / "x.mp4",
    ]
    with subprocess.Popen(
        [sys.executable, *map(str, words)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        first = [process.stdout.readline() for _ in range(2)]
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=60)
    assert "return" in first[1]
    assert process.returncode == 130
    assert told.rstrip().endswith("error: interrupted.")
    assert {path.name for path in tmp_path.iterdir()} <= {"own_environment.py", "__pycache__"}

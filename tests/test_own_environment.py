"""Environments of the user's own: known to the workers, safe as folders; every episode and every wait has an end."""

import io
import os
import pickle
import subprocess
import sys
import threading
import time
from pathlib import Path

import gymnasium
import numpy as np
import pytest

import deflow
from deflow.environments import Environment, import_file, step_success
from deflow.environments.environment import DEFAULT_HORIZON
from deflow.errors import EvaluationError, EvaluationInterrupted, InteractionError, SpaceError, UnknownTaskError
from deflow.evaluation import Evaluator
from deflow.interaction import Actors
from deflow.runs.run import folder_name

ROOT = Path(__file__).parents[1]
FILE = Path(__file__).with_name("own_environment.py")


@pytest.fixture(scope="module", autouse=True)
def imported():
    import_file(FILE)


def data(path):
    """Three episodes of random actions, in Gymnasium's words."""
    generator, rows = np.random.default_rng(0), []
    for _ in range(3):
        place = generator.uniform(-1, 1, 2)
        for step in range(10):
            action = generator.uniform(-0.5, 0.5, 2)
            rows.append((place, action, -np.linalg.norm(place + action), False, step == 9, place + action))
            place = place + action
    names = ("observations", "actions", "rewards", "terminations", "truncations", "next_observations")
    np.savez(path, **{name: np.asarray(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)})
    return path


def stepped(actors, actions):
    actors.send(actions)
    return actors.receive()


def still(observation, *, key):
    return 0 * observation[:2]


def policy(observation, *, key):
    return 0 * observation


def test_workers_know_what_was_imported_here_and_episodes_end():
    """It has no time limit of its own, and is known by its file alone."""
    environment = Environment("lab/Point-v0")
    assert not environment.limited
    assert Environment("Pendulum-v1").limited
    with Evaluator(environment, workers=2) as evaluator:
        evaluator.check()
        result = evaluator(policy, episodes=2, seed=0)
    assert result.lengths.tolist() == [DEFAULT_HORIZON] * 2
    with Actors(environment, seeds=[0]) as actors:
        step = stepped(actors, np.ones((1, 1, 2), np.float32))
        np.testing.assert_allclose(step.next_observation - step.observation, 0.5, atol=1e-6)


def test_a_file_that_changed_since_is_not_run_in_a_worker(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(FILE.read_text().replace("lab/Point-v0", "lab/Changing-v0"))
    import_file(file)
    content = FILE.read_text().replace("lab/Point-v0", "lab/Changing-v0") + "\n# more\n"
    file.write_text(content)
    try:
        with pytest.raises(EvaluationError, match=r"mine.py has changed since it was imported"):
            Evaluator(Environment("lab/Changing-v0"), workers=1).check()
    finally:
        from deflow.environments import user_files

        user_files._imported.pop(file.absolute())
        gymnasium.registry.pop("lab/Changing-v0")


def test_module_names(tmp_path, monkeypatch):
    (tmp_path / "my_lab.py").write_text(FILE.read_text().replace("lab/Point-v0", "Modular-v0"))
    monkeypatch.syspath_prepend(tmp_path)
    environment = Environment("my_lab:Modular-v0")
    assert environment.spec().action_size == 2
    with Evaluator(environment, workers=1) as evaluator:
        evaluator.check()
    with pytest.raises(UnknownTaskError, match="The module 'no_such_lab' of 'no_such_lab:X-v0' cannot be imported"):
        Environment("no_such_lab:X-v0").spec()


def test_names_as_folders():
    assert folder_name("lab/Point-v0") == "lab_Point-v0"
    assert folder_name("my_lab:Modular-v0") == "my_lab_Modular-v0"
    assert folder_name("../../etc") == "_.._etc"
    assert folder_name("cube-single-play-singletask-task2-v0") == "cube-single-play-singletask-task2-v0"


def test_from_the_command_line_to_an_evaluation(tmp_path):
    """Trained, evaluated in workers, and evaluated again by the command that is printed."""
    sizes = [
        flag for part in ("field", "refiner", "critic") for flag in (f"--{part}.width", "8", f"--{part}.depth", "1")
    ]
    flags = ["--env", "lab/Point-v0", "--data", data(tmp_path / "mine.npz"), "--import", FILE, "--output-dir", tmp_path]
    flags += ["--steps", "4", "--eval-every", "4", "--episodes", "1", "--batch-size", "4", "--workers", "1", *sizes]
    outcome = run(["recipes/offline.py", *flags])
    assert outcome.returncode == 0, outcome.stderr
    assert "3 trajectories; 0 terminated, 3 truncated" in outcome.stdout
    assert "the environment has no time limit" in " ".join(outcome.stdout.split())
    assert "standardize (the default where no settings are published)" in outcome.stdout
    (path,) = (tmp_path / "lab_Point-v0" / "deflow").glob("seed0-*")
    kept = deflow.Run.open(path)
    assert kept.environment == "lab/Point-v0"
    assert kept.read("eval")["evaluation/episode.length"].tolist() == [DEFAULT_HORIZON]
    outcome = run(["recipes/evaluate.py", path, "--episodes", "1", "--workers", "1", "--import", FILE])
    assert outcome.returncode == 0, outcome.stderr


def run(words):
    return subprocess.run(
        [sys.executable, *map(str, words)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "200"},
        check=False,
    )


# --- waits


class Slow(gymnasium.Env):
    """A step takes a minute."""

    observation_space = gymnasium.spaces.Box(-1.0, 1.0, (3,), np.float32)
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)

    def reset(self, *, seed=None, options=None):
        return np.zeros(3, np.float32), {}

    def step(self, action):
        time.sleep(60)
        return np.zeros(3, np.float32), 0.0, False, False, {}


class Endless(Slow):
    """No episode ends."""

    def step(self, action):
        return np.zeros(3, np.float32), 0.0, False, False, {}


class Maker:
    name = "slow"

    def __init__(self, kind):
        self.kind = kind

    def make(self):
        return self.kind()


def soon(seconds):
    """An event that is set soon."""
    event = threading.Event()
    threading.Timer(seconds, event.set).start()
    return event


def test_an_evaluation_hears_an_interrupt_whatever_its_workers_do():
    with Evaluator(Maker(Slow), workers=1) as evaluator:
        evaluator.check()
        began = time.monotonic()
        with pytest.raises(EvaluationInterrupted):
            evaluator(still, episodes=1, seed=0, interrupt=soon(1.0))
        assert time.monotonic() - began < 8


def test_an_evaluation_that_hangs_ends():
    with Evaluator(Maker(Slow), workers=1) as evaluator:
        evaluator.check()
        evaluator._patience = 2.0
        with pytest.raises(EvaluationError, match=r"slow have not answered for 2 seconds \(Episode 0\)"):
            evaluator(still, episodes=1, seed=0)


def test_an_episode_that_never_ends_is_an_error(monkeypatch):
    from deflow.evaluation import worker

    monkeypatch.setattr(worker, "MOST_STEPS", 50)
    alone = worker.Worker(pickle.dumps(Maker(Endless)), io.StringIO())
    alone._load = lambda job: (lambda weights, observation, key, step: np.zeros(2, np.float32), None)
    with pytest.raises(EvaluationError, match=r"has not ended after 50 steps: make.. should return .* time limit"):
        alone.run(worker.Job("", "", 0), 0)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"patience": 1.0}, "environment 0 of seed 0 of slow has not answered for 1 seconds, in step 0 of episode 0"),
        ({"interrupt": soon}, "environment 0 of seed 0 of slow does not answer, in step 0 of episode 0"),
    ],
)
def test_acting_waits_neither_for_ever_nor_deaf(options, words):
    if "interrupt" in options:
        options = {"interrupt": soon(3.0)}
    began = time.monotonic()
    with Actors(Maker(Calm), seeds=[0], **options) as actors, pytest.raises(InteractionError, match=words):
        stepped(actors, np.zeros((1, 1, 2), np.float32))
    assert time.monotonic() - began < 15


class Calm(Slow):
    """Quick while it is probed (ten steps of two episodes), then slow."""

    count = 0

    def step(self, action):
        self.count += 1
        if self.count > 20:
            time.sleep(60)
        return np.zeros(3, np.float32), 0.0, False, False, {}


def test_what_a_worker_cannot_make_is_known_before_training():
    with pytest.raises(EvaluationError, match="There is no task named 'Unknown-v0'"):
        Evaluator(Environment("Unknown-v0"), workers=1).check()


@pytest.mark.parametrize(
    ("info", "success"),
    [({"success": True}, 1), ({"is_success": np.array([False, True])}, 1), ({"is_success": 0.0}, 0), ({}, np.nan)],
)
def test_success_has_two_usual_names(info, success):
    np.testing.assert_equal(step_success(info), success)


class Short(gymnasium.Env):
    """Its observations are shorter than its space says."""

    observation_space = gymnasium.spaces.Box(-1, 1, (3,), np.float32)
    action_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        return np.zeros(2, np.float32), {}


def test_an_observation_that_does_not_fit_its_space_is_found_before_training():
    gymnasium.register("Short-v0", entry_point=Short, max_episode_steps=5)
    with pytest.raises(SpaceError, match=r"Short-v0 gave an observation of shape \(2,\), but .* says \(3,\)"):
        Environment("Short-v0").spec()

"""Several processes that train together: they end as one process does, and none waits for one that is gone."""

import os
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import several_devices
import several_processes
from in_process import recipe
from several_devices import numbers

from deflow import Devices, Evaluator
from deflow.cli import joining
from deflow.errors import UsageError
from deflow.runs import Run, load_learner

GONE = "Another of the 2 processes that train together has ended or cannot be reached"
ROOT = Path(__file__).parents[1]
TINY = [word for part in ("field", "critic", "refiner") for word in (f"--{part}.width", 8, f"--{part}.depth", 1)]


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def steps_of_slurm():
    """What Slurm tells each of two processes that it starts on this machine."""
    job = {"SLURM_JOB_ID": random.randrange(10**6), "SLURM_STEP_NODELIST": "127.0.0.1"}
    count = {"SLURM_NTASKS": 2, "SLURM_STEP_NUM_TASKS": 2}
    return lambda process: {
        name: str(value) for name, value in {**job, **count, "SLURM_PROCID": process, "SLURM_LOCALID": process}.items()
    }


class Together:
    """Two processes of one command, each with what it says in a file."""

    def __init__(self, folder, command, variables=lambda process: {}):
        self.files = [folder / "said-0", folder / "said-1"]
        path = {"PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}"}
        self.processes = []
        for process, file in enumerate(self.files):
            with open(file, "w") as said:
                arguments = [sys.executable, *map(str, command(process))]
                own = {**os.environ, **path, **variables(process)}
                self.processes.append(subprocess.Popen(arguments, env=own, stdout=said, stderr=subprocess.STDOUT))

    def wait(self):
        """Their exit codes, and what they said."""
        try:
            codes = [process.wait(240) for process in self.processes]
        finally:
            for process in self.processes:
                process.kill()
        return codes, [file.read_text() for file in self.files]


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """The folder with the results of two processes, which find each other by what Slurm tells them."""
    folder, slurm = tmp_path_factory.mktemp("two"), steps_of_slurm()
    together = Together(folder, lambda process: [several_processes.__file__, folder, process], slurm)
    codes, said = together.wait()
    assert codes == [0, 0], said
    assert (folder / "done-0").exists()
    assert (folder / "done-1").exists()
    return folder


@pytest.mark.parametrize("name", several_processes.CASES)
def test_in_two_processes_as_in_one(two, name):
    key, _, given = several_devices.CASES[name]
    expected = numbers(several_devices.trained(key, Devices(), **given))
    for process in (0, 1):
        with np.load(two / f"{name}-{process}.npz") as found:
            assert len(found) == len(expected)
            for left, right in zip(found.values(), expected, strict=True):
                np.testing.assert_allclose(left, right, rtol=1e-5, atol=1e-5)


def test_an_evaluation_is_shared(two):
    with Evaluator("Pendulum-v1", workers=1) as evaluator:
        expected = evaluator(several_processes.pushes, episodes=3, seed=5)
    for process in (0, 1):
        np.testing.assert_array_equal(np.load(two / f"returns-{process}.npy"), expected.returns)


def test_processes_that_do_not_find_each_other_say_so():
    program = (
        "from deflow.cli import joining, one_sentence\n"
        "joining.PATIENCE = 2\n"
        f"with one_sentence(): joining.join('1/2@127.0.0.1:{free_port()}')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    assert "did not find each other within 2 s" in done.stdout + done.stderr
    assert "stack trace" not in done.stdout + done.stderr


@pytest.mark.parametrize("given", ["2/2@host:1", "0/2@host", "host:1", "0/2@host:x", "0/2@host:99999"])
def test_refuses_what_names_no_process(given):
    with pytest.raises(UsageError, match=f"^--join {given}: give the number of this process, how many there are,"):
        joining.join(given)


def test_a_process_that_slurm_starts_alone_is_alone(monkeypatch):
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "1")
    joining.join(None)  # JAX, which is in use here, would refuse to join


# --- a recipe


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Transitions of Pendulum's sizes, drawn at random."""
    path, rows, random = tmp_path_factory.mktemp("data") / "own.npz", 600, np.random.default_rng(0)
    observations = random.normal(size=(rows + 1, 3)).astype(np.float32)
    np.savez(
        path,
        observations=observations[:-1],
        next_observations=observations[1:],
        actions=random.uniform(-2, 2, (rows, 1)).astype(np.float32),
        rewards=random.normal(size=rows).astype(np.float32),
        terminals=np.zeros(rows),
        timeouts=np.arange(rows) % 100 == 99,
    )
    return path


def options(data, folder, steps):
    every = ["--log-every", 5, "--save-every", 5, "--estimate-steps", 0]
    what = ["--env", "none", "--data", data, "--seeds", 0, 1, "--batch-size", 16, "--steps", steps]
    return [ROOT / "recipes" / "offline.py", *what, *every, *TINY, "--output-dir", folder]


def joined(command):
    port = free_port()
    return lambda process: [*command, "--join", f"{process}/2@127.0.0.1:{port}"]


def runs_in(folder):
    return sorted(path.parent for path in folder.rglob("config.json"))


def wait_for(run, step, together):
    until = time.monotonic() + 120
    while not (run() and (run()[0] / "checkpoints" / str(step) / "manifest.json").exists()):
        assert time.monotonic() < until, [file.read_text() for file in together.files]
        assert all(process.poll() is None for process in together.processes)
        time.sleep(0.05)


def test_a_training_survives_the_loss_of_either_process(tmp_path, data):
    folder = tmp_path / "together"
    together = Together(tmp_path, joined(options(data, folder, 100_000)))
    wait_for(lambda: runs_in(folder), 10, together)
    together.processes[1].kill()
    codes, said = together.wait()
    assert codes == [1, -signal.SIGKILL], said
    assert GONE in said[0]
    assert "Process 1 of 2: what happens is said by process 0." in said[1]

    first, second = runs_in(folder)
    reached = max(Run.open(first).checkpoints.steps())
    resumed = [ROOT / "recipes" / "offline.py", "--resume", first, "--steps"]
    together = Together(tmp_path, joined([*resumed, 100_000]))
    wait_for(lambda: [first], reached + 10, together)
    together.processes[0].kill()
    codes, said = together.wait()
    assert codes[0] == -signal.SIGKILL
    assert codes[1] not in (0, -signal.SIGKILL), said
    assert GONE in said[1]
    assert "stack trace" not in said[1]

    elsewhere = joined([*resumed, 100_000])
    together = Together(
        tmp_path, lambda process: [*elsewhere(process), *(["--data", tmp_path / "gone.npz"] if process else [])]
    )
    codes, said = together.wait()
    assert codes == [1, 2], said
    assert f"there is no file {tmp_path / 'gone.npz'}" in said[1]
    assert f"{GONE}, so this one (number 0) ends, too" in said[0]

    both = max(Run.open(first).checkpoints.steps()) + 10
    codes, said = Together(tmp_path, joined([*resumed, both])).wait()
    assert codes == [0, 0], said
    last = both + 10  # in one process, whatever the run was begun with
    done = recipe("resume", first, "--steps", last)
    assert done.returncode == 0, done.stderr
    alone = recipe("offline", *options(data, tmp_path / "alone", last)[1:])
    assert alone.returncode == 0, alone.stderr
    for run, other in zip((first, second), runs_in(tmp_path / "alone"), strict=True):
        (found, _), (expected, _) = load_learner(run, step=last), load_learner(other, step=last)
        for left, right in zip(numbers(found), numbers(expected), strict=True):
            np.testing.assert_allclose(left, right, rtol=1e-5, atol=1e-5)
        assert [*Run.open(run).read("train")["step"]] == [*Run.open(other).read("train")["step"]]

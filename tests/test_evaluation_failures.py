"""What is said when an episode fails or a worker dies, and that nothing hangs or stays behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import equinox as eqx
import gymnasium
import jax.numpy as jnp
import numpy as np
import pytest

from deflow.errors import EvaluationError
from deflow.evaluation import Evaluator, evaluate


class Still(eqx.Module):
    """A policy of one number."""

    value: jnp.ndarray = eqx.field(converter=jnp.asarray, default=0.0)

    def __call__(self, observation, *, key):
        return jnp.zeros(1) + self.value


class Doomed(gymnasium.Env):
    """Does what its actions say: up to 0.25 nothing, above 0.25 an exception, 0.5 a kill, 0.75 a crash, 1 for ever."""

    observation_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)
    action_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)

    def __init__(self, name="doomed", fails_to_make=False):
        self.name = name
        self.fails_to_make = fails_to_make

    def make(self):
        if self.fails_to_make:
            raise OSError("no such asset")
        return self

    def reset(self, *, seed=None, options=None):
        return np.zeros(2, np.float32), {}

    def step(self, action):
        return act_out(float(action[0]))


class AwkwardError(Exception):
    """An exception that cannot be unpickled."""

    def __init__(self, one, two):
        super().__init__(f"{one} and {two}")


def act_out(action):
    if action > 0.9:
        time.sleep(0.01)
    elif action > 0.7:
        os.kill(os.getpid(), signal.SIGSEGV)
    elif action > 0.45:
        os.kill(os.getpid(), signal.SIGKILL)
    elif action > 0.25:
        raise AwkwardError("sticks", "stones")
    return np.zeros(2, np.float32), -1.0, action < 0.9, False, {}


@pytest.fixture(scope="module")
def evaluator():
    with Evaluator(Doomed(), workers=2) as evaluator:
        yield evaluator


@pytest.mark.parametrize(
    ("action", "words"),
    [
        (0.3, ["of doomed failed", "AwkwardError: sticks and stones", "in act_out"]),
        (0.5, ["ended by signal SIGKILL while it ran episode", "of doomed", "memory"]),
        (0.8, ["ended by signal SIGSEGV while it ran episode", "of doomed", "Segmentation fault", "in act_out"]),
        (np.nan, ["Episode ", "of doomed failed", "returned [nan] at step 0", "not finite"]),
    ],
    ids=["exception", "kill", "crash", "nan"],
)
def test_failure_names_the_episode_and_the_next_call_works(evaluator, action, words):
    with pytest.raises(EvaluationError) as caught:
        evaluator(Still(action), episodes=6, seed=0)
    for word in words:
        assert word in str(caught.value)
    assert evaluator(Still(), episodes=3, seed=0).returns.tolist() == [-1.0] * 3


def test_a_worker_killed_between_evaluations_is_reported_and_replaced(evaluator):
    evaluator(Still(), episodes=2, seed=0)
    scratch = Path(evaluator._scratch.name)  # the other worker may still be starting
    victim = next(p for p in evaluator._pool._pool._context.processes if (scratch / f"worker-{p.pid}").exists())
    os.kill(victim.pid, signal.SIGKILL)
    victim.join()

    def until_noticed():
        for _ in range(20):
            evaluator(Still(), episodes=2, seed=0)
            time.sleep(0.1)

    with pytest.raises(EvaluationError, match="signal SIGKILL between episodes of doomed"):
        until_noticed()
    assert len(evaluator(Still(), episodes=2, seed=0)) == 2


def test_environment_that_cannot_be_made_or_sent():
    with pytest.raises(EvaluationError, match=r"(?s)making of broken failed.*OSError: no such asset"):
        evaluate(Still(), Doomed("broken", fails_to_make=True), episodes=1, workers=1)
    unpicklable = Doomed("local")
    unpicklable.make = lambda: None
    with pytest.raises(EvaluationError, match=r"local cannot be sent to worker processes.*top of a module"):
        Evaluator(unpicklable, workers=1)


class Discrete(Doomed):
    action_space = gymnasium.spaces.Discrete(2)


class Wide(Doomed):
    action_space = gymnasium.spaces.Box(-2, 2, (1,), np.float32)


class Keyed(Doomed):
    observation_space = gymnasium.spaces.Dict({"a": gymnasium.spaces.Box(-1, 1, (2,))})


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        (Discrete, "one continuous vector.*Discrete"),
        (Wide, "RescaleAction"),
        (Keyed, "single array.*FlattenObservation"),
    ],
)
def test_spaces_that_no_policy_fits_are_refused(environment, words):
    with pytest.raises(EvaluationError, match=words):
        evaluate(Still(), environment("odd"), episodes=1, workers=1)


SCRIPT = """
import sys, time
sys.path[:0] = [{tests!r}, {root!r}]
from deflow.evaluation import Evaluator
from test_evaluation_failures import Doomed, Still
evaluator = Evaluator(Doomed(), workers=2)  # no __main__ guard
evaluator(Still(), episodes=2, seed=0)
print(*[process.pid for process in evaluator._pool._pool._context.processes], flush=True)
with evaluator:
    evaluator(Still(1.0), episodes=1, seed=0)  # for ever, while the other worker waits
"""


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie that init has yet to collect does not."""
    try:
        os.kill(pid, 0)
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (ProcessLookupError, FileNotFoundError):
        return False


@pytest.mark.skipif(not Path("/proc").exists(), reason="reads /proc")
@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGKILL])
def test_workers_end_with_their_parent(tmp_path, ending):
    """Ctrl-C goes to the whole group and only the parent speaks; a killed parent leaves no orphans."""
    tests = Path(__file__).parent
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(tests=str(tests), root=str(tests.parent)))
    process = subprocess.Popen(
        [sys.executable, script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},  # a killed parent cannot tidy up
    )
    assert process.stdout is not None
    workers = [int(pid) for pid in process.stdout.readline().split()]
    assert len(workers) == 2
    if ending == signal.SIGINT:
        for pid in workers:
            os.kill(pid, signal.SIGINT)
        time.sleep(1.0)
        assert all(map(alive, workers)), "workers must be deaf to Ctrl-C"
        os.killpg(process.pid, signal.SIGINT)
    else:
        process.kill()
    _, errors = process.communicate(timeout=20)
    deadline = time.monotonic() + 10
    while any(map(alive, workers)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(alive, workers))
    if ending == signal.SIGINT:
        assert errors.count("Traceback") == 1, errors
        assert errors.rstrip().endswith("KeyboardInterrupt")
    assert "SpawnProcess" not in errors

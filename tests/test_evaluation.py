"""Evaluation's results: real environments, seeds, any number of workers."""

import dataclasses
import math
import os

import equinox as eqx
import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from deflow.environments import Environment
from deflow.evaluation import Evaluation, Evaluator, evaluate

MAZE = "pointmaze-medium-navigate-singletask-v0"
CUBE = "cube-single-play-singletask-task2-v0"
EPISODES = 5
STEPS = 40


@dataclasses.dataclass(frozen=True)
class Short:
    """A real environment that stops early."""

    name: str
    steps: int = STEPS

    def make(self):
        return gymnasium.wrappers.TimeLimit(Environment(self.name).make(), self.steps)


@dataclasses.dataclass(frozen=True)
class TaskLike:
    """Anything that says which environment it means."""

    environment: Short


class Counter(gymnasium.Env):
    """Ends after three steps, pays the worker's process id, and reports the successes it was given for each episode."""

    name = "counter"
    observation_space = gymnasium.spaces.Box(-1, 1, (2,), np.float64)
    action_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)

    def __init__(self, successes=()):
        self.successes = list(successes)

    def make(self):
        return self

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time = 0
        self.reports = self.successes.pop(0) if self.successes else (None, None, None)
        return np.zeros(2), {}

    def step(self, action):
        success = self.reports[self.time]
        self.time += 1
        info = {} if success is None else {"success": success}
        return np.zeros(2), os.getpid() if self.time == 1 else 0.0, False, self.time == 3, info


class Policy(eqx.Module):
    """Random actions around what a layer says."""

    layer: eqx.nn.Linear
    noise: float = 0.5

    def __init__(self, observation_size, action_size, seed=0):
        self.layer = eqx.nn.Linear(observation_size, action_size, key=jax.random.key(seed))

    def __call__(self, observation, *, key):
        return jnp.tanh(self.layer(observation)) + self.noise * jax.random.normal(key, (self.layer.out_features,))


class Recorder(gymnasium.Wrapper):
    """Pays the sum of what it shows, so that returns tell trajectories apart bit by bit."""

    def step(self, action):
        observation, _, terminated, truncated, info = self.env.step(action)
        return observation, float(np.sum(observation, dtype=np.float64)), terminated, truncated, info


@dataclasses.dataclass(frozen=True)
class Recorded(Short):
    """A real environment whose return is a fingerprint of the episode."""

    def make(self):
        return Recorder(super().make())


def outcomes(evaluation: Evaluation) -> list:
    return [evaluation.success.tolist(), evaluation.returns.tolist(), evaluation.lengths.tolist()]


@pytest.mark.parametrize(
    ("name", "sizes", "others"), [(MAZE, (2, 2), (1, 3)), (CUBE, (28, 5), (3,))], ids=["maze", "cube"]
)
def test_result_depends_on_the_seed_and_on_nothing_else(name, sizes, others):
    policy = Policy(*sizes)
    before = np.random.get_state()[1].copy()
    with Evaluator(Recorded(name), workers=2) as two:
        first = two(policy, episodes=EPISODES, seed=3)
        other_weights = two(Policy(*sizes, seed=1), episodes=2, seed=3)
        again = two(policy, episodes=EPISODES, seed=3)
        fewer = two(policy, episodes=2, seed=3)
        other_seed = two(policy, episodes=2, seed=4)
    assert outcomes(again) == outcomes(first)
    assert fewer.returns.tolist() == first.returns[:2].tolist()
    assert len(set(first.returns)) == EPISODES
    assert not set(other_seed.returns) & set(first.returns)
    assert not set(other_weights.returns) & set(first.returns)
    for workers in others:
        assert outcomes(evaluate(policy, Recorded(name), episodes=EPISODES, seed=3, workers=workers)) == outcomes(first)
    assert np.array_equal(np.random.get_state()[1], before)


def test_real_task_reports_success_return_and_length():
    result = evaluate(Policy(2, 2), TaskLike(Short(MAZE)), episodes=2, seed=0, workers=1)
    assert result.success.tolist() == [0.0, 0.0]
    assert result.returns.tolist() == [-STEPS, -STEPS]
    assert result.lengths.tolist() == [STEPS, STEPS]
    assert result.metrics()["evaluation/success"] == 0.0


def test_success_is_any_step_of_the_episode():
    """One worker plays the episodes in order, so that each gets its own list of reports."""
    environment = Counter([(0, 1, 0), (0.0, 0.0, 0.0), (None, None, None), (None, None, True)])
    result = evaluate(Policy(2, 1), environment, episodes=4, workers=1)
    assert result.success.tolist() == pytest.approx([1.0, 0.0, math.nan, 1.0], nan_ok=True)
    assert result.lengths.tolist() == [3] * 4


def test_processes_stay_between_evaluations_and_are_gone_after_close():
    with Evaluator(Counter(), workers=2) as evaluator:
        seen = {int(pid) for _ in range(3) for pid in evaluator(Policy(2, 1), episodes=8, seed=0).returns}
        assert len(seen) <= 2
        assert os.getpid() not in seen
        scratch = evaluator._scratch.name
        assert not [name for name in os.listdir(scratch) if name.startswith("weights")]
    for pid in seen:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    assert not os.path.exists(scratch)


def test_workers_that_need_not_start_at_once_start_when_they_are_needed():
    with Evaluator(Counter(), workers=1, at_once=False) as evaluator:
        assert evaluator._pool is None
        evaluator.check()
        assert evaluator._pool is not None
        assert len(evaluator(Policy(2, 1), episodes=2, seed=0).returns) == 2


def test_metrics_have_wilson_and_student_intervals():
    result = Evaluation(np.array([1.0] * 7 + [0.0] * 3), np.arange(10.0), np.full(10, 4))
    metrics = result.metrics()
    assert metrics["evaluation/success"] == pytest.approx(0.7)
    assert metrics["evaluation/success.low"] == pytest.approx(0.3968, abs=1e-4)  # Wilson (1927), by hand
    assert metrics["evaluation/success.high"] == pytest.approx(0.8922, abs=1e-4)
    half = 2.262157 * math.sqrt(np.var(np.arange(10), ddof=1) / 10)
    assert metrics["evaluation/episode.return.low"] == pytest.approx(4.5 - half, abs=1e-4)
    assert metrics["evaluation/episode.return.high"] == pytest.approx(4.5 + half, abs=1e-4)
    assert metrics["evaluation/episode.length"] == 4.0
    assert "success 0.70 [0.40, 0.89]" in str(result)


def test_what_is_not_known_is_not_said():
    assert str(Evaluation(np.full(2, np.nan), np.arange(2.0), np.full(2, 4))).startswith("return 0.5, length 4 over 2")


def test_metrics_without_success_or_with_one_episode_are_nan_not_wrong():
    metrics = Evaluation(np.array([math.nan]), np.array([2.0]), np.array([3])).metrics()
    assert math.isnan(metrics["evaluation/success"])
    assert math.isnan(metrics["evaluation/success.high"])
    assert math.isnan(metrics["evaluation/episode.return.low"])
    assert metrics["evaluation/episode.return"] == 2.0


@pytest.mark.parametrize("given", [{"episodes": 0, "seed": 0}, {"episodes": 1, "seed": -1}])
def test_impossible_numbers_are_refused(given):
    with Evaluator(Counter(), workers=1) as evaluator, pytest.raises(ValueError, match="at least"):
        evaluator(Policy(2, 1), **given)
    with pytest.raises(ValueError, match="workers must be at least 1, got 0"):
        Evaluator(Counter(), workers=0)

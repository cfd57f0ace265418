"""Environments: actions in [-1, 1] on our side, checked spaces, and a recipe that can be sent to a worker."""

import pickle
import subprocess
import sys

import gymnasium
import numpy as np
import pytest

from deflow.environments import Environment
from deflow.errors import DataError, SpaceError
from deflow.types import Spec

CUBE = "cube-single-play-singletask-task2-v0"


class Odd(gymnasium.Env):
    """Spaces as the test wants them."""

    def __init__(self, observations, actions):
        self.observation_space, self.action_space = observations, actions

    def reset(self, *, seed=None, options=None):
        return self.observation_space.sample(), {}

    def step(self, action):
        return self.observation_space.sample(), 0.0, False, False, {}


def odd(name, observations, actions):
    gymnasium.register(name, lambda: Odd(observations, actions))
    return Environment(name)


VECTOR = gymnasium.spaces.Box(-1, 1, (3,))


def test_a_fresh_process_that_imports_environments_alone_knows_ogbenchs():
    """A worker does no more than that, and needs no JAX."""
    code = (
        "import sys; from deflow.environments import Environment\n"
        f"assert Environment({CUBE!r}).task.family == 'cube'; assert 'jax' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_environment_is_made_without_a_warning():
    """In a process of its own, since Gymnasium says such things once."""
    code = f"from deflow.environments import Environment; Environment({CUBE!r}).make().reset(seed=0)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=True)
    assert "WARN" not in done.stderr


def test_an_ogbench_environment_speaks_float32_and_its_sizes_are_known():
    environment = pickle.loads(pickle.dumps(Environment(CUBE)))
    assert environment == Environment(CUBE)
    assert environment.spec() == Spec(observation_shape=(28,), action_size=5, horizon=200)
    made = environment.make()
    observation, _ = made.reset(seed=3)
    following, reward, *_ = made.step(np.zeros(5, np.float32))
    assert observation.dtype == following.dtype == np.float32
    assert observation.shape == following.shape == (28,)
    assert reward == -1.0
    again, _ = made.reset(seed=3)
    np.testing.assert_array_equal(observation, again)


@pytest.mark.parametrize("timing", ["pre", "post"])
def test_success_timing_reaches_ogbench(timing):
    made = Environment("pointmaze-medium-navigate-singletask-v0", success_timing=timing).make()
    made.reset(seed=0)
    bare = made.unwrapped
    step = 0.19 / np.sqrt(2)
    bare.set_xy(np.asarray(bare.cur_goal_xy) - (bare._goal_tol + 0.05) / np.sqrt(2))  # one step before the goal
    *_, terminated, _, info = made.step(np.full(2, step / 0.2))
    assert bool(terminated) == (timing == "post")
    assert info["success"] == (timing == "post")


def test_success_timing_has_two_values():
    with pytest.raises(DataError, match="'pre' or 'post', got 'later'"):
        Environment(CUBE, success_timing="later")


def test_actions_are_rescaled_to_the_environments_bounds():
    made = Environment("Pendulum-v1").make()
    assert made.action_space.low == -1
    assert made.action_space.high == 1
    made.reset(seed=0)
    for action, torque in [(1.0, 2.0), (-0.5, -1.0), (7.0, 2.0)]:
        made.step(np.asarray([action], np.float32))
        assert made.unwrapped.last_u == pytest.approx(torque)
    np.testing.assert_allclose(made.bounds.to_unit(np.asarray([[-2.0], [1.0]])), [[-1.0], [0.5]])
    assert Environment("Pendulum-v1").spec() == Spec(observation_shape=(3,), action_size=1, horizon=200)


def test_pixels_stay_bytes():
    camera = gymnasium.spaces.Box(0, 255, (8, 8, 3), np.uint8)
    environment = odd("DataPixels-v0", camera, VECTOR)
    assert environment.spec().observation_dtype == "uint8"
    assert environment.make().reset()[0].dtype == np.uint8


@pytest.mark.parametrize(
    ("name", "observations", "actions", "words"),
    [
        ("DataDiscrete-v0", VECTOR, gymnasium.spaces.Discrete(4), "continuous"),
        ("DataDict-v0", gymnasium.spaces.Dict({"a": VECTOR}), VECTOR, "FlattenObservation"),
        ("DataTuple-v0", gymnasium.spaces.Tuple([VECTOR]), VECTOR, "FlattenObservation"),
        ("DataUnbounded-v0", VECTOR, gymnasium.spaces.Box(-np.inf, np.inf, (2,)), "finite bounds"),
        ("DataMatrix-v0", VECTOR, gymnasium.spaces.Box(-1, 1, (2, 2)), "needs a vector"),
    ],
)
def test_spaces_that_do_not_fit_are_refused_in_one_sentence(name, observations, actions, words):
    with pytest.raises(SpaceError, match=words) as caught:
        odd(name, observations, actions).make()
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_name_is_refused_before_anything_is_made():
    with pytest.raises(DataError, match="did you mean"):
        Environment("cube-single-play-singletask-task9-v0").make()

"""Environments in processes of their own: true transitions, seeds, resuming, and what is said when one fails.

Worker processes import this file: what is heavy is imported where it is used.
"""

import dataclasses
import itertools
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import gymnasium
import numpy as np
import pytest

from deflow.environments import seeded_reset
from deflow.errors import InteractionError
from deflow.interaction import Actors
from deflow.interaction.player import episode_seeds

MAZE = "pointmaze-medium-navigate-singletask-task1-v0"
CUBE = "cube-single-play-singletask-task2-v0"
SIZES = {MAZE: 2, CUBE: 5}
NUMBERS = {MAZE: {"seeds": (3,), "environments": 2}, CUBE: {"seeds": (3, 5), "environments": 1}}


def make(name):
    from deflow.environments import Environment

    return Environment(name).make()


class Limit(gymnasium.Wrapper):
    """Cuts episodes off after 4 to 12 steps, drawn from both global generators."""

    def reset(self, **kwargs):
        self.left = 2 + np.random.randint(6) + random.randint(2, 5)
        return self.env.reset(**kwargs)

    def step(self, action):
        observation, reward, terminated, truncated, info = self.env.step(action)
        self.left -= 1
        return observation, reward, terminated, truncated or self.left == 0, info


class Dropped(gymnasium.Wrapper):
    """A cube that hangs in the air above its target."""

    def reset(self, **kwargs):
        _, info = self.env.reset(**kwargs)
        bare = self.unwrapped
        qpos = bare._data.qpos.copy()
        qpos[14:17] = bare._data.mocap_pos[0] + [0, 0, 0.1]
        bare.set_state(qpos, bare._data.qvel.copy())
        return np.asarray(bare.compute_observation(), np.float32), info


@dataclasses.dataclass(frozen=True)
class Real:
    """A real environment in a wrapper of this file."""

    name: str
    wrapper: type | None = Limit

    def make(self):
        return self.wrapper(make(self.name)) if self.wrapper else make(self.name)


def play(recipe, seed, index):
    """What Actors must give, from one environment in this process: send actions, get transitions and what follows."""
    environment, transition = recipe.make(), None
    for episode in itertools.count():
        observation = seeded_reset(environment, *episode_seeds(seed, index, episode))
        rewards, done = [], False
        while not done:
            action = yield transition, observation, environment
            following, reward, terminated, truncated, info = environment.step(action)
            done = terminated or truncated
            rewards.append(reward)
            summary = (sum(rewards), len(rewards), info["success"]) if done else (np.nan,) * 3
            transition = (observation, action, reward, following, terminated, truncated, info["success"], *summary)
            observation = following


def random_actions(actors, size, steps, seed=0):
    shape = (steps, *actors.observation.shape[:2], size)
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)


def run(actors, actions):
    """Steps and the observations that follow them, as lists of bytes."""
    stream = []
    for action in actions:
        actors.send(action)
        stream.append([np.nan_to_num(x, nan=-7.0).tobytes() for x in (*actors.receive(), actors.observation)])
    return stream


@pytest.fixture(scope="module", params=[MAZE, CUBE], ids=["maze", "cube"])
def real(request):
    with Actors(Real(request.param), **NUMBERS[request.param]) as actors:
        yield request.param, actors


def test_transitions_are_those_of_each_environment_alone(real):
    """With the true next observation at an episode's end, whatever runs beside it; and no two episodes begin alike."""
    name, actors = real
    seeds, environments = NUMBERS[name].values()
    alone = {(i, e): play(Real(name), seed, e) for i, seed in enumerate(seeds) for e in range(environments)}
    firsts = [next(generator)[1] for generator in alone.values()]
    assert all(np.array_equal(first, actors.observation[at]) for first, at in zip(firsts, alone, strict=True))
    for action in random_actions(actors, SIZES[name], 30):
        actors.send(action)
        before, step = actors.observation, actors.receive()
        assert np.array_equal(step.observation, before)
        for at, generator in alone.items():
            transition, following, _ = generator.send(action[at])
            for got, wanted in zip(step, transition, strict=True):
                assert np.array_equal(got[at], np.asarray(wanted, got.dtype), equal_nan=True)
            assert np.array_equal(actors.observation[at], following)
            assert not step.terminated[at]
            if step.truncated[at]:
                assert not np.array_equal(step.next_observation[at], following)
                firsts.append(following)
            else:
                assert np.array_equal(step.next_observation[at], following)
    assert len(firsts) >= 3 * len(alone)
    assert len({first.tobytes() for first in firsts}) == len(firsts)


def test_restored_environments_go_on_as_if_never_interrupted(real):
    """In the middle of episodes, and at length 0: right after an episode's end, and at the very start."""
    name, actors = real
    actors.restart()
    states, stream = [actors.state()], []
    actions = random_actions(actors, SIZES[name], 30, seed=1)
    for action in actions:
        stream += run(actors, action[None])
        states.append(actors.state())
    assert actors.repeatable
    lengths = [state["length"] for state in states]
    ended = next(i for i in range(1, 30) if (lengths[i] == 0).any())
    middle = next(i for i in range(10, 30) if (lengths[i] > 0).all())
    assert states[0]["actions"].shape[2] == 0
    assert states[middle]["actions"].shape[2] == lengths[middle].max()
    padded = {**states[middle], "actions": np.pad(states[middle]["actions"], ((0, 0), (0, 0), (0, 50), (0, 0)))}
    with Actors(Real(name), **NUMBERS[name]) as others:
        for at, state in [(middle, padded), (ended, states[ended]), (0, states[0]), (middle, states[middle])]:
            others.restore(state)
            assert all(np.array_equal(value, states[at][key]) for key, value in others.state().items())
            assert run(others, actions[at:]) == stream[at:]


@pytest.mark.parametrize(("name", "wrapper"), [(MAZE, None), (CUBE, Dropped)], ids=["maze", "cube"])
def test_terminated_exactly_when_solved(name, wrapper):
    """As OGBench relabels data: reward 0 and mask 0 at the solved state, -1 and 1 before it."""
    from deflow.data.relabelling import relabel
    from deflow.environments import parse_task_name

    alone = play(Real(name, wrapper), 0, 0)
    _, observation, environment = next(alone)
    bare = environment.unwrapped
    steps, qpos = [], []
    with Actors(Real(name, wrapper), seeds=(0,)) as actors:
        while not steps or not steps[-1].terminated.item():
            assert np.array_equal(actors.observation[0, 0], observation)
            action = np.zeros(SIZES[name], np.float32)
            if name == MAZE:
                towards = bare.get_oracle_subgoal(bare.get_xy(), bare.cur_goal_xy)[0] - bare.get_xy()
                action = (towards / np.linalg.norm(towards)).astype(np.float32)
            qpos.append(np.array((bare.data if name == MAZE else bare._data).qpos))
            actors.send(action[None, None])
            steps.append(actors.receive())
            observation = alone.send(action)[1]
        assert np.array_equal(actors.observation[0, 0], observation)
    task = parse_task_name(name)
    rewards, masks = relabel(task.environment_id, make(name), {"qpos": np.array(qpos)})
    assert [step.reward.item() for step in steps] == rewards.tolist()
    assert [step.terminated.item() for step in steps] == (masks == 0).tolist()
    assert [step.success.item() for step in steps] == (1 - masks).tolist()
    assert not any(step.truncated.item() for step in steps)
    last = steps[-1]
    assert (last.episode_return.item(), last.episode_length.item()) == (1 - len(steps), len(steps))
    assert last.episode_success.item() == 1
    assert len(steps) > 3


@pytest.mark.parametrize("name", [MAZE, CUBE], ids=["maze", "cube"])
def test_a_reset_leaves_nothing_to_chance(name):
    """Not even in the solver's memory, from which a difference of 1e-13 would grow."""
    environment, states = make(name), []
    for _ in range(3):
        seeded_reset(environment, 1, 2)
        data = environment.unwrapped.data if name == MAZE else environment.unwrapped._data
        states.append([np.array(getattr(data, key)) for key in ("qpos", "qvel", "qacc", "qacc_warmstart", "ctrl")])
        environment.step(environment.action_space.sample())
    assert all(np.array_equal(a, b) for other in states[1:] for a, b in zip(states[0], other, strict=True))


def test_seeds_are_neither_evaluations_nor_collections():
    ours = {episode_seeds(s, e, k) for s in range(5) for e in range(4) for k in range(100)}
    assert len(ours) == 2000
    evaluation = [(s, k) for s in range(5) for k in range(100)]
    collection = [(s, split, k, 0) for s in range(5) for split in (0, 1) for k in range(100)]
    assert not ours & {tuple(np.random.SeedSequence(x).generate_state(2).tolist()) for x in evaluation + collection}


class Doomed(gymnasium.Env):
    """Does what its actions say: exactly 0.25 an exception, 0.5 a kill, 0.75 a nan reward, 1 a nan observation."""

    observation_space = gymnasium.spaces.Box(-1, 1, (2,), np.float64)
    action_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)

    def __init__(self, name="doomed", fails_to_make=False):
        self.name = name
        self.fails_to_make = fails_to_make

    def make(self):
        if self.fails_to_make:
            raise OSError("no such asset")
        return self

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time = 0
        return self.np_random.uniform(-1, 1, 2), {}

    def step(self, action):
        self.time += 1
        act_out(action[0])
        observation = self.np_random.uniform(-1, 1, 2)
        observation[1] = np.nan if action[0] == 1 else observation[1]
        return observation, np.nan if action[0] == 0.75 else -1.0, False, False, {}


class AwkwardError(Exception):
    """An exception that cannot be unpickled."""

    def __init__(self, one, two):
        super().__init__(f"{one} and {two}")


def act_out(action):
    if action == 0.25:
        raise AwkwardError("sticks", "stones")
    if action == 0.5:
        os.kill(os.getpid(), signal.SIGKILL)


class Reusing(Doomed):
    """Ends every second step, and writes all its observations into one array."""

    buffer = np.zeros(2, np.float32)

    def reset(self, **kwargs):
        self.buffer[:], info = super().reset(**kwargs)
        return self.buffer, info

    def step(self, action):
        self.buffer[:], *rest = super().step(action)
        return self.buffer, rest[0], self.time == 2, *rest[2:]


def test_observations_are_copies():
    with Actors(Reusing(), seeds=(0,)) as actors:
        for ended in (False, True, False, True):
            actors.send(np.zeros((1, 1, 1)))
            step = actors.receive()
            assert step.terminated.item() == ended
            assert np.array_equal(step.next_observation, actors.observation) != ended


def processes(actors):
    return [actor._process.pid for actor in actors._group.actors]


@pytest.mark.parametrize(
    ("action", "words"),
    [
        (0.25, ["failed in step 2 of episode 1", "AwkwardError: sticks and stones", "in act_out"]),
        (0.5, ["ended by signal SIGKILL in step 2 of episode 1", "memory", "fewer environments"]),
        (0.75, ["failed in step 2 of episode 1", "reward is nan, not finite"]),
        (1.0, ["failed in step 2 of episode 1", "observation is nan at index (1,), not finite"]),
    ],
    ids=["exception", "kill", "reward", "observation"],
)
def test_failure_names_the_environment_and_the_step(action, words):
    actors = Actors(Doomed(), seeds=(7, 8), environments=2)
    actors.restart()
    for _ in range(2):
        actors.send(np.zeros((2, 2, 1)))
        actors.receive()
    state, pids = actors.state(), processes(actors)
    actions = np.zeros((2, 2, 1))
    actions[1, 0] = action
    with pytest.raises(InteractionError) as caught:
        run(actors, actions[None])
    for word in ["environment 0 of seed 8 of doomed", *words]:
        assert word in str(caught.value)
    assert not any(map(alive, pids))
    with pytest.raises(InteractionError, match="doomed are closed"):
        actors.send(actions)
    assert all(np.array_equal(value, state[key]) for key, value in actors.state().items())


def test_a_process_killed_between_steps_is_reported():
    with Actors(Doomed(), seeds=(0,), environments=2) as actors:
        assert actors.repeatable
        os.kill(processes(actors)[1], signal.SIGKILL)
        with pytest.raises(InteractionError, match=r"environment 1 of seed 0 .* signal SIGKILL in step 0 of episode 0"):
            run(actors, np.zeros((1, 1, 2, 1)))


def test_actions_are_checked_before_anything_is_sent():
    with Actors(Doomed(), seeds=(0,), environments=2) as actors:
        with pytest.raises(InteractionError, match=r"shape \(1, 2, 1\).*got \(2, 1\)"):
            actors.send(np.zeros((2, 1)))
        with pytest.raises(InteractionError, match=r"action at \(0, 1, 0\).*is inf, which is not finite"):
            actors.send(np.array([[[0.0], [np.inf]]]))
        with pytest.raises(InteractionError, match="send actions first"):
            actors.receive()
        actors.send(np.full((1, 2, 1), -3.0))
        for method in (lambda: actors.send(np.zeros((1, 2, 1))), actors.state, actors.restart):
            with pytest.raises(InteractionError, match="receive it first"):
                method()
        assert actors.receive().action.tolist() == [[[-1.0], [-1.0]]]
        assert actors.state()["length"].tolist() == [[1, 1]]


class Wide(Doomed):
    action_space = gymnasium.spaces.Box(-2, 2, (1,), np.float32)


def test_environments_that_cannot_be_made_sent_or_used():
    words = r"(?s)of broken failed before its first.*OSError: no such asset"
    with Actors(Doomed("broken", True), seeds=(0,)) as actors, pytest.raises(InteractionError, match=words):
        _ = actors.observation
    with Actors(Wide("wide"), seeds=(0,)) as actors, pytest.raises(InteractionError, match="RescaleAction"):
        _ = actors.repeatable
    unpicklable = Doomed("local")
    unpicklable.make = lambda: None
    with pytest.raises(InteractionError, match=r"local cannot be sent to worker processes.*top of a module"):
        Actors(unpicklable, seeds=(0,))
    for given in ({"seeds": ()}, {"seeds": (-1,)}, {"seeds": (0,), "environments": 0}):
        with pytest.raises(ValueError, match="at least 1"):
            Actors(Doomed(), **given)


class Clock(Doomed):
    """Shows the time of day from a given step on."""

    def __init__(self, since):
        super().__init__(f"clock{since}")
        self.since = since

    def step(self, action):
        observation, *rest = super().step(action)
        return (np.full(2, time.perf_counter() % 1) if self.time >= self.since else observation), *rest


def test_what_does_not_repeat_itself_is_only_restored_at_an_episodes_beginning():
    with Actors(Clock(0), seeds=(0,)) as actors, Actors(Clock(0), seeds=(0,)) as others:
        assert not actors.repeatable
        run(actors, np.zeros((3, 1, 1, 1)))
        with pytest.raises(InteractionError, match=r"clock0 is not reproducible.*restart\(\) before state"):
            others.restore(actors.state())
        actors.restart()
        others.restore(actors.state())
        assert others.state()["episode"].tolist() == [[1]]
        assert np.array_equal(others.observation, actors.observation)  # Doomed's reset repeats itself
        run(others, np.zeros((3, 1, 1, 1)))
        assert others.state()["length"].tolist() == [[3]]


def test_what_was_learned_is_kept_when_an_environment_that_does_not_repeat_itself_fails():
    """Its episode ends with the failure; the next one begins where training goes on."""
    from deflow import Spec, make_replay
    from deflow.session import capture
    from deflow.testing import example_data

    with Actors(Clock(0), seeds=(0,)) as actors, Actors(Clock(0), seeds=(0,)) as others:
        spec = Spec((2,), 1)
        replay = make_replay(example_data(spec), spec, steps=8)
        run(actors, np.zeros((3, 1, 1, 1)))
        actors.send(np.full((1, 1, 1), 0.5))
        with pytest.raises(InteractionError, match="ended by signal SIGKILL"):
            actors.receive()
        (online,) = capture(replay, actors)
        assert online.episodes["episode"].tolist() == [1]
        others.restore({name: values[None] for name, values in online.episodes.items()})
        assert others.state()["episode"].tolist() == [[1]]


def test_restore_refuses_what_does_not_come_back_or_does_not_fit():
    with Actors(Clock(12), seeds=(0, 1)) as actors:
        assert actors.repeatable
        run(actors, np.zeros((20, 2, 1, 1)))
        state = actors.state()
        other = {**state, "actions": state["actions"][:1], "length": state["length"][:1]}
        with pytest.raises(InteractionError, match="Give the task, the seeds and the number of environments"):
            actors.restore(other)
        with pytest.raises(InteractionError, match=r"environment 0 of seed 0 .* not reach .* 20 steps of episode 0"):
            actors.restore(state)


SCRIPT = """
import sys, time
sys.path[:0] = [{tests!r}, {root!r}]
import numpy as np
from deflow.interaction import Actors
from test_interaction import Doomed, processes
actors = Actors(Doomed(), seeds=(0, 1))  # no __main__ guard, never closed
actors.send(np.zeros((2, 1, 1)))
actors.receive()
print(*processes(actors), flush=True)
sys.stdin.readline()
actors.send(np.zeros((2, 1, 1)))
actors.receive()
print("stepped", "jax" in sys.modules, flush=True)
if sys.stdin.readline() == "stay\\n":
    time.sleep(60)
"""


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie that init has yet to collect does not."""
    try:
        os.kill(pid, 0)
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (ProcessLookupError, FileNotFoundError):
        return False


@pytest.mark.skipif(not Path("/proc").exists(), reason="reads /proc")
@pytest.mark.parametrize("ending", [None, signal.SIGINT, signal.SIGKILL])
def test_processes_end_with_their_parent_and_not_before(tmp_path, ending):
    """They are deaf to what goes to the whole group, and leave no files however the parent ends."""
    tests = Path(__file__).parent
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(tests=str(tests), root=str(tests.parent)))
    files = tmp_path / "files"
    files.mkdir()
    process = subprocess.Popen(
        [sys.executable, script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "TMPDIR": str(files)},
    )
    assert process.stdout is not None
    assert process.stdin is not None
    workers = [int(pid) for pid in process.stdout.readline().split()]
    assert len(workers) == 2
    assert list(files.glob("deflow-interaction-*"))
    for pid in workers:
        os.kill(pid, signal.SIGINT)
        os.kill(pid, signal.SIGTERM)
    process.stdin.write("go\n")
    process.stdin.flush()
    assert process.stdout.readline() == "stepped False\n"
    if ending is not None:
        process.stdin.write("stay\n")
        process.stdin.flush()
        (os.killpg if ending == signal.SIGINT else os.kill)(process.pid, ending)
    _, errors = process.communicate(timeout=60)
    deadline = time.monotonic() + 10
    while (any(map(alive, workers)) or list(files.glob("deflow-*"))) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(alive, workers))
    assert not list(files.glob("deflow-*"))
    assert errors.count("Traceback") == (ending == signal.SIGINT), errors

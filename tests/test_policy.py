"""A policy as its user holds it: the environment's units, NumPy in and out, randomness that the user decides about."""

import json
import subprocess
import sys
from pathlib import Path

import gymnasium
import in_process
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import deflow
from deflow.deployment import Origin, Policy
from deflow.environments import ActionBounds
from deflow.errors import DataError, RunError, SpaceError

SPEC = deflow.Spec((3,), 1, horizon=200)
PENDULUM = ActionBounds((-2.0,), (2.0,), "environment")
OBSERVATION = np.float32([0.5, -0.5, 1.0])


def agent(spec=SPEC, **parts):
    config = deflow.agent_config(width=8, depth=1, **parts)
    return config.build(spec, config.placeholder_data(spec), key=jax.random.key(0))


@pytest.fixture
def policy():
    return Policy(agent(), PENDULUM)


def test_actions_are_in_the_environments_units_and_do_there_what_the_agents_do(policy):
    """One step of Pendulum as Gymnasium makes it, against one through deflow's adapter with the agent's action."""
    plain, adapted = gymnasium.make("Pendulum-v1"), deflow.Environment("Pendulum-v1").make()
    observation, _ = plain.reset(seed=3)
    np.testing.assert_array_equal(observation, adapted.reset(seed=3)[0])
    for step in range(20):
        key = jax.random.key(step)
        action, inside = policy.act(observation, key=key), np.asarray(policy.agent(observation, key=key))
        assert isinstance(action, np.ndarray)
        assert plain.action_space.contains(action)
        np.testing.assert_allclose(action, 2 * inside, rtol=1e-6)
        observation, reward, *_ = plain.step(action)
        same, other, *_ = adapted.step(inside)
        np.testing.assert_array_equal(observation, same)
        assert reward == other


@pytest.mark.parametrize(("low", "high"), [(0.1, 0.7), (-3.3, 1e-3), (1e6 + 0.1, 1e6 + 0.3), (-7.0, 11.0)])
def test_the_ends_of_the_range_are_the_bounds_and_nothing_lies_outside(low, high):
    """Also where float32 has no such number: what is nearest inside."""
    units = ActionBounds((low,) * 3, (high,) * 3).from_unit_in_float32
    ends = units(np.float32([[-1, 1, 0.999999]]))[0]
    assert ends.dtype == np.float32
    assert low <= float(ends[0]) <= low + np.spacing(np.float32(abs(low)))
    assert high - np.spacing(np.float32(abs(high))) <= float(ends[1]) <= high
    assert np.all(units(np.linspace(-1, 1, 999, dtype=np.float32)[:, None]).astype(np.float64) <= high)
    fixed = ActionBounds((0.1,), (0.1,)).from_unit_in_float32
    np.testing.assert_array_equal(fixed(np.float32([[-1], [1], [0]])), np.float32([[0.1]] * 3))


def test_one_observation_or_a_batch_in_any_numeric_type(policy):
    batch = np.stack([OBSERVATION, -OBSERVATION])
    noise = np.random.default_rng(0).standard_normal((2, *policy.noise_shape))
    both = policy.act(batch, noise=noise)
    assert both.shape == (2, 1)
    alone = [policy.act(row, noise=own) for row, own in zip(batch.tolist(), noise, strict=True)]
    np.testing.assert_allclose(both, alone, atol=1e-6)
    np.testing.assert_array_equal(policy.act(batch.astype(np.float64), noise=noise), both)


def test_randomness_is_the_users(policy):
    first = [policy.act(OBSERVATION) for _ in range(4)]
    assert len({action.item() for action in first}) > 2  # some may be at a bound
    policy.reset()
    assert [policy.act(OBSERVATION) for _ in range(4)] == first
    policy.reset(1)
    assert [policy.act(OBSERVATION) for _ in range(4)] != first
    key = jax.random.key(7)
    given = policy.act(OBSERVATION, key=key)
    assert given == policy.act(OBSERVATION, key=key)
    noise = jax.random.normal(key, policy.noise_shape)
    np.testing.assert_allclose(policy.act(OBSERVATION, noise=noise), given, atol=1e-6)
    still = policy.act(OBSERVATION, deterministic=True)
    assert still == policy.act(OBSERVATION, deterministic=True)
    assert still == policy.act(OBSERVATION, noise=np.zeros(policy.noise_shape))
    assert policy.act(np.stack([OBSERVATION] * 3), deterministic=True).shape == (3, 1)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"observation": np.zeros(4)}, r"got the shape \(4,\)"),
        ({"observation": [0, np.nan, np.inf]}, "not finite in float32: entry 1, 2"),
        ({"observation": [[0, 0, 0], [0, np.nan, 0]]}, r"not finite in float32: entry \(1, 1\)"),
        ({"observation": OBSERVATION, "noise": np.zeros(1)}, r"finite numbers of shape \(1, 1\), got the shape \(1,\)"),
        ({"observation": OBSERVATION, "noise": [[np.nan]]}, "finite numbers"),
        ({"observation": OBSERVATION, "noise": [[1e300]]}, "finite numbers"),
        ({"observation": OBSERVATION, "deterministic": "no"}, "deterministic must be True or False, got 'no'"),
        ({"observation": OBSERVATION, "noise": [[1j]]}, "the type complex128"),
        ({"observation": [3e38, 3e38, -3e38]}, "The policy's action is not finite"),
        ({"observation": (OBSERVATION, {})}, "takes an array, got a tuple: of what reset"),
        ({"observation": {"a": OBSERVATION}}, "takes an array, got a dict"),
        ({"observation": OBSERVATION, "deterministic": True, "key": jax.random.key(0)}, "give one of them"),
        ({"observation": OBSERVATION, "noise": np.zeros((1, 1)), "key": jax.random.key(0)}, "give one of them"),
    ],
)
def test_what_cannot_be_acted_on_is_refused_in_one_sentence(policy, arguments, words):
    with pytest.raises(ValueError, match=words) as caught:
        policy.act(**arguments)
    assert "\n" not in str(caught.value)


def test_several_keys_are_refused(policy):
    with pytest.raises(TypeError, match=r"takes a single key, got an array of keys of shape \(2,\)"):
        policy.act(OBSERVATION, key=jax.random.split(jax.random.key(0)))


def test_bounds_of_another_size_are_refused():
    with pytest.raises(DataError, match="Actions have 1 coordinates, and the bounds 2"):
        Policy(agent(), ActionBounds((-1.0, -1.0), (1.0, 1.0)))


def test_dictionary_observations_are_joined_as_the_data_was():
    policy = Policy(agent(), PENDULUM, keys=("pose", "hand/goal"))
    given = {"hand": {"goal": OBSERVATION[2:]}, "pose": OBSERVATION[:2].astype(np.float64), "clock": np.zeros(4)}
    wanted = policy.act(OBSERVATION, deterministic=True)
    assert policy.act(given, deterministic=True) == wanted
    batch = {"pose": np.stack([OBSERVATION[:2]] * 5), "hand": {"goal": np.stack([OBSERVATION[2:]] * 5)}}
    np.testing.assert_allclose(policy.act(batch, deterministic=True), np.stack([wanted] * 5), atol=1e-6)
    with pytest.raises(SpaceError, match="has no 'hand/goal', only 'pose'"):
        policy.act({"pose": OBSERVATION[:2]})
    with pytest.raises(SpaceError, match=r"pose \(3,\), hand/goal \(1,\) do not make up observations of shape \(3,\)"):
        policy.act({"pose": OBSERVATION, "hand": {"goal": OBSERVATION[2:]}})


def test_entries_of_other_sizes_are_refused_where_the_sizes_are_known():
    names = {"observations": ("pose.0", "pose.1", "goal")}
    policy = Policy(agent(), PENDULUM, keys=("pose", "goal"), names=names)
    assert policy.entry_sizes == (2, 1)
    for rows in ((), (1,), (4,)):
        given = {"pose": np.ones((*rows, 2)), "goal": np.ones((*rows, 1))}
        assert policy.act(given).shape == (*rows, 1)
        wrong = {"pose": np.ones((*rows, 1)), "goal": np.ones((*rows, 2))}
        with pytest.raises(SpaceError, match=r"observations of shape \(3,\) of 2, 1 numbers"):
            policy.act(wrong)


def test_a_stream_starts_with_a_whole_number(policy):
    for seed in (-1, 1.5, "a"):
        with pytest.raises(ValueError, match="seed must be"):
            policy.reset(seed)


def test_columns_of_several_coordinates_are_one_entry():
    for names, keys in {("goal", "pos.0", "v.x"): ("goal", "pos", "v.x"), ("pos.0", "pos.1", "pos.2"): ()}.items():
        assert Policy(agent(), names={"observations": names}).keys == keys
    assert Policy(agent(), names={"observations": ("a", "b", "c")}, keys=("pos",)).keys == ("pos",)
    assert Policy(agent()).keys == ()


def test_the_names_of_a_tables_columns_reach_the_policy(tmp_path):
    with np.load(_pendulum_data(tmp_path)) as data:
        rows = np.concatenate([data["observations"], data["actions"], data["rewards"][:, None]], axis=1)
        episode = np.repeat([0, 1], 20)
    header = "level,goal,tilt,valve,paid,ride"
    lines = [",".join(map(str, [*row, ride])) for row, ride in zip(rows.tolist(), episode, strict=True)]
    (tmp_path / "log.csv").write_text("\n".join([header, *lines]))
    columns = deflow.data.Columns(
        observation=("level", "goal", "tilt"), action=("valve",), reward="paid", episode="ride"
    )
    task = deflow.load_task("none", deflow.UserData(tmp_path / "log.csv", columns=columns), bounds=(-2.0, 2.0))
    config = deflow.agent_config(width=8, depth=1)
    learner = deflow.Learner.create(config, task.spec, task.train, key=jax.random.key(1))
    run = deflow.create_run(tmp_path, task, config, learner, seed=0)
    run.save(5, learner)
    for policy in (deflow.load(run.path), Policy.of(learner.agent, task)):
        assert policy.names == {"observations": ("level", "goal", "tilt"), "actions": ("valve",)}
        assert "observation (3,) float32, joined from level, goal, tilt" in repr(policy)
        columns = {"tilt": 0.3, "level": 0.1, "goal": 0.2}  # a dictionary, too, since there is no environment to say
        np.testing.assert_array_equal(
            policy.act(columns, deterministic=True), policy.act([0.1, 0.2, 0.3], deterministic=True)
        )
        deflow.export(policy, tmp_path / "policy.npz")
        about = json.loads((tmp_path / "policy.npz.json").read_text())
        assert about["inputs"]["observation"]["names"] == ["level", "goal", "tilt"]
        assert about["outputs"]["action"]["names"] == ["valve"]


def test_a_run_of_an_environment_in_a_file_says_which_file_it_needs(tmp_path):
    """It is trained in a process of its own: this one has not imported the file."""
    file = tmp_path / "my_env.py"
    file.write_text(
        "import gymnasium\ngymnasium.register('lab/Swing-v0', "
        "entry_point='gymnasium.envs.classic_control.pendulum:PendulumEnv', max_episode_steps=5)\n"
    )
    command = [sys.executable, in_process.ROOT / "recipes" / "offline.py"]
    tiny = ["--field.width", 8, "--field.depth", 1, "--refiner.width", 8, "--critic.width", 8, "--batch-size", 8]
    words = ["--env", "lab/Swing-v0", "--data", _pendulum_data(tmp_path), "--import", file, "--steps", 3, *tiny]
    command += map(str, [*words, "--episodes", 1, "--workers", 1])
    made = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    (path,) = (tmp_path / "runs" / "lab_Swing-v0" / "deflow").glob("seed0-*")
    for name in ("evaluate", "resume", "export"):
        refused = in_process.recipe(name, path)
        assert refused.returncode in (1, 2)
        assert f"was made with --import {file}: give it again." in refused.stderr
        assert refused.stderr.count("\n") == 1
    assert in_process.recipe("evaluate", path, "--import", file, "--episodes", 1, "--workers", 1).returncode == 0


def test_a_batch_of_dictionaries_keeps_its_axis_whatever_its_size():
    policy = Policy(agent(), PENDULUM, keys=("pose", "goal"))
    for rows in (0, 1, 2):
        given = {"pose": np.ones((rows, 2)), "goal": np.ones((rows, 1))}
        assert policy.act(given).shape == (rows, 1)
    image = Policy(agent(deflow.Spec((1, 3), 1)), PENDULUM, keys=("image",))
    assert image.act({"image": np.ones((1, 3))}).shape == (1,)
    assert image.act({"image": np.ones((2, 1, 3))}).shape == (2, 1)


def test_lists_of_arrays_are_observations_and_actions_are_new_float32_arrays(policy):
    wanted = policy.act(np.stack([OBSERVATION] * 2), deterministic=True)
    np.testing.assert_array_equal(policy.act([OBSERVATION, OBSERVATION], deterministic=True), wanted)
    listed = policy.act([jnp.float32(x) for x in OBSERVATION], deterministic=True)
    np.testing.assert_allclose(listed, wanted[0], atol=1e-6)
    for made in (policy, Policy(policy.agent)):
        action = made.act(OBSERVATION)
        assert action.dtype == np.float32
        action += 1  # it is the user's


def test_a_run_without_an_agent_is_refused_in_one_sentence(tmp_path):
    run = deflow.Run.create(tmp_path, environment="x", algorithm="y", seed=0, config={"lr": 1})
    for recipe in ("export", "evaluate", "estimate", "landscape"):
        done = in_process.recipe(recipe, run.path)
        assert done.returncode in (1, 2)
        assert "holds no agent" in done.stderr
        assert done.stderr.count("\n") == 1
    path = run.path / "config.json"
    path.write_text(path.read_text().replace('"lr": 1', '"agent": null, "spec": "x", "learning_rate": 1'))
    with pytest.raises(RunError, match="holds no agent that this deflow can load"):
        deflow.load(run.path)
    with pytest.raises(RunError, match="A metric's name must be a text other than 'step'"):
        run.log(1, {"step": 3, "a": 1.0})


def test_a_policy_with_chunks_gives_the_actions_of_the_next_steps():
    policy = Policy(agent(chunk=3, execute=2), PENDULUM)
    assert policy.act(OBSERVATION).shape == (2, 1)
    assert policy.act(np.stack([OBSERVATION] * 4)).shape == (4, 2, 1)
    assert "the next 2 actions, each (1,)" in repr(policy)


def test_it_says_what_it_is():
    bounds = ActionBounds((-2.0,), (2.0,), "environment")
    origin = Origin("Pendulum-v1", "deflow", 5_000, "runs/a")
    made = Policy(agent(candidates=4), bounds, keys=("a", "b"), origin=origin)
    assert repr(made).splitlines() == [
        "Policy(",
        "  deflow on Pendulum-v1, step 5,000, from runs/a,",
        "  observation (3,) float32, joined from a, b,",
        "  action (1,) in [-2, 2], the best of 4 candidates,",
        f"  {deflow.Learner.create(deflow.agent_config(width=8, depth=1), SPEC, key=jax.random.key(0)).parameters:,}"
        " trained parameters,",
        ")",
    ]


def test_a_run_gives_its_policy_with_units_and_entries(tmp_path):
    task = deflow.load_task("none", deflow.UserData(_pendulum_data(tmp_path)), bounds=(-2.0, 2.0))
    config = deflow.agent_config(width=8, depth=1)
    learner = deflow.Learner.create(config, task.spec, task.train, key=jax.random.key(1))
    run = deflow.create_run(tmp_path, task, config, learner, seed=0)
    run.save(5, learner)
    loaded, own = deflow.load(run.path), Policy.of(learner.agent, task)
    assert loaded.origin == Origin("pendulum", "deflow", 5, str(run.path))
    assert loaded.bounds == own.bounds == ActionBounds((-2.0,), (2.0,), "given")
    assert loaded.act(OBSERVATION, deterministic=True) == own.act(OBSERVATION, deterministic=True)


def test_a_run_from_before_bounds_were_recorded_has_its_environments():
    policy = deflow.load(Path(__file__).parent / "old_run" / "run")
    assert policy.bounds == PENDULUM


def test_a_policy_is_evaluated_as_its_agent(policy):
    environment = deflow.Environment("Pendulum-v1", arguments={"max_episode_steps": 5})
    results = [deflow.evaluate(given, environment, episodes=2, workers=1) for given in (policy, policy.agent)]
    np.testing.assert_array_equal(results[0].returns, results[1].returns)


def test_acting_from_noise_is_acting_from_the_key_that_draws_it():
    for row in ("deflow", "fql", "bfn", "ifql", "qc", "deflow-best"):
        config = deflow.agent_config(row, width=8, depth=1)
        made = config.build(SPEC, config.placeholder_data(SPEC), key=jax.random.key(0))
        noise = jax.random.normal(jax.random.key(3), (made.candidates, made.action_size))
        np.testing.assert_allclose(
            made.act_from(OBSERVATION, noise), made.act(OBSERVATION, key=jax.random.key(3)), atol=1e-6, err_msg=row
        )


def _pendulum_data(folder):
    """Two episodes of Pendulum with random torques."""
    environment, random, rows = gymnasium.make("Pendulum-v1", max_episode_steps=20), np.random.default_rng(0), []
    for seed in range(2):
        observation, _ = environment.reset(seed=seed)
        for step in range(20):
            action = random.uniform(-2, 2, 1).astype(np.float32)
            following, reward, *_ = environment.step(action)
            rows.append((observation, action, reward, False, step == 19, following))
            observation = following
    names = ("observations", "actions", "rewards", "terminations", "truncations", "next_observations")
    path = folder / "pendulum.npz"
    np.savez(path, **{name: np.asarray(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)})
    return path

"""The encoder `standardize`: what it computes, that nothing moves its statistics, and where it is the default."""

import dataclasses
import importlib
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from drifting import Drifting
from small import SPEC

import deflow
from deflow import Learner, agent_config, cli, task_settings
from deflow.cli.first_screen import encoder_note
from deflow.critics.members import Members, follow, target_of
from deflow.encoders import Identity, Standardize, StandardizeConfig, standardize
from deflow.networks import MLP
from deflow.testing import check_encoder, example_context, example_data
from deflow.types import Spec

KEY = jax.random.key(0)
SIZES = {"width": 8, "depth": 1, "solver": deflow.solvers.Euler(steps=2)}
OWN, OGBENCH = "lab/Point-v0", "cube-single-play-singletask-task2-v0"


def fitted(observations):
    """The encoder of such observations."""
    observations = np.asarray(observations)
    spec = Spec(observations.shape[1:], 2, observations.dtype.name)
    data = dataclasses.replace(example_data(SPEC, len(observations)), observation=observations)
    return StandardizeConfig().build(example_context(spec, data=data), key=KEY)


def data(rows=40, size=3, *, seed=0):
    """Transitions of one trajectory, far from mean 0 and deviation 1; the last dimension is constant."""
    made = example_data(Spec((size,), 2), rows)
    states = np.random.default_rng(seed).normal([100.0, -3.0, 0.7], [10.0, 0.01, 0.0], (rows + 1, size))
    ends = {"trajectory_end": (np.arange(rows) == rows - 1).astype(np.float32)}
    states = states.astype(np.float32)
    return dataclasses.replace(made, observation=states[:-1], next_observation=states[1:], extras=ends)


def encoders_of(tree):
    """All of a tree's standardising encoders, as bytes."""
    nodes = jax.tree.leaves(tree, is_leaf=lambda node: isinstance(node, Standardize))
    found = [node for node in nodes if isinstance(node, Standardize)]
    return [np.asarray(array).tobytes() for node in found for array in (node.mean.value, node.inverse_scale.value)]


# --- what it computes


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_against_numpy(kind):
    rows = np.random.default_rng(0).normal([100.0, -3.0, 0.0, 1e-6], [10.0, 0.01, 1.0, 1e-8], (200, 4)).astype(kind)
    encoder, exact = fitted(rows), rows.astype(np.float64)
    features = np.asarray(jax.vmap(encoder)(jnp.asarray(rows)))
    expected = (exact - exact.mean(0)) / exact.std(0)
    off = 2.0**-23 * np.abs(exact).max(0) / exact.std(0) + 1e-6 * np.abs(expected)
    assert np.all(np.abs(features - expected) <= off)
    np.testing.assert_allclose(features.mean(0), 0, atol=1e-4)
    np.testing.assert_allclose(features.std(0), 1, rtol=1e-4)
    assert features.dtype == np.float32


@pytest.mark.parametrize("constant", [0.0, 0.1, -7.0, 1e6, 1e-30])
def test_a_constant_dimension_gives_zero_whatever_comes_later(constant):
    rows = np.stack([np.full(50, constant), np.arange(50.0)], 1).astype(np.float32)
    encoder = fitted(rows)
    for value in (constant, constant + 1, -1e30, 0.0):
        assert encoder(jnp.asarray([value, 3.0]))[0] == 0
    np.testing.assert_allclose(encoder(jnp.asarray([0.0, 24.5])), 0, atol=1e-6)


def test_what_float32_rounds_away_is_constant():
    """A large offset: what is left in float32 is standardised, what is not counts as constant."""
    noise = np.random.default_rng(0).normal(size=(500, 2))
    rows = 1e6 + noise * [0.01, 1.0]
    features = np.asarray(jax.vmap(fitted(rows))(jnp.asarray(rows, jnp.float32)))
    assert np.all(features[:, 0] == 0)
    expected = (noise[:, 1] - noise[:, 1].mean()) / noise[:, 1].std()
    assert 0.01 < np.max(np.abs(features[:, 1] - expected)) < 2.0**-23 * 1e6 * 1.1
    last_bit = np.float32(1.0) + np.float32(2.0**-23) * (np.arange(500) % 2).astype(np.float32)
    assert fitted(last_bit[:, None])(jnp.ones(1))[0] == 0


class Watched(np.ndarray):
    """An array that notes how much is read at once."""

    reads = 0

    def __getitem__(self, place):
        found = super().__getitem__(place)
        Watched.reads = max(Watched.reads, np.size(found))
        return found


def test_statistics_are_taken_in_pieces(monkeypatch, tmp_path):
    """The pieces make no difference, not even beside a large offset, and no read is larger than one."""
    rows = np.random.default_rng(0).normal([1e6, 0.0, -3.0], [1.0, 1e-3, 5.0], (1001, 3))
    rows[:700, 1] += 1.0
    np.save(tmp_path / "rows.npy", rows)
    monkeypatch.setattr(standardize, "_PIECE", 100)
    mapped = np.load(tmp_path / "rows.npy", mmap_mode="r").view(Watched)
    mean, deviation, largest = standardize._statistics(mapped)
    assert 0 < Watched.reads <= 100
    np.testing.assert_allclose(mean, rows.mean(0), rtol=1e-12)
    np.testing.assert_allclose(deviation, rows.std(0), rtol=1e-9)
    np.testing.assert_array_equal(largest, np.abs(rows).max(0))


def test_frames_of_whole_numbers_pixels_and_no_data():
    check_encoder(StandardizeConfig(), spec=Spec((2, 2), 1, "uint8"))
    context = example_context(Spec((8, 8, 3), 2, "uint8"), data=example_data(Spec((8, 8, 3), 2, "uint8")))
    with pytest.raises(ValueError, match=r"The encoder 'standardize' is for states, got pixels of shape \(8, 8, 3\)"):
        StandardizeConfig().build(context, key=KEY)
    with pytest.raises(ValueError, match="The encoder is fitted to the data, and got none: give the transitions"):
        agent_config(encoder="standardize", **SIZES).build(SPEC, key=KEY)


# --- nothing moves it


@pytest.mark.parametrize("algorithm", ["deflow-best", "deflow-flow-critic", "deflow-chunked", "ifql", "fan"])
def test_no_update_moves_it(algorithm):
    """Neither the optimizer nor a target's average, to the bit; and all networks of all seeds have the same."""
    known, config = data(), agent_config(algorithm, encoder="standardize", **SIZES)
    spec = Spec((3,), 2)
    keys = jax.random.split(KEY, 2)
    begun = Learner.create(config, spec, known, key=keys)
    *_, (_, trained, metrics) = deflow.train_offline(begun, known, steps=5, batch_size=8, key=keys)
    before, after = encoders_of(begun.agent), encoders_of(trained.agent)
    assert before == after
    assert all(np.all(np.isfinite(value)) for value in metrics.values())
    window = config.context(spec, known).data.observation.astype(np.float64)  # a chunk's states are its first ones
    for mean in before[::2]:
        each = np.frombuffer(mean, np.float32).reshape(-1, 3)
        np.testing.assert_array_equal(each, np.tile(window.mean(0).astype(np.float32), (len(each), 1)))
    assert len(before) >= 4
    plain = Learner.create(dataclasses.replace(config, encoder=Identity()), spec, known, key=KEY)
    assert begun.parameters == plain.parameters


def test_a_target_does_not_follow_what_is_fixed():
    """Were they different, or -0.0, it would stay what it is."""
    encoder = fitted(data().observation)
    other = jax.tree.map(lambda leaf: leaf + 1, encoder)
    zero = jax.tree.map(lambda leaf: -0.0 * leaf, encoder)
    for own, new in ((encoder, other), (zero, zero)):
        network = MLP(3, 1, width=2, depth=1, key=KEY)
        grown = jax.tree.map(lambda leaf: leaf + 1, network)
        moved = follow(target_of(Members(own, network)), Members(new, grown), 0.25).value
        assert encoders_of(moved) == encoders_of(own)
        np.testing.assert_array_equal(moved.network.layers[0].bias, np.full(2, 0.25))


def test_a_checkpoint_has_it(tmp_path):
    """`load` gives the same features, without data; a learner goes on."""
    known = data()
    np.savez(
        tmp_path / "log.npz",
        **{"observations": known.observation, "actions": known.action, "rewards": known.reward},
        **{"terminals": np.zeros(40), "truncations": known.extras["trajectory_end"]},
    )
    task = deflow.load_task("none", deflow.UserData(tmp_path / "log.npz"))
    config = agent_config(settings=task_settings(task.name), **SIZES)
    assert config.encoder == StandardizeConfig()
    learner = Learner.create(config, task.spec, task.train, key=KEY)
    run = deflow.create_run(tmp_path, task, config, learner, seed=0)
    *_, (step, learner, _) = deflow.train_offline(learner, task.train, steps=3, batch_size=8, key=KEY)
    run.save(step, learner)
    (tmp_path / "log.npz").unlink()
    policy = deflow.load(run.path).agent
    assert encoders_of(policy) == encoders_of(learner.agent)
    observation = jnp.asarray(known.observation[0])
    np.testing.assert_array_equal(policy(observation, key=KEY), learner.agent(observation, key=KEY))
    assert deflow.Run.open(run.path).config["agent"]["encoder"]["name"] == "standardize"


@pytest.mark.parametrize("chunk", [1, 2])
def test_behaviours_proposals_and_online(chunk):
    """A frozen flow takes its own encoder along; online, the statistics stay the dataset's."""
    spec = Spec((2,), 2, horizon=4)
    known = dataclasses.replace(
        example_data(spec, 40), extras={"trajectory_end": (np.arange(40) % 4 == 3).astype(np.float32)}
    )
    config = agent_config(encoder="standardize", chunk=chunk, **SIZES)
    behaviour = Learner.create(config, spec, known, key=jax.random.key(1)).agent
    learner = Learner.create(config, spec, known, key=KEY).with_behaviour(behaviour)
    assert encoders_of(learner.agent.field) == encoders_of(behaviour.field)
    proposals = deflow.draw_proposals(learner.agent, known, 2, key=KEY, progress=False)
    *_, (_, learner, _) = deflow.train_offline(learner, known, steps=3, batch_size=8, key=KEY, proposals=[proposals])
    before = encoders_of(learner.agent)
    replay = deflow.ProposedReplay(learner.agent, known, proposals, steps=12)
    with deflow.Actors(Drifting(4), seeds=[3]) as actors:
        *_, (_, learner, metrics) = deflow.train_online(learner, replay, actors, steps=12, batch_size=8, key=KEY)
    assert encoders_of(learner.agent) == before
    assert {name for name, value in metrics.items() if not np.isfinite(value)} <= {"episode_success"}  # not reported


# --- where it is the default


PUBLISHED = [
    "cube-triple-play-singletask-v0",
    "antmaze-large-play-v2",
    "pen-human-v1",
]


@pytest.mark.parametrize("name", [OGBENCH, *PUBLISHED])
def test_published_families_see_states_as_they_are(name):
    config = agent_config("fql", settings=task_settings(name))
    assert config.encoder == Identity()
    assert encoder_note(config, task_settings(name)) == {}
    given = agent_config("fql", settings=task_settings(name), encoder="standardize")
    assert given.encoder == StandardizeConfig()
    assert encoder_note(given, task_settings(name)) == {}


@pytest.mark.parametrize("name", [OWN, "Pendulum-v1", "none", "my_module:Point-v0"])
@pytest.mark.parametrize("algorithm", list(deflow.ALGORITHMS))
def test_tasks_of_ones_own_are_standardised(name, algorithm):
    settings = task_settings(name)
    assert agent_config(algorithm, settings=settings).encoder == StandardizeConfig()
    for given in ("identity", Identity, Identity()):
        assert agent_config(algorithm, settings=settings, encoder=given).encoder == Identity()
    assert agent_config(algorithm).encoder == Identity()  # no task was named


def test_a_run_made_with_another_encoder_says_which(tmp_path):
    """As a grid of an earlier version, when its command is typed again."""
    described = deflow.agent.describe_agent(agent_config())
    run = deflow.Run.create(
        tmp_path, environment=OWN, algorithm="deflow", seed=0, config={"options": {}, "agent": described}
    )
    now = agent_config(settings=task_settings(OWN))
    with pytest.raises(
        ValueError, match=r"The encoder differs from that of it: give encoder:identity, or start anew\."
    ):
        cli.check_same(Drifting(4), now, run, (), what="it", remedy="start anew")


def test_on_the_command_line(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "recipes")
    offline = importlib.import_module("offline")

    def chosen(*arguments):
        options, config, _ = offline.defaults(list(arguments))
        parsed = cli.parse(options, config, arguments, program="offline.py", description="")
        said = cli.parts_in_words(parsed.agent, **encoder_note(parsed.agent, task_settings(parsed.options.env)))
        return said.splitlines()[0].split(maxsplit=1)

    default = ["encoder", "standardize (the default where no settings are published)"]
    assert chosen("--env", OWN) == default
    assert chosen("--budget", "quickstart", "--env", OWN) == default
    assert chosen("--env", OWN, "encoder:identity") == ["encoder", "identity"]
    assert chosen("--env", OGBENCH) == chosen() == ["encoder", "identity"]
    assert chosen("--env", OGBENCH, "encoder:standardize") == ["encoder", "standardize"]
    sys.modules.pop("offline", None)

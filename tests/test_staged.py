"""Training in three phases by the recipes, tiny but real: the behaviour, its proposals, the improvement.

The recipes run in this process, which compiles each program once. Ctrl-C is a real signal, sent at a chosen moment.
"""

import contextlib
import dataclasses
import json
import os
import re
import shutil
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from in_process import recipe
from kill_and_resume import differences, files_of_proposals
from logged import assert_rows, of_tensorboard

import deflow
from deflow.behaviour import proposals_file
from deflow.runs import RunGroup, load_learner, look, recorded_data
from deflow.session import Schedule
from deflow.training.updates import batch_key

ENV = "cube-single-play-singletask-task2-v0"
FIELD = ["--field.width", 8, "--field.depth", 1]
CRITIC = ["--critic.width", 8, "--critic.depth", 1]
REFINER = ["--refiner.width", 8, "--refiner.depth", 1]
ONE = ["--episodes", 1, "--workers", 1]
TINY = [
    *("--data", "collected", "--rows", 1000, "--steps", 30, "--eval-every", 30, "--log-every", 10, "--save-every", 10),
    *("--batch-size", 8, *ONE),
]
COUNT = 256
"""Proposals for a state: 8 blocks of the 1,001 states."""
STAGED = [*TINY, "--proposals", COUNT, "--field-steps", 20, *FIELD, *CRITIC]


def finished(outcome):
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    return outcome


def refused(outcome, code=2):
    """The one sentence of a recipe that ended with an error."""
    assert outcome.returncode == code, outcome.stdout + outcome.stderr
    (sentence,) = [line for line in outcome.stderr.splitlines() if line.startswith("error: ")]
    assert outcome.stderr.rstrip().endswith(sentence)
    return sentence


def runs_of(output, algorithm="deflow", task=2):
    return sorted((output / ENV.replace("task2", f"task{task}") / algorithm).glob("seed*"))


@contextlib.contextmanager
def interrupted_while(owner, name, when):
    """Ctrl-C as soon as a call of this function, or an element of what it yields, is as `when` says."""
    original, asked = getattr(owner, name), []

    def ask(*content):
        if not asked and when(*content):
            asked.append(content)
            os.kill(os.getpid(), signal.SIGINT)

    def called(*arguments, **named):
        ask(*arguments)
        made = original(*arguments, **named)
        return each(made) if hasattr(made, "send") else made

    def each(made):
        for element in made:
            ask(*element)
            yield element

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, name, called)
        yield


def interrupted_at(step):
    return interrupted_while(Schedule, "due", lambda schedule, before, now, last: now == step)


@pytest.fixture(scope="module")
def whole(data_dir, tmp_path_factory):
    """Two seeds, trained in three phases without an interruption."""
    output = tmp_path_factory.mktemp("whole")
    where = ["--data-dir", data_dir, "--output-dir", output, "--log", "tensorboard"]
    return finished(recipe("offline", *STAGED, *REFINER, *where, "--seeds", 0, 1)), output


# --- what is said and what is left


def test_the_first_screen_says_what_is_to_come_and_where_it_lies(whole):
    outcome, output = whole
    for fact in ("20 updates of the flow alone", f"{COUNT} for each of 1,001 states and behaviours, 10 MB"):
        assert fact in outcome.stdout
    for run in runs_of(output, "flow-bc"):
        assert f"{run}\n" in outcome.stdout
        assert f"{run / 'proposals'}\n" in outcome.stdout
        assert len(files_of_proposals(run)) == 2
    assert outcome.stderr.index("behaviour:") < outcome.stderr.index("proposals:") < outcome.stderr.index("training:")


def test_the_flow_is_learned_in_runs_of_its_own(whole):
    for path in runs_of(whole[1], "flow-bc"):
        run = deflow.Run.open(path)
        train = run.read("train")
        assert train["step"].tolist() == [10, 20]
        assert np.isfinite(train["training/flow_loss"]).all()
        assert np.isfinite(train["validation/flow_loss"]).all()
        assert run.read("eval")["step"].tolist() == [20]
        assert run.config["agent"]["refiner"]["name"] == "none"
    for path, behaviour in zip(runs_of(whole[1]), runs_of(whole[1], "flow-bc"), strict=True):
        run = deflow.Run.open(path)
        assert run.config["behaviour"] == {"runs": [str(each) for each in runs_of(whole[1], "flow-bc")], "own": True}
        train = run.read("train")
        assert train["step"].tolist() == [10, 20, 30]
        assert np.isfinite(train["training/critic_loss"]).all()
        assert not [name for name in train if "flow_loss" in name]
        learner, _ = load_learner(run)
        assert learner.agent.field_frozen
        assert_same(learner.agent.field, deflow.load(behaviour).agent.field)
        for each in (run, deflow.Run.open(behaviour)):
            assert_rows(of_tensorboard(each), each, rtol=1e-6)


def assert_same(one, other):
    for left, right in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_array_equal(left, right)


# --- Ctrl-C


def test_ctrl_c_in_each_phase_changes_nothing(whole, data_dir, tmp_path):
    """Nor does a move of the folder in between."""
    arguments = [*STAGED, *REFINER, "--data-dir", data_dir, "--output-dir", tmp_path / "runs", "--seeds", 0, 1]
    seen = []

    def look_at_10(schedule, before, now, last):
        """While the flow is learned, the run that it is for is another process's: it waits, and keeps its options."""
        if now == 10:
            (own, *_) = runs_of(tmp_path / "runs")
            seen.append(look(deflow.Run.open(own)).state)
            with pytest.raises(deflow.errors.RunError, match="being trained by another process"):
                RunGroup.open(own).amend({"steps": 60})
        return now == 10

    with interrupted_while(Schedule, "due", look_at_10):
        outcome = recipe("offline", *arguments)
    assert outcome.returncode == 130, outcome.stderr
    assert seen == ["waiting"]
    path, behaviour = runs_of(tmp_path / "runs")[0], runs_of(tmp_path / "runs", "flow-bc")[0]
    assert f"Interrupted at step 10: everything so far is saved in {behaviour}. Go on with: " in outcome.stdout
    assert f"Go on with: python recipes/resume.py {path}\n" in outcome.stdout
    watched = recipe("watch", tmp_path / "runs", "--once").stdout
    others = [f"python recipes/resume.py {run}" for run in runs_of(tmp_path / "runs")]  # not the flows' own runs
    assert re.findall("Go on with: (.*)", watched) == others

    moved = (tmp_path / "runs").rename(tmp_path / "moved")
    paths, behaviours = runs_of(moved), runs_of(moved, "flow-bc")
    hidden = behaviours[0].parent.rename(tmp_path / "hidden")
    assert f"the behaviour in {behaviour}, which is missing: restore it" in refused(recipe("resume", paths[0]))
    hidden.rename(behaviours[0].parent)
    with interrupted_while(proposals_file, "solved_blocks", lambda start, *_: start == 256):
        outcome = recipe("resume", paths[1])
    assert outcome.returncode == 130, outcome.stderr
    command = f"Go on with: python recipes/resume.py {paths[0]}\n"
    assert f"Interrupted after the proposals of 384 of 1,001 states, which are kept. {command}" in outcome.stdout
    assert [deflow.Run.open(run).checkpoints.steps()[-1] for run in behaviours] == [20, 20]

    with interrupted_at(20):
        outcome = recipe("resume", paths[0])
    assert outcome.returncode == 130, outcome.stderr
    assert "256/1001" in outcome.stderr  # where the drawing went on: the last block may not have been whole
    assert f"Interrupted at step 20: everything so far is saved in {paths[0]}. {command}" in outcome.stdout

    finished(recipe("resume", paths[0]))
    assert not (tmp_path / "runs").exists()
    for algorithm in ("deflow", "flow-bc"):
        for one, other in zip(runs_of(whole[1], algorithm), runs_of(moved, algorithm), strict=True):
            assert differences(one, other) == []
            assert files_of_proposals(one) == files_of_proposals(other)


def test_what_may_not_change_when_a_staged_run_is_continued(whole):
    path, behaviour = runs_of(whole[1])[0], runs_of(whole[1], "flow-bc")[0]
    for flags, expected in (
        (["--proposals", 0], "--proposals is 256 in the run to be continued, got 0"),
        (["--proposals", 300], "--proposals is 256 in the run to be continued, got 300"),
        (["--field-steps", 40], "--field-steps is 20 in the run to be continued, got 40"),
        (["--behaviour", behaviour], "--behaviour is not given in the run to be continued, got"),
        (["--solver.steps", 3], "The solver differs from that of the run to be continued"),
    ):
        assert expected in refused(recipe("resume", path, *flags))


# --- the flow of another run


def test_one_behaviour_serves_another_algorithm_and_task(whole, data_dir, tmp_path):
    behaviour = runs_of(whole[1], "flow-bc")[1]
    before = files_of_proposals(behaviour)
    outcome = recipe(
        *("offline", "fql", *TINY, *CRITIC, "--refiner.width", 8, "--refiner.depth", 1),
        *("--env", ENV.replace("task2", "task1"), "--behaviour", behaviour, "--proposals", 100, "--seeds", 5, 6),
        *("--data-dir", data_dir, "--output-dir", tmp_path),
    )
    finished(outcome)
    assert "the frozen flow of flow-bc at step 20" in outcome.stdout
    assert "proposals:" not in outcome.stderr
    assert files_of_proposals(behaviour) == before
    assert not runs_of(tmp_path, "flow-bc", task=1)
    for path in runs_of(tmp_path, "fql", task=1):
        assert deflow.Run.open(path).config["behaviour"] == {"runs": [str(behaviour)], "own": False, "steps": [20]}
        assert_same(deflow.load(path).agent.field, deflow.load(behaviour).agent.field)
        assert np.isfinite(deflow.Run.open(path).read("train")["training/critic_loss"]).all()


@pytest.fixture(scope="module")
def fresh(whole, data_dir, tmp_path_factory):
    """A run with the frozen flow of another, and a solve in every update."""
    output = tmp_path_factory.mktemp("fresh")
    arguments = ["--behaviour", runs_of(whole[1], "flow-bc")[0], "--data-dir", data_dir, "--output-dir", output]
    return finished(recipe("offline", *TINY, *CRITIC, *REFINER, *arguments)), output


def test_a_given_flow_without_proposals_is_frozen(whole, fresh):
    outcome, output = fresh
    assert "none: a fresh ODE solve in every update" in outcome.stdout
    assert "proposals:" not in outcome.stderr
    (path,) = runs_of(output)
    assert_same(deflow.load(path).agent.field, deflow.load(runs_of(whole[1], "flow-bc")[0]).agent.field)
    assert "training/flow_loss" not in deflow.Run.open(path).read("train")


def test_a_run_goes_on_with_the_flow_that_it_began_with(whole, data_dir, tmp_path):
    """Though the behaviour's own run has another one by now."""
    behaviour, another = runs_of(shutil.copytree(whole[1], tmp_path / "given"), "flow-bc")
    arguments = [*TINY, *CRITIC, *REFINER, "--behaviour", behaviour, "--proposals", COUNT, "--data-dir", data_dir]
    with interrupted_at(10):
        assert recipe("offline", *arguments, "--output-dir", tmp_path).returncode == 130
    (path,) = runs_of(tmp_path)
    begun = deflow.load(path).agent.field
    shutil.rmtree(behaviour / "checkpoints")
    (another / "checkpoints").rename(behaviour / "checkpoints")
    assert "proposals:" not in finished(recipe("resume", path)).stderr
    assert_same(deflow.load(path).agent.field, begun)


# --- numbers that are not finite


@contextlib.contextmanager
def poisoned(column, seed, update, *others):
    """Data with a transition that is not a number, which `seed` draws first in that update, and no other seed."""
    draws = [[set(_rows(number, each)) for each in range(30)] for number in (seed, *others)]
    elsewhere = set().union(*draws[0][: update - 1], *(rows for other in draws[1:] for rows in other))
    row = next(row for row in sorted(draws[0][update - 1]) if row not in elsewhere)

    def load_task(*arguments, **named):
        task = original(*arguments, **named)
        values = np.array(getattr(task.train, column))
        values[row] = np.nan
        return dataclasses.replace(task, train=dataclasses.replace(task.train, **{column: values}))

    original = recorded_data.load_task
    with pytest.MonkeyPatch.context() as patch:
        for module in (deflow, recorded_data):
            patch.setattr(module, "load_task", load_task)
        yield


def _rows(seed, update):
    key = batch_key(jax.random.key(seed), jnp.asarray(update))
    return np.asarray(jax.random.randint(key, (8,), 0, 1000)).tolist()


def test_a_behaviour_that_is_not_finite_ends_all_seeds_that_wait_for_it(data_dir, tmp_path):
    arguments = [*STAGED, *REFINER, "--data-dir", data_dir, "--output-dir", tmp_path, "--seeds", 0, 1]
    with poisoned("action", 1, 15, 0):
        sentence = refused(recipe("offline", *arguments), code=1)
        (path, _), behaviours = runs_of(tmp_path), runs_of(tmp_path, "flow-bc")
        assert (
            "Seed 1 stopped: flow_loss is not finite (nan) at update 15; the last intact checkpoint is of" in sentence
        )
        assert f"Go on with python recipes/resume.py {path} --on-nonfinite rollback" in sentence
        assert [deflow.Run.open(run).checkpoints.steps() for run in behaviours] == [[10], [10]]
        with interrupted_while(proposals_file, "solved_blocks", lambda *_: True):  # its flow is learned by then
            outcome = recipe("resume", path, "--on-nonfinite", "rollback")
    assert outcome.returncode == 130, outcome.stderr
    assert "Seed 1: flow_loss is not finite (nan) at update 15: back to the last intact checkpoint" in outcome.stdout
    for run in behaviours:
        assert not (run / "stopped.json").exists()
        train = deflow.Run.open(run).read("train")
        assert train["step"].tolist() == [10, 20]
        assert np.isfinite(train["training/flow_loss"]).all()


def test_an_improvement_that_is_not_finite_goes_back(whole, data_dir, tmp_path):
    behaviours = runs_of(whole[1], "flow-bc")
    arguments = [*TINY, *CRITIC, *REFINER, "--behaviour", *behaviours, "--proposals", COUNT, "--seeds", 0, 1]
    with poisoned("reward", 0, 25, 1):
        outcome = recipe(
            "offline", *arguments, "--on-nonfinite", "rollback", "--data-dir", data_dir, "--output-dir", tmp_path
        )
    finished(outcome)
    assert "Seed 0: critic_loss is not finite (nan) at update 25: back to the last intact checkpoint" in outcome.stdout
    for path, behaviour in zip(runs_of(tmp_path), behaviours, strict=True):
        train = deflow.Run.open(path).read("train")
        assert train["step"].tolist() == [10, 20, 30]
        assert np.isfinite(train["training/critic_loss"]).all()
        assert_same(deflow.load(path).agent.field, deflow.load(behaviour).agent.field)


# --- chunks


def test_chunks_of_actions(data_dir, tmp_path):
    """In three phases, continued after Ctrl-C, evaluated again; another length needs another behaviour."""
    where = ["--data-dir", data_dir, "--output-dir", tmp_path]
    chunks = ["deflow-chunked", *STAGED, *REFINER, "--proposals", 4, "--chunk", 3, "--execute", 2, *where]
    with interrupted_at(20):
        outcome = recipe("offline", *chunks)
    assert outcome.returncode == 130, outcome.stderr
    assert "3 actions chosen together, 2 of them executed" in outcome.stdout
    (path,), (behaviour,) = runs_of(tmp_path, "deflow-chunked"), runs_of(tmp_path, "flow-bc")
    finished(recipe("resume", path))
    policy = deflow.load(path).agent
    observation = np.zeros(policy.spec.observation_shape, np.float32)
    assert policy(observation, key=jax.random.key(0)).shape == (2, policy.spec.action_size)
    assert deflow.Run.open(path).read("eval")["step"].tolist() == [30]
    finished(recipe("evaluate", path, *ONE))
    other = ["deflow", *TINY, *CRITIC, *REFINER, "--behaviour", behaviour, *where]
    assert "makes chunks of 3 action(s), and this agent's are of 1" in refused(recipe("offline", *other))
    with interrupted_at(51):  # one action of a chunk still waits
        outcome = recipe("offline_to_online", "--from", path, *ONLINE, *ONE, "--output-dir", tmp_path / "on")
    assert outcome.returncode == 130, outcome.stderr
    (online,) = runs_of(tmp_path / "on", "deflow-chunked")
    finished(recipe("resume", online))


# --- online


ONLINE = ["--online-steps", 40, "--eval-every", 100]


def from_a_copy(whole, tmp_path, *flags):
    """One seed's training from a copy of its behaviour, and the copy."""
    behaviour = runs_of(shutil.copytree(whole[1], tmp_path / "copy"), "flow-bc")[0]
    return [*TINY, *CRITIC, *REFINER, "--behaviour", behaviour, "--proposals", COUNT, *ONLINE, *flags], behaviour


def test_the_flow_stays_frozen_online(whole, data_dir, tmp_path):
    """Offline and online in one go, ended by Ctrl-C online, and continued: from proposals, those of new states too."""
    arguments, behaviour = from_a_copy(whole, tmp_path, "--data-dir", data_dir)
    finished(recipe("offline_to_online", *arguments, "--output-dir", tmp_path / "uninterrupted"))
    with interrupted_at(50):
        outcome = recipe("offline_to_online", *arguments, "--output-dir", tmp_path)
    assert outcome.returncode == 130, outcome.stderr
    assert f"1 update(s) each, the flow frozen, {COUNT} proposals for each new state" in outcome.stdout
    (path,) = runs_of(tmp_path)
    assert f"Go on with: python recipes/resume.py {path}\n" in outcome.stdout
    shutil.rmtree(behaviour / "proposals")
    outcome = finished(recipe("resume", path))
    assert "proposals:" in outcome.stderr  # they are drawn again, the same
    train = deflow.Run.open(path).read("train")
    assert train["step"].tolist() == [10, 20, 30, 40, 50, 60, 70]
    assert np.isfinite(train["training/critic_loss"]).all()
    assert not [name for name in train if "flow_loss" in name]
    assert_same(deflow.load(path).agent.field, deflow.load(behaviour).agent.field)
    (other,) = runs_of(tmp_path / "uninterrupted")
    assert not differences(path, other)


REFRESH = ["--refresh-every", 25, "--refresh-updates", 20]


@pytest.fixture(scope="module")
def refreshed(whole, data_dir, tmp_path_factory):
    """The run whose flow is refreshed after 25 steps online, without an interruption."""
    output = tmp_path_factory.mktemp("refreshed")
    arguments, _ = from_a_copy(whole, output, "--data-dir", data_dir, *REFRESH)
    finished(recipe("offline_to_online", *arguments, "--output-dir", output))
    (path,) = runs_of(output)
    return path


@pytest.mark.parametrize("at", [50, 60])
def test_a_flow_that_is_refreshed_online(whole, refreshed, data_dir, tmp_path, at):
    """Ctrl-C before the refresh and after it changes nothing."""
    arguments, behaviour = from_a_copy(whole, tmp_path, "--data-dir", data_dir, *REFRESH)
    with interrupted_at(at):
        outcome = recipe("offline_to_online", *arguments, "--output-dir", tmp_path)
    assert outcome.returncode == 130, outcome.stderr
    assert "every 25 environment steps: 20 updates of the flow, and all proposals anew" in outcome.stdout
    (path,) = runs_of(tmp_path)
    finished(recipe("resume", path))
    assert not differences(path, refreshed)
    train = deflow.Run.open(path).read("train")
    assert np.isfinite(train["training/flow_loss"]).tolist() == [False] * 5 + [True, False]
    same = jax.tree.map(np.array_equal, deflow.load(path).agent.field, deflow.load(behaviour).agent.field)
    assert not all(jax.tree.leaves(same))
    assert len(files_of_proposals(behaviour)) == 2  # nobody else needs those of the refreshed flow


@pytest.mark.parametrize("flags", [[], ["--freeze", "none"]])
def test_online_from_a_staged_run(fresh, flags, tmp_path):
    """Its flow stays frozen, also when the online run is continued, unless it is said otherwise."""
    (given,) = runs_of(fresh[1])
    arguments = [*ONLINE, "--log-every", 10, "--save-every", 10, *ONE]
    with interrupted_at(50):
        outcome = recipe("offline_to_online", "--from", given, *flags, *arguments, "--output-dir", tmp_path)
    assert outcome.returncode == 130, outcome.stderr
    assert ("the flow frozen" in outcome.stdout) == (not flags)
    assert "proposals for each new state" not in outcome.stdout
    (path,) = runs_of(tmp_path)
    if not flags:
        finished(recipe("resume", path))
    same = jax.tree.map(np.array_equal, deflow.load(path).agent.field, deflow.load(given).agent.field)
    assert all(jax.tree.leaves(same)) == (not flags)
    assert ("training/flow_loss" in deflow.Run.open(path).read("train")) == bool(flags)


def test_online_from_runs_that_were_trained_from_proposals(whole, tmp_path):
    """Both seeds go on from the proposals of their own flows; with --freeze none the flows are trained."""
    output = shutil.copytree(whole[1], tmp_path / "copy")
    arguments = [*ONLINE, "--log-every", 10, "--save-every", 10, *ONE]
    given = runs_of(output)
    refresh = ["--refresh-every", 20, "--refresh-updates", 5]
    flags = [*arguments, *refresh, "--output-dir", tmp_path / "online"]
    outcome = finished(recipe("offline_to_online", "--from", *given, *flags))
    assert f"{COUNT} proposals for each new state" in outcome.stdout
    assert "online alone, from the agents at step 30 and the dataset of" in outcome.stdout
    assert all(f"{path}\n" in outcome.stdout for path in given)
    for path, old, behaviour in zip(runs_of(tmp_path / "online"), given, runs_of(output, "flow-bc"), strict=True):
        same = jax.tree.map(np.array_equal, deflow.load(path).agent.field, deflow.load(behaviour).agent.field)
        assert not all(jax.tree.leaves(same))
        critic, before = deflow.load(path).agent.critic, deflow.load(old).agent.critic
        assert not all(jax.tree.leaves(jax.tree.map(np.array_equal, critic, before)))
        assert np.isfinite(deflow.Run.open(path).read("train")["training/flow_loss"]).sum() == 2
    again = runs_of(tmp_path / "online")[:1]
    outcome = finished(recipe("offline_to_online", "--from", *again, *arguments, "--output-dir", tmp_path / "again"))
    assert f"{COUNT} proposals for each new state" in outcome.stdout
    assert "the flow of these runs, which was refreshed since it was learned alone" in outcome.stdout
    assert f"{COUNT} for each state, drawn in memory" in outcome.stdout
    assert_same(deflow.load(runs_of(tmp_path / "again")[0]).agent.field, deflow.load(again[0]).agent.field)
    flags = ["--freeze", "none", *arguments, "--output-dir", tmp_path / "trained"]
    outcome = finished(recipe("offline_to_online", "--from", given[1], *flags))
    assert "the flow frozen" not in outcome.stdout
    (path,) = runs_of(tmp_path / "trained")
    assert np.isfinite(deflow.Run.open(path).read("train")["training/flow_loss"]).any()


# --- refusals


@pytest.fixture(scope="module")
def others(whole, tmp_path_factory):
    """Runs that cannot serve, by name."""
    folder = tmp_path_factory.mktemp("others")
    good = runs_of(whole[1], "flow-bc")[0]

    def altered(name, change):
        path = shutil.copytree(good, folder / name, ignore=shutil.ignore_patterns("proposals"))
        description = json.loads((path / "config.json").read_text())
        change(description["config"])
        (path / "config.json").write_text(json.dumps(description))
        return path

    made = {"good": good, "none": folder / "none", "output": folder / "output"}
    made["unfinished"] = altered("unfinished", lambda config: config["options"].update(steps=1000))
    made["empty"] = altered("empty", lambda config: None)
    shutil.rmtree(made["empty"] / "checkpoints")
    made["data"] = altered("data", lambda config: config["data"].update(sha256="0" * 64))
    made["rows"] = altered("rows", lambda config: config["data"].update(sha256="0" * 64, rows=2000))
    made["chunk"] = altered("chunk", lambda config: config["agent"].update(chunk=3))
    made["environment"] = altered("environment", lambda config: config["spec"].update(action_size=7))
    through = deflow.agent.describe_agent(deflow.agent_config("fbrac"))["refiner"]
    critic = deflow.agent.describe_agent(deflow.agent_config("fbrac"))["critic"]
    made["fbrac"] = altered("fbrac", lambda config: config["agent"].update(refiner=through, critic=critic))
    return made


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("fbrac --proposals 4", "the refiner ThroughSolver trains the flow through the solver"),
        ("fbrac --behaviour {good}", "--behaviour has a frozen flow, but the refiner"),
        ("flow-bc --proposals 4", "--proposals leaves nothing to train: this agent is a flow and nothing else"),
        ("ifql --proposals 4", "--proposals would have no effect: neither critic nor refiner asks for proposals"),
        ("fan --proposals 4", "--proposals would have no effect: neither critic nor refiner asks for proposals"),
        ("deflow-flow-critic --proposals 4", "--proposals must be at least"),
        ("--proposals -1", "--proposals must be at least 0, got -1"),
        ("--proposals 4 --field-steps 0", "--field-steps must be at least 1, got 0"),
        ("--behaviour {none}", "is not a run (there is no such directory)"),
        ("--behaviour {empty}", "has no checkpoint, so there is no flow yet"),
        ("--behaviour {unfinished}", "is at step 20 of 1,000: finish it first, with python recipes/resume.py"),
        ("--behaviour {data}", "was trained on data with sha256 000000000000, but"),
        ("--behaviour {rows}", "give --rows 2000, as there."),
        ("--behaviour {chunk}", "makes chunks of 3 action(s), and this agent's are of 1: add --chunk 3"),
        ("--behaviour {environment}", "has action size 7, and "),
        ("--behaviour {fbrac}", "was trained by its critic, so it is no behaviour"),
        ("--behaviour {good} {good} {good}", "--behaviour takes one run for all seeds or one for each of the 2, got 3"),
        ("--behaviour {good} --field.width 16", "the flow is used as it is, so leave the flags out"),
        ("--behaviour {good} --solver.steps 3", "the flow is used as it is, so leave the flags out"),
    ],
)
def test_refusals_before_any_work(others, arguments, expected, data_dir):
    filled = arguments.format(**others).split()
    tiny = [*TINY, "--data-dir", data_dir, "--output-dir", others["output"], "--seeds", 0, 1]
    assert expected in refused(recipe("offline", *filled, *tiny))
    assert not list(others["output"].rglob("config.json"))


def test_online_refuses_a_behaviour_for_runs_that_are_trained(whole, tmp_path):
    path = runs_of(whole[1])[0]
    for flags in (["--proposals", 4], ["--behaviour", runs_of(whole[1], "flow-bc")[0]]):
        sentence = refused(recipe("offline_to_online", "--from", path, *flags, "--output-dir", tmp_path))
        assert f"leave {flags[0]} out, or --from" in sentence
    for flags, expected in (
        (["--learning-rate", 1e-2], "The learning rate is that of"),
        (["--steps", 20], "--steps is the number of offline updates, of which"),
        (
            ["--freeze", "none", "--refresh-every", 5],
            "train from --proposals K, without --freeze none, or leave it out",
        ),
    ):
        assert expected in refused(recipe("offline_to_online", "--from", path, *flags, "--output-dir", tmp_path))
    assert "of the seeds 0 0: give each seed once" in refused(recipe("offline_to_online", "--from", path, path))
    frozen = ["--proposals", 4, "--freeze", "none"]
    assert "--freeze none trains the flow online" in refused(recipe("offline_to_online", *TINY, *frozen))
    never = ["--proposals", 4, "--online-steps", 5, "--refresh-every", 6]
    assert "at most the 5 of --online-steps, got 6" in refused(recipe("offline_to_online", *TINY, *never))
    sentence = refused(recipe("offline_to_online", *TINY, "--refresh-every", 5, "--output-dir", tmp_path))
    assert "--refresh-every draws proposals again, and this training has none: train from --proposals K" in sentence


@pytest.mark.parametrize("damage", ["a bit", "the end"])
def test_damaged_proposals_are_not_trained_from(whole, damage, data_dir, tmp_path):
    behaviour = runs_of(shutil.copytree(whole[1], tmp_path / "copy"), "flow-bc")[0]
    (file,) = (behaviour / "proposals").glob("*.npy")
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= damage == "a bit"
    file.write_bytes(content[: -1 if damage == "the end" else None])
    arguments = [*TINY, *CRITIC, *REFINER, "--data-dir", data_dir, "--output-dir", tmp_path / "runs"]
    sentence = refused(recipe("offline", *arguments, "--behaviour", behaviour, "--proposals", 9))
    assert f"The proposals in {file} " in sentence
    assert f"delete it and {file.with_suffix('.json').name} beside it, and they are drawn again" in sentence
    assert not list((tmp_path / "runs").rglob("config.json"))  # before anything was made


def test_proposals_that_lack_their_description_are_not_drawn_anew(whole, data_dir, tmp_path):
    """As if training had been killed between the two files. And with its flow alone, a seed learns what it learned
    together with others."""
    behaviour = runs_of(shutil.copytree(whole[1], tmp_path / "copy"), "flow-bc")[1]
    before = files_of_proposals(behaviour)
    (file,) = (behaviour / "proposals").glob("*.json")
    file.unlink()
    arguments = [*TINY, *CRITIC, *REFINER, "--data-dir", data_dir, "--output-dir", tmp_path / "runs"]
    outcome = recipe("offline", *arguments, "--behaviour", behaviour, "--proposals", COUNT, "--seeds", 1)
    assert "proposals:   0%" not in finished(outcome).stderr
    assert files_of_proposals(behaviour) == before
    alone, other, together = (
        deflow.Run.open(path).read("train")["training/critic_loss"]
        for path in (*runs_of(tmp_path / "runs"), *runs_of(whole[1]))
    )
    np.testing.assert_allclose(alone, together, rtol=1e-4)
    assert not np.allclose(alone, other, rtol=1e-2)

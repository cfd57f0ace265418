"""A grid becomes a list of jobs that a person can edit; mistakes are said before anything is made."""

import contextlib
import re
import sys

import image_environment  # noqa: F401  (which registers an environment)
import numpy as np
import pytest
from in_process import ROOT, recipe

import deflow
from deflow import cli
from deflow.errors import RunError, SweepError
from deflow.launchers import Job, Record, Sweep, axes_of, cells_of, seeds_of, with_seeds
from deflow.runs import RunGroup

TASKS = [f"cube-single-play-singletask-task{number}-v0" for number in (1, 2)]


@pytest.fixture(scope="module")
def recipes():
    sys.path.insert(0, str(ROOT / "recipes"))
    import offline
    import offline_to_online

    return {
        "offline": cli.Recipe(offline.Offline, offline.defaults),
        "offline_to_online": cli.Recipe(offline_to_online.OfflineToOnline, offline_to_online.defaults),
    }


def jobs(over, seeds="0", common="--budget quickstart", together=100, existing=()):
    kinds = [registry.choice for registry in deflow.agent.KINDS.values()]
    cells = cells_of("offline", axes_of(over.split()), common.split(), kinds=kinds)
    numbers = seeds_of([seeds])
    return [job for cell in cells for job in with_seeds(cell, numbers, together=together, existing=existing)]


def shared(made, recipes, existing=()):
    return cli.share_behaviours(made, cli.read_jobs(made, recipes, existing), recipes, existing)


def test_every_cell_of_the_grid_is_a_job():
    made = jobs("env=a,b algorithm=fql,deflow solver=heun trust-region.bound=0.1,0.2", "0:3", together=2)
    assert len(made) == 2 * 2 * 1 * 2 * 2
    assert made[0].name == "a,fql,solver=heun,trust-region.bound=0.1,seeds=0+1"
    words = "fql --budget quickstart --env a --trust-region.bound 0.1 solver:heun --seeds 0 1"
    assert made[0].arguments == tuple(words.split())
    assert made[1].name.endswith(",seed=2")
    assert len({job.name for job in made}) == len(made)


def test_an_algorithm_after_the_dashes_stays_first():
    (job,) = jobs("env=a", common="deflow-best --steps 5")
    assert job.arguments == ("deflow-best", "--steps", "5", "--env", "a", "--seeds", "0")


def test_seeds_that_are_there_are_not_made_again():
    before = jobs("algorithm=fql", "0:2")
    assert [job.name for job in jobs("algorithm=fql,ifql", "0:4", existing=before)] == [
        "fql,seeds=2+3",
        "ifql,seeds=0+1+2+3",
    ]
    assert jobs("algorithm=fql", "1", existing=before) == []
    assert [job.name for job in jobs("algorithm=fql", "1", "--steps 5", existing=before)] == ["fql,seed=1"]


def test_names_are_those_of_folders():
    long = "x" * 300
    for value in ("/a/path", "module:Name-v0", long):
        (job,) = jobs(f"data={value}")
        assert len(job.name) <= 120
        assert not {"/", ":"} & set(job.name)
    first, second = jobs(f"data={long}1,{long}2")
    assert first.name != second.name


def test_seeds_are_numbers_and_ranges():
    assert seeds_of(["0:2", "5,7"]) == [0, 1, 5, 7]


@pytest.mark.parametrize(
    ("over", "seeds", "words"),
    [
        ("env", "0", "NAME=VALUE,VALUE, got 'env'"),
        ("env=a,", "0", "NAME=VALUE,VALUE"),
        ("env=a,a", "0", "given once"),
        ("env=a env=b", "0", "given once, got 'env=b' again"),
        ("batch-size=1 --batch_size=2", "0", "given once, got '--batch_size=2' again"),
        ("seeds=1,2", "0", "Seeds are no axis"),
        ("env=a", "x", "got 'x'"),
        ("env=a", "3:3", "different numbers from 0 up"),
        ("env=a", "0,0", "different numbers from 0 up"),
    ],
)
def test_what_is_no_grid_is_refused(over, seeds, words):
    with pytest.raises(SweepError, match=words):
        jobs(over, seeds)


def test_a_line_is_read_as_it_was_written():
    job = Job("data=a,seed=0", "offline_to_online", ("deflow", "--data", "my logs/a b.npz", "--behaviour", "{flow}"))
    assert Job.read(str(job)) == job
    assert str(job) == "data=a,seed=0: offline-to-online deflow --data 'my logs/a b.npz' --behaviour '{flow}'"
    assert job.needs == ("flow",)
    assert job.given({"flow": ["x", "y"]})[-3:] == ["--behaviour", "x", "y"]
    for line, words in {
        "offline --steps 5": "NAME: RECIPE",
        "a: ofline": "Did you mean 'offline'",
        "a: offline 'b": "quote it",
        "../a: offline": "without spaces, slashes",
        "a b: offline": "without spaces",
        "sweep.txt: offline": "the list's own name",
    }.items():
        with pytest.raises(SweepError, match=words):
            Job.read(line)


def test_the_list_may_be_edited(tmp_path):
    with Sweep.open(tmp_path / "s") as sweep:
        sweep.write([Job("a", "offline", ()), Job("b", "offline", ("--behaviour", "{a}"))], ["--over", "x=1, 2"])
        with pytest.raises(RunError, match="Another process"), Sweep.open(tmp_path / "s"):
            pass
    file = tmp_path / "s" / "sweep.txt"
    text = file.read_text()
    file.write_text(text + "\n# a comment\nc: offline --steps 3\n")
    again = Sweep.open(tmp_path / "s")
    assert [job.name for job in again.jobs] == ["a", "b", "c"]
    assert again.command == ("--over", "x=1, 2")
    for line, words in {
        "a: offline": "has a twice",
        "d: offline --behaviour {e}": "'e', which is no line before it",
        "bb: offline\nd: offline --behaviour {b,}": "'b,', which is no line before it. Did you mean 'b",
        "nonsense": "line 9: A run is written",
    }.items():
        file.write_text(text + "\n\n" + line)
        with pytest.raises(SweepError, match=words):
            Sweep.open(tmp_path / "s")


def test_records_survive_and_damage_is_said(tmp_path):
    assert Record.read(tmp_path / "nothing").state == "to do"
    record = Record("failed", "offline", "It was.", 3.5, 2, 10, None, ("host", 1, 2.5)).write(tmp_path)
    assert Record.read(tmp_path) == record
    (tmp_path / "job.json").write_text("{")
    with pytest.raises(SweepError, match="remove it"):
        Record.read(tmp_path)


# --- one behaviour for many


def test_tasks_and_algorithms_share_a_flow_and_seeds_do_not(recipes):
    made = shared(jobs(f"env={','.join(TASKS)} algorithm=deflow,fql,ifql,flow-bc", "0:2", together=1), recipes)
    flows = [job for job in made if job.name.startswith("behaviour,")]
    assert [job.name for job in flows] == [f"behaviour,cube-single-play-v0,seed={seed}" for seed in (0, 1)]
    needs = {job.name: job.needs for job in made}
    for task in TASKS:
        for seed in (0, 1):
            for algorithm in ("deflow", "fql"):
                assert needs[f"{task},{algorithm},seed={seed}"] == (f"behaviour,cube-single-play-v0,seed={seed}",)
            assert needs[f"{task},flow-bc,seed={seed}"] == ()  # which has no proposals
    read = cli.read_job(flows[0], recipes)
    alone = cli.read_job(jobs(f"env={TASKS[0]}")[0], recipes)
    assert (read.options.steps, read.options.schedule, read.options.proposals) == (60_000, "cosine", 0)
    assert read.options.learning_rate == alone.options.field_learning_rate
    assert read.agent.field == alone.agent.field
    assert read.agent.solver == alone.agent.solver


@pytest.mark.parametrize(
    ("over", "flows"),
    [
        ("trust-region.bound=0.1,0.2", 1),
        ("solver=heun,euler", 0),  # each flow serves one run alone
        ("solver=heun,euler trust-region.bound=0.1,0.2", 2),
        ("field.width=8,16 critic.width=8,16", 2),
        ("chunk=1,5 discount=0.9,0.99", 2),
        ("field-steps=5,10 discount=0.9,0.99", 2),
        ("data-seed=1,2 discount=0.9,0.99", 2),
        ("proposals=2,4", 1),
        ("env=cube-single-play-singletask-task1-v0,scene-play-singletask-task1-v0", 0),
    ],
)
def test_what_changes_the_flow_is_not_shared(recipes, over, flows):
    made = shared(jobs(over), recipes)
    found = [job for job in made if job.name.startswith("behaviour,")]
    assert len(found) == flows
    for flow in found:
        served = [job for job in made if flow.name in job.needs]
        assert len(served) == 2
        assert ("chunk=5" in flow.name) == (cli.read_job(flow, recipes).agent.chunk == 5)
        for job in served:
            own, theirs = cli.read_job(flow, recipes), cli.read_job(job, recipes)
            for part in ("encoder", "field", "solver", "chunk"):
                assert getattr(own.agent, part) == getattr(theirs.agent, part)
            assert own.options.data_seed == theirs.options.data_seed
            assert own.options.steps == theirs.options.field_steps


def test_a_flow_that_is_there_is_used(recipes):
    before = shared(jobs(f"env={TASKS[0]} algorithm=deflow,fql"), recipes)
    more = f"env={TASKS[1]} algorithm=deflow-best,fql"
    made = shared(jobs(more), recipes, before)
    assert [job.needs for job in made] == [(before[0].name,)] * 2
    other = shared(jobs(more, common="--budget quickstart solver:heun"), recipes, before)
    assert other[0].name.startswith(f"{before[0].name}-")
    assert [job.needs for job in other[1:]] == [(other[0].name,)] * 2


def test_paths_mean_the_same_in_every_folder(recipes, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    here, above = tmp_path, tmp_path.parent
    given = "deflow --data-dir=d --import x.py ../y.py --steps 5 solver:heun --behaviour {b}"
    (job,) = jobs("data=logs/a.npz", common=given)
    words = f"deflow --data-dir={here}/d --import {here}/x.py {above}/y.py --steps 5 solver:heun --behaviour {{b}} "
    made = cli.with_absolute_paths(job, recipes)
    assert made.arguments == (*words.split(), "--data", f"{here}/logs/a.npz", "--seeds", "0")
    (job,) = jobs("data=minari:a/b-v0,official", common="")[:1]
    assert cli.with_absolute_paths(job, recipes) == job


def test_joint_training_shares_nothing(recipes):
    made = shared(jobs("algorithm=deflow,fql", common=""), recipes)
    assert [job.needs for job in made] == [(), ()]


def test_images_of_ones_own_share_a_flow(recipes):
    """Of an environment with a namespace, with options that are not the encoder's."""
    common = "--env seen/SmallReach-v0 --data seen.npz --budget quickstart --batch-size 256 encoder:impala-small"
    flow, *made = shared(jobs("algorithm=deflow,fql", common=common), recipes)
    assert re.fullmatch("behaviour,seen_SmallReach-v0,seed=0-[0-9a-f]{8}", flow.name)
    assert [job.needs for job in made] == [(flow.name,)] * 2
    assert cli.read_job(flow, recipes).options.batch_size == 256


@pytest.mark.parametrize(
    ("over", "words"),
    [
        ("algorithm=deflow,deflw", "deflw,seed=0: Unknown algorithm 'deflw'. Did you mean 'deflow'"),
        ("solver=heun,huen", "solver=huen,seed=0: .*'huen'"),
        ("trust-region.bund=1", "bund"),
        ("steps=0", "--steps must be at least 1"),
        ("steps=many", "--steps takes a whole number"),
        ("env=cube-single-play-singletask-task9-v0", "cube-single-play-singletask-task"),
        ("output-dir=a", "leave --output-dir out"),
        ("trust-region.bound=0.1,x", "bound=x,seed=0: --trust-region.bound takes a number or 'auto', got x"),
        ("trust-region.bound=0.1,-1", "bound=-1,seed=0: trust region mean-square: bound must be a positive number"),
        ("proposals=4 algorithm=deflow,flow-bc", "flow-bc,seed=0: --proposals leaves nothing to train"),
        ("proposals=4 algorithm=deflow,fan", "fan,seed=0: --proposals would have no effect"),
        ("proposals=8 target-candidates=4,12", "target-candidates=12,seed=0: --proposals must be at least 12"),
    ],
)
def test_a_mistake_in_one_cell_is_said_with_its_name(recipes, over, words):
    with pytest.raises(SweepError, match=words):
        shared(jobs(over), recipes)


@pytest.mark.parametrize(
    ("common", "words"),
    [
        (
            "--seeds 0 1 --chunk 5",
            "The flow of flow-bc,seeds=0\\+1 makes chunks of 1 action.s., and this agent's are of 5",
        ),
        ("--seeds 0 1 2", "--behaviour takes one run for all seeds or one for each of the 3, got 2"),
        ("--seeds 0 1 --field.width 64", "The field of flow-bc,seeds=0\\+1 is .*width=256.*, got .*width=64"),
        ("--seeds 0 1 solver:heun", "The solver of flow-bc,seeds=0\\+1 is Euler.*, got Heun"),
        ("--seeds 0 1 --data-seed 3", "The flow of flow-bc,seeds=0\\+1 is learned from .* seed 0, and .* seed 3"),
    ],
)
def test_a_flow_of_another_line_must_fit(recipes, common, words):
    """Which the list alone says, before that flow is learned."""
    (flow,) = jobs("algorithm=flow-bc", "0:2")
    given = "--budget quickstart --proposals 0 --behaviour {flow-bc,seeds=0+1}"
    fits, other = (Job("user", "offline", ("fan", *f"{given} {more}".split())) for more in ("--seeds 0 1", common))
    cli.read_jobs([fits], recipes, [flow])
    with pytest.raises(SweepError, match=f"user: {words}"):
        cli.read_jobs([other], recipes, [flow])


def test_a_flow_that_its_critic_trained_serves_nobody(recipes):
    (flow,) = jobs("algorithm=fbrac")
    user = Job("user", "offline", ("deflow", "--budget", "quickstart", "--behaviour", "{fbrac,seed=0}"))
    with pytest.raises(SweepError, match=r"user: The flow of fbrac,seed=0 was trained by its critic"):
        cli.read_jobs([user], recipes, [flow])


def test_a_flow_that_is_not_learned_to_its_end_is_refused(recipes, tmp_path):
    (flow,) = jobs("algorithm=flow-bc")
    agent = deflow.agent.describe_agent(cli.read_job(flow, recipes).agent)
    config = {"recipe": "offline", "options": {"steps": 30}, "agent": agent}
    group = RunGroup.create(tmp_path, environment="e", algorithm="flow-bc", seeds=(0,), config=config)
    path = group.runs[0].path
    user = Job("user", "offline", ("deflow", "--budget", "quickstart", "--behaviour", str(path)))
    with pytest.raises(SweepError, match=f"user: {path} has no checkpoint"):
        cli.read_jobs([user], recipes)
    for step, words in ((10, f"user: {path} is at step 10 of 30: finish it first"), (30, "")):
        with group:
            group.save(step, [{"x": np.zeros(1)}], [{}])
        with pytest.raises(SweepError, match=words) if words else contextlib.nullcontext():
            cli.read_jobs([user], recipes)


def test_flows_of_lines_and_of_runs_together(recipes, tmp_path):
    """One for each seed; the run is looked at, and the line is read."""
    (flow,) = jobs("algorithm=flow-bc")
    sizes, user = "--budget quickstart --seeds 0 1", ("deflow", "--behaviour", "{flow-bc,seed=0}", str(tmp_path))
    with pytest.raises(SweepError, match=f"user: {tmp_path} is not a run"):
        cli.read_jobs([Job("user", "offline", (*user, *sizes.split()))], recipes, [flow])


def test_a_part_that_needs_the_tasks_sizes_is_read_when_they_are_known(recipes, registered):
    """Its structure is not known before; the recipe checks it then."""

    class OfThree(deflow.refiners.AbstractRefinerConfig):
        """A refiner for one robot."""

        def build(self, context, *, key):
            if context.spec.action_size != 3:
                raise ValueError("this robot has three joints")
            return deflow.refiners.ResidualRefinerConfig().build(context, key=key)

    registered(deflow.refiners.registry, "of-three", OfThree)
    flow, *made = shared(jobs("algorithm=deflow discount=0.9,0.99 refiner=of-three"), recipes)
    assert [job.needs for job in made] == [(flow.name,)] * 2


# --- the recipe


def refused(*arguments):
    outcome = recipe("sweep", *arguments)
    assert outcome.returncode == 2, outcome.stdout + outcome.stderr
    assert "Traceback" not in outcome.stderr
    return outcome.stderr


def test_mistakes_make_no_list(tmp_path):
    where = ("--output-dir", tmp_path / "s")
    assert "say what is varied" in refused(*where)
    assert "Give --seeds before the --" in refused(*where, "--over", "algorithm=fql", "--", "--seeds", "1")
    assert "Did you mean 'local'" in refused(*where, "--over", "algorithm=fql", "--launcher", "lokal")
    assert "at-once: Jobs that run at once" in refused(*where, "--over", "algorithm=fql", "--launch", "at=1")
    assert "takes a whole number" in refused(*where, "--over", "algorithm=fql", "--launch", "at-once=x")
    assert "Did you mean 'deflow'" in refused(*where, "--over", "algorithm=fql,deflw")
    assert "a sweep runs offline or offline_to_online" in refused(*where, "--recipe", "report", "--seeds", "1")
    assert not (tmp_path / "s" / "sweep.txt").exists()


def test_another_grid_is_added_and_a_changed_one_refused(tmp_path):
    where = ("--output-dir", tmp_path / "s", "--list-only")
    outcome = recipe("sweep", "--over", "algorithm=fql", "--seeds", "0:2", *where, "--", "--steps", "5")
    assert outcome.returncode == 0, outcome.stderr
    assert "1 run" in outcome.stdout
    assert "fql,seeds=0+1: offline fql --steps 5 --seeds 0 1" in outcome.stdout
    recipe("sweep", "--over", "algorithm=fql,ifql", "--seeds", "0:3", *where, "--", "--steps", "5")
    assert [job.name for job in Sweep.open(tmp_path / "s").jobs] == ["fql,seeds=0+1", "fql,seed=2", "ifql,seeds=0+1+2"]
    said = refused("--over", "algorithm=fql", "--seeds", "0:2", *where, "--", "--steps", "6")
    assert "has a run fql,seeds=0+1 with other arguments" in said
    file = tmp_path / "s" / "sweep.txt"
    text = file.read_text()
    file.write_text(text.replace("ifql --steps 5", "ifql --stps 5"))
    assert "ifql,seeds=0+1+2: There is no flag --stps" in refused(*where)
    file.write_text(text.replace("ifql --steps 5", "ifql --data-dir here --steps 5"))
    assert "a path that depends on the folder" in refused(*where)


def test_a_run_that_began_keeps_its_arguments(tmp_path):
    sweep = Sweep.open(tmp_path / "s")
    sweep.write([Job("a", "offline", ("--steps", "5"))])
    Record(command="offline --steps 4", tries=1).write(sweep.place("a"))
    assert "was begun with other arguments (offline --steps 4)" in refused("--output-dir", tmp_path / "s")

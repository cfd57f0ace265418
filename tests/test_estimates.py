"""Estimates of several policies: the table, the picture and the recipe that makes them."""

import dataclasses
import math
import shutil
from functools import partial

import in_process
import jax
import numpy as np
import pytest
import rich
from scipy import stats

import deflow
from deflow import report
from deflow.errors import ReportError


def policy(value, success=math.nan, *, step=10, away=1.0, name="deflow 0", run="runs/a", settings="steps=5"):
    numbers = {"estimate/value": value, "estimate/value.low": value - 1, "estimate/value.high": value + 1}
    numbers |= {"estimate/away": away, "estimate/data_return": -3.0}
    numbers |= {
        "estimate/supported": float(away <= 1.1),
        "evaluation/success": success,
        "evaluation/episode.return": math.nan,
    }
    return report.EstimatedPolicy(run, name, step, settings, numbers)


def test_agreement_with_what_was_measured():
    values, success = [3.0, 1.0, 2.0, 5.0], [0.9, 0.1, 0.2, 0.4]
    several = report.Estimates(tuple(map(policy, values, success)))
    found = several.agreement()
    assert found is not None
    assert (found.policies, found.measured) == (4, 4)
    assert found.rank_correlation == pytest.approx(stats.spearmanr(values, success)[0])
    assert found.regret == pytest.approx(0.9 - 0.4)
    assert [each["estimate/value"] for each in several.ranked] == [5.0, 3.0, 2.0, 1.0]
    assert "rank correlation 0.80" in several.notes()[0]
    assert "the first one has 0.5 less than the best of all" in several.notes()[0]
    guessed = report.Estimates((*several.policies, policy(9.0, 0.0, away=1.5)))
    assert guessed.ranked[-1]["estimate/value"] == 9.0
    assert guessed.agreement() == dataclasses.replace(found, measured=5)
    assert "without 1 that the data does not support" in guessed.notes()[0]
    assert report.Estimates(several.policies[:2]).agreement() is None
    unknown = report.Estimates((policy(1.0), policy(2.0)))
    assert (unknown.measure, unknown.notes()) == (None, [])


def test_the_table_survives_its_file(tmp_path):
    several = report.Estimates((policy(1.25, 0.5), policy(math.nan, run="runs/b, c", name="fql 1")))
    (tmp_path / "e.csv").write_text(several.csv())
    again = report.Estimates.read(tmp_path / "e.csv")
    assert again.csv() == several.csv()
    assert again.policies[0].numbers["estimate/value"] == 1.25
    assert math.isnan(again.policies[1].numbers["estimate/value"])
    newer = again.with_policies([policy(7.0, 0.5), policy(8.0, settings="steps=9")])
    assert [each["estimate/value"] for each in newer.policies if each.run == "runs/a"] == [7.0, 8.0]
    for text in ("", "a,b\n1,2\n", several.csv().replace("1.25", "much")):
        (tmp_path / "e.csv").write_text(text)
        if text:
            with pytest.raises(ReportError, match="is no table of estimates"):
                report.Estimates.read(tmp_path / "e.csv")


@pytest.mark.parametrize("success", [[math.nan] * 3, [0.1, 0.9, 0.5]])
def test_what_is_shown(tmp_path, success, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    several = report.Estimates((*map(policy, [3.0, 1.0, 2.0], success), policy(9.0, step=20, away=4.0)))
    rich.print(several.table())
    said = capsys.readouterr().out
    assert said.index("3 [2, 4]") < said.index("1 [0, 2]") < said.index("9 [8, 10]") < said.index("the data's own")
    assert ("success" in said) != math.isnan(success[0])
    picture = report.estimates_figure(several, tmp_path / "e.png")
    assert picture.stat().st_size > 15_000


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two untrained policies of data alone, of which one was measured, as if there had been an environment."""
    folder, random = tmp_path_factory.mktemp("estimates"), np.random.default_rng(0)
    ends = np.arange(60) % 5 == 4
    columns = {"observations": random.normal(size=(60, 3)), "actions": random.uniform(-1, 1, (60, 2))}
    columns |= {"rewards": random.normal(size=60), "terminations": ends & (np.arange(60) < 30), "truncations": ends}
    np.savez(folder / "log.npz", **columns)
    task = deflow.load_task("none", deflow.UserData(folder / "log.npz"))
    made = []
    for seed, algorithm in enumerate(("deflow", "flow-bc")):
        config = deflow.agent_config(algorithm, width=8, depth=1, solver=deflow.solvers.Euler(steps=1))
        learner = deflow.Learner.create(config, task.spec, task.train, key=jax.random.key(seed))
        run = deflow.create_run(folder / "runs", task, config, learner, seed=seed, algorithm=algorithm)
        for step in (1, 2):
            run.save(step, learner)
        made.append(run)
    made[0].log(2, {"evaluation/success": 0.5, "evaluation/episode.return": 3.0})
    return folder, made


@pytest.fixture
def recipe(monkeypatch, runs):
    """Runs the recipe in this process, in the runs' folder."""
    monkeypatch.chdir(runs[0])
    return partial(in_process.recipe, "estimate")


SMALL = ("--steps", 3, "--members", 2, "--actions", 1)


def test_the_recipe_ranks_and_goes_on_where_it_was(recipe, runs, tmp_path):
    table = tmp_path / "new" / "e.csv"
    said = recipe("runs/log/deflow", *SMALL, "--output", table).stdout
    first = report.Estimates.read(table)
    assert [(each.name, each.step) for each in first.policies] == [("deflow 0", 2)]
    assert first.policies[0].numbers["evaluation/success"] == 0.5
    assert np.isfinite(first.policies[0].numbers["estimate/td_error"])
    assert "value" in said
    assert "fewer than 10 trajectories are held out" in said
    said = recipe("runs", *SMALL, "--step", "all", "--output", table).stdout
    assert "4, 1 of them in" in said
    assert "3 to go" not in said
    assert "2 to go, about 1 min." in said
    every = report.Estimates.read(table)
    assert sorted((each.name, each.step) for each in every.policies) == [
        *(("deflow 0", 1), ("deflow 0", 2)),
        *(("flow-bc 1", 1), ("flow-bc 1", 2)),
    ]
    assert every.policies[0].numbers == first.policies[0].numbers
    assert math.isnan(every.policies[-1]["estimate/td_error"])
    assert table.with_suffix(".png").stat().st_size > 15_000
    before = table.read_text()
    assert recipe("runs", *SMALL, "--step", "all", "--output", table).returncode == 0
    assert table.read_text() == before
    (agent,) = {each.numbers["estimate/value"] for each in every.policies if each.name == "flow-bc 1"}
    found = deflow.estimate(
        *(deflow.load(runs[1][1]), deflow.runs.recorded_task(runs[1][1])), steps=3, members=2, actions=1, progress=False
    )
    assert found.value == pytest.approx(agent)


def test_a_policy_that_is_only_kept_as_the_best_and_one_that_is_damaged(recipe, runs, tmp_path):
    folder = tmp_path / "some"
    for name in ("deflow", "flow-bc"):
        (run,) = (runs[0] / "runs/log" / name).iterdir()
        shutil.copytree(run, folder / name / run.name)
    (best, damaged) = (next((folder / name).iterdir()) for name in ("deflow", "flow-bc"))
    (best / "best").rmdir() if (best / "best").exists() else None
    (best / "checkpoints").rename(best / "best")
    shutil.rmtree(best / "best" / "1")
    for file in damaged.glob("checkpoints/*/manifest.json"):
        file.write_text("{}")
    done = recipe(folder, *SMALL, "--step", "all", "--output", tmp_path / "e.csv")
    assert done.returncode == 1
    assert [(each.name, each.step) for each in report.Estimates.read(tmp_path / "e.csv").policies] == [("deflow 0", 2)]
    assert f"Left out: {damaged}, at step 2: No intact checkpoint" in done.stdout
    assert recipe(damaged, *SMALL, "--output", tmp_path / "none.csv").returncode == 1
    assert not (tmp_path / "none.csv").exists()


def test_values_of_different_things_are_not_ranked(recipe, runs, tmp_path):
    _, (run, _) = runs
    task = deflow.runs.recorded_task(run)
    config = deflow.agent_config("flow-bc", width=8, depth=1, discount=0.5)
    learner = deflow.Learner.create(config, task.spec, task.train, key=jax.random.key(0))
    other = deflow.create_run(tmp_path, task, config, learner, seed=0, algorithm="flow-bc")
    other.save(1, learner)
    done = recipe(run.path, other.path, *SMALL)
    assert done.returncode == 2
    assert f"the discount of {other.path} is 0.5, of {run.path} 0.99" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["runs", "--critic", "ensembel"], "ensemble"),
        (["runs", "--critic", "none"], "does not look at a policy's next actions"),
        (["runs", "--step", 7], "has no checkpoint of step 7, but of 1, 2"),
        (["runs", "--step", "best"], "has no best checkpoint"),
        (["runs", "--members", 0], "--members must be at least 1, got 0"),
        (["nowhere"], "There is no such folder"),
        (["log.npz"], "neither a run's folder nor an archive"),
        (["runs", "--output", "log.npz/e.csv"], "Cannot write log.npz/e.csv"),
        (["runs", "--output", "log.npz"], "is no table of estimates, whose first line begins with run,name,step"),
        (["runs", "--output", "runs"], "Cannot read runs: Is a directory"),
    ],
)
def test_what_is_refused_is_said_in_one_sentence(recipe, arguments, expected):
    done = recipe(*arguments[:1], *SMALL, *arguments[1:])
    assert done.returncode in (1, 2)
    assert expected in done.stderr
    assert done.stderr.startswith("error: ")

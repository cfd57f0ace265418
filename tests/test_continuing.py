"""What a run is continued with is on record before training goes on: whatever ends it then, it goes on with that."""

import dataclasses
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from in_process import recipe
from small import walks

import deflow
from deflow import cli
from deflow.cli.resuming import continued
from deflow.errors import RunError
from deflow.report import compare, read_runs, write_archive
from deflow.runs import Run, RunGroup, look
from deflow.runs.amending import amend

ROOT = Path(__file__).parents[1]
SMALL = ["--field.width", 8, "--field.depth", 1, "--batch-size", 8, "--estimate-steps", 1, "--log", "tensorboard"]
EVERY = ["--log-every", 10, "--eval-every", 10_000, "--save-every", 10]


def config_of(path):
    return json.loads((path / "config.json").read_text())


@pytest.fixture
def trained(tmp_path):
    """Two seeds, 30 updates."""
    what = ["flow-bc", "--env", "none", "--data", walks(tmp_path / "walk.npz"), "--seeds", 0, 1, "--steps", 30]
    outcome = recipe("offline", *what, *SMALL, *EVERY, "--output-dir", tmp_path / "runs")
    assert outcome.returncode == 0, outcome.stderr
    return sorted((tmp_path / "runs").glob("*/*/seed*"))


def killed(*arguments, run, after):
    """A recipe that gets SIGKILL as soon as the run has a checkpoint after this step."""
    words = [sys.executable, f"recipes/{arguments[0]}.py", *map(str, arguments[1:])]
    with open(run / "said.txt", "w") as said:
        process = subprocess.Popen(words, cwd=ROOT, stdout=said, stderr=said)
    deadline = time.monotonic() + 120
    while max(Run.open(run).checkpoints.steps()) <= after and time.monotonic() < deadline:
        assert process.poll() is None, (run / "said.txt").read_text()
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()


def test_one_that_is_continued_for_longer_and_killed(trained):
    first, second = trained
    begun = [config_of(path) for path in trained]
    (archive,) = write_archive(read_runs(trained), first / "results")
    steps = 400
    killed("offline", "--resume", first, "--steps", steps, "--save-every", 20, run=second, after=30)
    for path, before in zip(trained, begun, strict=True):
        now = config_of(path)
        assert now["config"]["options"] == before["config"]["options"] | {"steps": steps, "save_every": 20}
        assert now["begun_with"] == before["config"]["options"]
        assert shlex.split(now["continued_by"][0])[-4:] == ["--steps", str(steps), "--save-every", "20"]
        seen = look(Run.open(path))
        assert (seen.state, seen.last) == ("not running", steps)
    watched = recipe("watch", second, "--once").stdout
    assert "not running" in watched
    assert "Go on with: python recipes/resume.py" in watched
    assert len(compare(read_runs(trained)).lines) == 1
    (again,) = write_archive(read_runs(trained), first / "results")
    assert again == archive  # in place of the shorter one
    assert '"continued_by": ["python recipes/offline.py --steps 400 --save-every 20"]' in again.read_text()

    outcome = recipe("resume", second)
    assert outcome.returncode == 0, outcome.stderr
    for path in trained:
        run = Run.open(path)
        assert run.checkpoints.steps()[-1] == steps
        assert look(run).state == "finished"
        assert len(config_of(path)["continued_by"]) == 1  # nothing that is new
    refused = recipe("resume", first, "--steps", 20)
    assert f"error: --steps 20 is less than the {steps:,} that" in refused.stderr
    assert config_of(first)["config"]["options"]["steps"] == steps


def test_one_that_was_killed_between_its_seeds_records(trained):
    """The first seed's, which is written first, counts for all."""
    first, second = trained
    amend(Run.open(first), {"steps": 50})
    assert [config_of(path)["config"]["options"]["steps"] for path in trained] == [50, 30]
    outcome = recipe("resume", second)
    assert outcome.returncode == 0, outcome.stderr
    for path in trained:
        assert Run.open(path).checkpoints.steps()[-1] == 50
        assert config_of(path)["config"]["options"]["steps"] == 50
        assert config_of(path)["begun_with"]["steps"] == 30


def test_one_that_nobody_recorded(trained):
    """A version that did not record it has continued the run."""
    assert recipe("resume", trained[0], "--steps", 40).returncode == 0
    for path in trained:
        described = config_of(path)
        described["config"]["options"] = described.pop("begun_with")
        del described["continued_by"]
        (path / "config.json").write_text(json.dumps(described))
    outcome = recipe("resume", trained[0])
    assert outcome.returncode == 2
    assert "has made 40 steps, more than the 30 that it was begun for" in outcome.stderr
    assert "give --steps" in outcome.stderr
    assert recipe("resume", trained[0], "--steps", 50).returncode == 0


def test_nothing_is_recorded_while_another_process_trains(tmp_path):
    config = {"recipe": "offline", "options": {"steps": 30}}
    group = RunGroup.create(tmp_path, environment="e", algorithm="a", seeds=(0, 1), config=config)
    before = config_of(group.runs[0].path)
    with RunGroup.open(group.runs[0].path), pytest.raises(RunError, match="being trained by another process"):
        RunGroup.open(group.runs[1].path).amend({"steps": 60})
    assert config_of(group.runs[0].path) == before
    group.amend({"steps": 30})
    assert config_of(group.runs[0].path) == before
    with group:
        group.amend({"steps": 60})
        with pytest.raises(RunError, match="being trained by another process"):  # still
            RunGroup.open(group.runs[0].path).amend({"steps": 90})
    assert [run.config["options"]["steps"] for run in group.runs] == [60, 60]
    group.amend({"steps": 90})
    assert config_of(group.runs[1].path)["begun_with"] == {"steps": 30}
    assert len(config_of(group.runs[1].path)["continued_by"]) == 2


def test_a_damaged_description_is_left_alone(tmp_path):
    group = RunGroup.create(tmp_path, environment="e", algorithm="a", seeds=(0,), config={"options": {"steps": 3}})
    (group.runs[0].path / "config.json").write_text("{")
    with pytest.raises(RunError, match="cannot be read"):
        group.amend({"steps": 4})
    assert os.listdir(group.runs[0].path).count("config.json") == 1


def test_steps_online_are_on_record_and_options_added_since_are_no_change(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "recipes")
    import offline_to_online

    agent = deflow.agent_config("flow-bc")
    begun = offline_to_online.OfflineToOnline(steps=30, online_steps=60)
    described = cli.describe_options(begun)
    del described["estimate_steps"]
    config = {"recipe": "offline_to_online", "options": described, "agent": deflow.agent.describe_agent(agent)}
    group = RunGroup.create(tmp_path, environment="e", algorithm="a", seeds=(0, 1), config=config)
    path = group.runs[0].path
    with group:
        group.save(80, [{"x": np.zeros(1)}] * 2, [{}] * 2)

    def again(**options):
        given = dataclasses.replace(begun, resume=path, **options)
        cli.check_unchanged(given, agent, offline_to_online.MAY_CHANGE)
        return continued(given)

    with pytest.raises(ValueError, match=r"--online-steps 40 is less than the 50 that .* has made"):
        again(online_steps=40)
    again()
    assert "begun_with" not in config_of(path)
    assert [look(run).last for run in again(online_steps=70, output_dir=tmp_path / "other").runs] == [100, 100]
    for run in group.runs:
        assert config_of(run.path)["config"]["options"] == described | {"online_steps": 70}
    again(online_steps=70, estimate_steps=0)
    assert config_of(path)["config"]["options"]["estimate_steps"] == 0
    assert config_of(path)["begun_with"] == described

"""A run goes on wherever it and its data lie: data is its digest, and a path is where it lay."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import deflow
from deflow.errors import DataError
from deflow.runs import find_data, recorded_task

ROOT = Path(__file__).parents[1]
OLD = Path(__file__).parent / "old_run"


@pytest.fixture
def project(tmp_path):
    """A project's folder as a recipe leaves it: data/mine.npz and runs/ENV/ALGORITHM/seed3."""
    project = tmp_path / "project"
    (project / "data").mkdir(parents=True)
    shutil.copy(OLD / "data.npz", project / "data" / "mine.npz")
    run = shutil.copytree(OLD / "run", project / "runs" / "Pendulum-v1" / "deflow" / "seed3")
    record(run, project)
    return project


def record(run, project):
    """Let the run have been made in this project."""
    path = run / "config.json"
    description = json.loads(path.read_text())
    description["config"]["data"]["path"] = str(project / "data" / "mine.npz")
    description["config"]["options"]["output_dir"] = str(project / "runs")
    description["config"]["options"]["data"] = str(project / "data" / "mine.npz")
    path.write_text(json.dumps(description))


def run_of(project):
    return deflow.Run.open(project / "runs" / "Pendulum-v1" / "deflow" / "seed3")


def test_data_is_found_where_it_lay_and_where_it_lies(project, tmp_path):
    data = project / "data" / "mine.npz"
    assert find_data(run_of(project)) == data
    moved = project.rename(tmp_path / "elsewhere")
    assert find_data(run_of(moved)) == moved / "data" / "mine.npz"  # the project moved as a whole
    beside = Path(shutil.move(moved / "data" / "mine.npz", moved / "runs" / "mine.npz"))
    assert find_data(run_of(moved)) == beside
    below = tmp_path / "store"
    below.mkdir()
    shutil.move(beside, below / "mine.npz")
    assert find_data(run_of(moved), data_dir=below) == below / "mine.npz"
    with pytest.raises(DataError, match=r"81d13890afa2, but there is no file .*project/data/mine.npz: give the path"):
        find_data(run_of(moved))
    renamed = Path(shutil.move(below / "mine.npz", below / "other name.npz"))
    assert find_data(run_of(moved), given=renamed) == renamed
    assert len(recorded_task(run_of(moved), given=renamed).train) == 200


def test_another_file_is_refused_by_both_digests(project, tmp_path):
    np.savez(tmp_path / "other.npz", observations=np.zeros(3))
    with pytest.raises(DataError, match=r"sha256 81d13890afa2, but .*other.npz has [0-9a-f]{12}: give the path"):
        find_data(run_of(project), given=tmp_path / "other.npz")
    shutil.copy(tmp_path / "other.npz", project / "data" / "mine.npz")
    with pytest.raises(DataError, match=r"mine.npz has [0-9a-f]{12}"):
        find_data(run_of(project))


def resume(run, *flags, cwd):
    return subprocess.run(
        [sys.executable, ROOT / "recipes" / "resume.py", run, *flags],
        cwd=cwd,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"},
        check=False,
    )


def test_a_run_is_resumed_from_anywhere_with_its_data_anywhere(project, tmp_path):
    """And no folder is made for it."""
    moved = project.rename(tmp_path / "elsewhere")
    data = Path(shutil.move(moved / "data" / "mine.npz", tmp_path / "new name.npz"))
    run = run_of(moved).path
    refused = resume(run, cwd=tmp_path)
    assert refused.returncode == 2
    assert "there is no file" in refused.stderr
    outcome = resume(run, "--data", "new name.npz", cwd=tmp_path)
    assert outcome.returncode == 0, outcome.stderr
    assert str(data) in outcome.stdout
    assert not project.exists()
    wanted = np.genfromtxt(OLD / "expected_train.csv", delimiter=",", names=True)
    got = np.genfromtxt(run / "train.csv", delimiter=",", names=True)
    np.testing.assert_allclose(got["trainingloss"], wanted["trainingloss"], rtol=1e-4)

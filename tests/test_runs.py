"""Run directories: what is written is what is read, and damage is said in one sentence."""

import concurrent.futures
import json
import math
import os
import resource

import jax.numpy as jnp
import numpy as np
import pytest

from deflow.errors import RunError
from deflow.runs import Run, writable_directory
from deflow.runs.run import checked_step


@pytest.fixture
def run(tmp_path):
    return Run.create(
        tmp_path, environment="cube-v0", algorithm="deflow", seed=3, config={"bound": 0.1, "sizes": (4, 5)}
    )


def test_a_path_that_goes_up_holds_checkpoints(tmp_path):
    (tmp_path / "below").mkdir()
    run = Run.create(tmp_path / "below" / ".." / "runs", environment="e", algorithm="a", seed=0, config={})
    assert run.path.parents[2] == tmp_path / "runs"
    run.checkpoints.save(3, {"w": jnp.zeros(2)}, {})
    assert Run.open(tmp_path / "below" / ".." / run.path.relative_to(tmp_path)).checkpoints.steps() == [3]


def test_create_and_open(run, tmp_path):
    assert run.path.parent == tmp_path / "cube-v0" / "deflow"
    assert run.path.name.startswith("seed3-2")
    opened = Run.open(run.path)
    assert (opened.environment, opened.algorithm, opened.seed) == ("cube-v0", "deflow", 3)
    assert opened.config == {"bound": 0.1, "sizes": [4, 5]}
    assert json.loads((run.path / "config.json").read_text())["schema_version"] == 1
    machine = json.loads((run.path / "environment.json").read_text())
    assert machine["versions"]["jax"]
    assert machine["versions"]["orbax-checkpoint"]
    assert len(machine["devices"]) >= 1


def test_runs_started_together_are_apart(tmp_path):
    def create(seed):
        return Run.create(tmp_path, environment="e", algorithm="a", seed=0, config={"number": seed}).path

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        paths = list(pool.map(create, range(8)))
    assert len(set(paths)) == 8
    assert sorted(Run.open(path).config["number"] for path in paths) == list(range(8))


@pytest.mark.parametrize(
    ("name", "folder"),
    [("../up", "_up"), ("a/b", "a_b"), (".hidden", "hidden"), ("lab:Name-v0", "lab_Name-v0"), ("x" * 9, "x" * 9)],
)
def test_names_stay_inside_the_output_directory(tmp_path, name, folder):
    """Whatever an environment is called: its run is in a folder like it, and has the name itself."""
    run = Run.create(tmp_path, environment=name, algorithm="deflow", seed=0, config={})
    assert run.path.parents[1] == tmp_path / folder
    assert Run.open(run.path).environment == name
    with pytest.raises(RunError, match="cannot name a directory"):
        Run.create(tmp_path, environment="..", algorithm="deflow", seed=0, config={})


def test_config_must_be_json(tmp_path):
    with pytest.raises(RunError, match=r"config\.json.*ndarray.*plain numbers"):
        Run.create(tmp_path, environment="e", algorithm="a", seed=0, config={"x": np.zeros(2)})


def test_open_says_what_is_wrong(run, tmp_path):
    with pytest.raises(RunError, match="no such directory"):
        Run.open(tmp_path / "nowhere")
    with pytest.raises(RunError, match="is not a run"):
        Run.open(tmp_path)
    config = run.path / "config.json"
    whole = config.read_text()
    config.write_text(whole[: len(whole) // 2])
    with pytest.raises(RunError, match="is damaged"):
        Run.open(run.path)
    config.write_text("[]")
    with pytest.raises(RunError, match="is damaged"):
        Run.open(run.path)
    config.write_text(json.dumps(json.loads(whole) | {"schema_version": 99}))
    with pytest.raises(RunError, match=r"schema version 99.*upgrade"):
        Run.open(run.path)
    config.write_text("{}")
    with pytest.raises(RunError, match="no schema version"):
        Run.open(run.path)
    config.write_text('{"schema_version": 1, "seed": 0}')
    with pytest.raises(RunError, match="lacks environment, algorithm, config"):
        Run.open(run.path)


def test_directory_below_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="file is a file; choose another"):
        writable_directory(tmp_path / "file" / "runs")
    with pytest.raises(RunError, match="file is a file"):
        writable_directory(tmp_path / "file")
    with pytest.raises(RunError, match="is a file"):
        Run.create(tmp_path / "file", environment="e", algorithm="a", seed=0, config={})
    assert writable_directory(tmp_path / "new" / "one") == tmp_path / "new" / "one"
    assert list((tmp_path / "new" / "one").iterdir()) == []


def test_disk_without_space(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
    try:
        with pytest.raises(RunError, match="Cannot write to"):
            writable_directory(tmp_path, trial_bytes=2 << 20)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_log_splits_and_keeps_names(run):
    run.log(0, {"training/loss": jnp.float32(0.1), "evaluation/success": 0.5, "evaluation/episode.return": -3})
    run.log(10, {"training/loss": np.float64(0.1), "time": True})
    assert (run.path / "eval.csv").read_text() == "step,evaluation/success,evaluation/episode.return\n0,0.5,-3\n"
    assert (run.path / "train.csv").read_text() == "step,training/loss,time\n0,0.1,\n10,0.1,1\n"
    assert run.read("eval")["evaluation/episode.return"].tolist() == [-3.0]


def test_late_column_and_blanks(run):
    run.log(1, {"training/a": 1.0})
    run.log(2, {"training/b": 2.0})
    run.log(3, {"training/b": 3.0, "training/a": 4.0})
    table = Run.open(run.path).read("train")
    assert table["step"].tolist() == [1, 2, 3]
    assert table["step"].dtype == np.int64
    np.testing.assert_array_equal(table["training/a"], [1, np.nan, 4])
    np.testing.assert_array_equal(table["training/b"], [np.nan, 2, 3])


def test_numbers_read_back_the_same(run):
    values = [math.pi, 1e-300, -0.0, math.inf, -math.inf, math.nan, np.float32(1) / 3, jnp.bfloat16(1.7), 2**53]
    for step, value in enumerate(values):
        run.log(step, {"training/x": value})
    read = run.read("train")["training/x"]
    np.testing.assert_array_equal(read[:6], values[:6])
    assert np.float32(read[6]) == np.float32(1) / 3
    assert read[7] == float(jnp.bfloat16(1.7))
    assert read[8] == 2**53
    assert (run.path / "train.csv").read_text().splitlines()[4:7] == ["3,inf", "4,-inf", "5,nan"]


@pytest.mark.parametrize("value", [np.zeros(3), "text", None, jnp.zeros((1,))])
def test_metric_must_be_a_number(run, value):
    with pytest.raises(RunError, match="training/x"):
        run.log(0, {"training/x": value})
    assert run.read("train")["step"].size == 0


def test_unfinished_row_of_a_killed_process(run):
    run.log(1, {"training/a": 1.25})
    run.log(2, {"training/a": 2.25})
    path = run.path / "train.csv"
    os.truncate(path, path.stat().st_size - 2)  # "2,2.2": a number, but not the one that was logged
    assert run.read("train")["training/a"].tolist() == [1.25]
    resumed = Run.open(run.path)
    resumed.log(3, {"training/a": 3.25})
    assert path.read_text() == "step,training/a\n1,1.25\n3,3.25\n"


def test_rewind(run):
    for step in (1, 2, 3):
        run.log(step, {"training/a": step, "evaluation/success": step})
    run.rewind(2)
    assert run.read("train")["step"].tolist() == run.read("eval")["step"].tolist() == [1, 2]
    run.log(3, {"training/a": 30})
    assert run.read("train")["training/a"].tolist() == [1, 2, 30]


def test_damaged_log_and_lost_directory(run):
    run.log(1, {"training/a": 1})
    (run.path / "train.csv").write_text("step,training/a\n1,what\n")
    with pytest.raises(RunError, match=r"train\.csv cannot be read.*what"):
        run.read("train")
    run.path.rename(run.path.with_name("moved"))
    with pytest.raises(RunError, match=r"Cannot write.*train\.csv"):
        run.log(2, {"training/a": 1})


@pytest.mark.parametrize("step", [-1, 1.5, True, "1", None])
def test_a_step_is_a_whole_number(step, tmp_path):
    with pytest.raises(RunError, match="A step must be a whole number from 0 up, got"):
        checked_step(step)


def test_numpys_whole_numbers_are_steps(tmp_path):
    made = Run.create(tmp_path, environment="e", algorithm="a", seed=0, config={})
    made.save(np.int64(3), {"x": np.ones(2)})
    made.log(np.int64(3), {"training/loss": 1.0})
    assert made.checkpoints.steps() == [3]
    assert made.restore({"x": np.zeros(2)})[2] == 3

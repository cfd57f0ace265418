"""Runs trained together: they go on from one step, and one that stops does not hold the others."""

import concurrent.futures
import json
import shutil
import subprocess
import sys
import warnings

import jax.numpy as jnp
import numpy as np
import pytest

from deflow.errors import CheckpointError, RunError, RunWarning
from deflow.runs import Run, RunGroup, Stopped

LIKE = {"x": jnp.zeros(3)}


@pytest.fixture(autouse=True)
def no_other_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def create(output_dir, seeds=(4, 2), **more):
    return RunGroup.create(output_dir, environment="e", algorithm="a", seeds=seeds, config={"b": 1}, **more)


@pytest.fixture
def group(tmp_path):
    return create(tmp_path)


def states(group, step):
    return [{"x": jnp.full(3, 1000.0 * step + run.seed)} for run in group.runs]


def save(group, *steps):
    for step in steps:
        group.save(step, states(group, step), [{"step": step, "seed": run.seed} for run in group.runs])
    group.wait()


def damage(run, step):
    (run.path / "checkpoints" / str(step) / "manifest.json").unlink()


def reopen(group):
    return RunGroup.open(group.runs[-1].path)


def values(restored):
    return [float(state["x"][0]) for state in restored[0]]


# --- directories


def test_create_and_open_by_any(group):
    names = [run.path.name for run in group.runs]
    assert [name.partition("-")[0] for name in names] == ["seed4", "seed2"]
    assert len({name.partition("-")[2] for name in names}) == 1
    for run in group.runs:
        assert json.loads((run.path / "config.json").read_text())["together"] == names
        opened = RunGroup.open(run.path)
        assert [(other.path, other.seed) for other in opened.runs] == [(run.path, run.seed) for run in group.runs]
        assert Run.open(run.path).config == {"b": 1}


def test_a_run_alone(tmp_path):
    run = Run.create(tmp_path, environment="e", algorithm="a", seed=0, config={})
    assert json.loads((run.path / "config.json").read_text())["together"] == [run.path.name]
    moved = run.path.rename(tmp_path / "elsewhere")
    assert [run.path for run in RunGroup.open(moved).runs] == [moved]
    config = json.loads((moved / "config.json").read_text())
    del config["together"]  # as it was written before
    (moved / "config.json").write_text(json.dumps(config))
    assert [run.path for run in RunGroup.open(moved).runs] == [moved]


def test_a_sibling_is_missing(group):
    lost = group.runs[0].path
    shutil.rmtree(lost)
    with pytest.raises(RunError, match=rf"together with {lost}, which is missing"):
        reopen(group)


@pytest.mark.parametrize("seeds", [(), (1, 1)])
def test_seeds_must_differ(tmp_path, seeds):
    with pytest.raises(RunError, match="different seeds"):
        create(tmp_path, seeds)


def test_groups_started_at_once_are_apart(tmp_path):
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        groups = list(pool.map(lambda number: create(tmp_path, (number % 3, 3)), range(8)))
    paths = [run.path for group in groups for run in group.runs]
    assert len(set(paths)) == 16
    for group in groups:
        assert [run.path for run in reopen(group).runs] == [run.path for run in group.runs]
        assert len({run.path.name.partition("-")[2] for run in group.runs}) == 1


def test_one_process_at_a_time(group):
    with group:
        other = reopen(group)
        with pytest.raises(RunError, match=r"is being trained by another process; wait until it ends"):
            other.lock()
        group.lock()  # once more is no harm
    with other:
        pass
    code = "import sys; from deflow.runs import RunGroup; group = RunGroup.open(sys.argv[1]); group.lock(); "
    command = [sys.executable, "-c", code + "print(1, flush=True); input()", str(group.runs[0].path)]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout.readline()
    with pytest.raises(RunError, match="another process"):
        group.lock()
    child.kill()
    child.communicate()
    with group:
        pass
    shutil.rmtree(group.runs[0].path)
    with pytest.raises(RunError, match="Cannot lock"):
        group.lock()


# --- going on


def test_the_newest_step_of_all(group):
    assert group.restore(LIKE) is None
    save(group, 10, 20)
    group.runs[0].save(30, states(group, 30)[0])  # killed between the two
    restored = reopen(group).restore(LIKE)
    assert values(restored) == [20004, 20002]
    assert restored[1:] == ([{"step": 20, "seed": 4}, {"step": 20, "seed": 2}], 20)


def test_killed_within_the_first_save(group):
    group.runs[0].save(10, states(group, 10)[0])
    assert reopen(group).restore(LIKE) is None


def test_damaged_ones_are_said(group):
    save(group, 10, 20, 30)
    damage(group.runs[1], 30)
    damage(group.runs[0], 20)
    with pytest.warns(RunWarning, match=r"is damaged \(manifest\.json is missing\); using step 10 instead") as caught:
        assert reopen(group).restore(LIKE)[2] == 10
    assert len(caught) == 2
    assert caught[0].filename == __file__
    damage(group.runs[0], 10)
    path = group.runs[0].path / "checkpoints"
    with pytest.raises(
        CheckpointError,
        match=rf"no step with an intact checkpoint in all runs.*{path}/20: manifest.*{path}/10: manifest",
    ):
        reopen(group).restore(LIKE)


def test_lost_checkpoints_are_no_beginning(group):
    save(group, 10, 20)
    shutil.rmtree(group.runs[1].path / "checkpoints")
    with pytest.raises(CheckpointError, match=r"step 20 is not in .*checkpoints; step 10 is not in"):
        reopen(group).restore(LIKE)


def test_shapes_that_depend_on_the_notes(group):
    for step in (1, 2):
        group.save(step, [{"x": np.zeros(step)}] * 2, [{"rows": step}] * 2)
    group.wait()
    damage(group.runs[0], 2)
    with pytest.warns(RunWarning, match="using step 1"):
        restored, _, _ = group.restore(lambda notes: {"x": np.zeros(notes["rows"])})
    assert [state["x"].shape for state in restored] == [(1,), (1,)]


def test_another_state(group):
    save(group, 1)
    with pytest.raises(CheckpointError, match=r"\['x'\]: \(3,\) float32 in the checkpoint, \(4,\) float32 here"):
        group.restore({"x": jnp.zeros(4)})


# --- stopping


def test_a_run_that_stopped(group):
    save(group, 10, 20)
    group.stop(0, 25, "its loss is not finite")
    record = Stopped(25, "its loss is not finite", 20)
    assert group.stopped == {0: record}
    save(group, 30, 40, 50)
    group.log(50, [{"a": np.nan}, {"a": 1.0}])
    assert [run.checkpoints.steps() for run in group.runs] == [[10, 20], [30, 40, 50]]
    assert not (group.runs[0].path / "train.csv").exists()
    assert group.failures == ["Seed 4 stopped at step 25: its loss is not finite."]
    resumed = reopen(group)
    assert resumed.stopped == {0: record}
    restored = resumed.restore(LIKE)
    assert (values(restored), restored[2]) == ([20004, 50002], 50)
    assert resumed.stopped == {0: record}
    damage(group.runs[0], 20)
    with pytest.warns(RunWarning, match="20 is damaged"):
        assert values(resumed.restore(LIKE)) == [10004, 50002]
    damage(group.runs[0], 10)
    with pytest.warns(RunWarning, match="is damaged"):
        assert values(resumed.restore(LIKE)) == [50002, 50002]  # any arrays of the right shapes


def test_resumed_before_the_stop_it_has_not_stopped(group):
    save(group, 10, 20)
    group.stop(0, 25, "x")
    save(group, 30)
    damage(group.runs[1], 30)
    resumed = reopen(group)
    with pytest.warns(RunWarning, match="30 is damaged"):
        restored = resumed.restore(LIKE)
    assert (values(restored), restored[2], resumed.stopped) == ([20004, 20002], 20, {})
    assert reopen(group).stopped == {}


def test_stopped_at_a_step_that_is_saved(group):
    save(group, 10)
    group.stop(1, 20, "x")
    save(group, 20)
    resumed = reopen(group)
    assert resumed.restore(LIKE)[2] == 20
    assert set(resumed.stopped) == {1}


def test_all_stopped(group):
    save(group, 10)
    group.stop(0, 20, "x")
    save(group, 20)
    group.stop(1, 30, "y")
    save(group, 30)
    resumed = reopen(group)
    restored = resumed.restore(LIKE)
    assert (values(restored), restored[2]) == ([10004, 20002], 20)
    assert set(resumed.stopped) == {0}  # the other goes on to its stop once more


def test_stopped_before_any_checkpoint(group):
    group.stop(0, 5, "x")
    assert Stopped.read(group.runs[0].path) == Stopped(5, "x", None)
    assert reopen(group).restore(LIKE) is None
    save(group, 10)
    assert values(reopen(group).restore(LIKE)) == [10002, 10002]
    shutil.rmtree(group.runs[1].path / "checkpoints")
    begun = reopen(group)
    assert begun.restore(LIKE) is None
    assert begun.stopped == {}


def test_a_damaged_record(group):
    (group.runs[0].path / "stopped.json").write_text("{}")
    with pytest.raises(RunError, match=r"stopped\.json cannot be read"):
        reopen(group)


def test_a_stop_that_cannot_be_written(group):
    path = group.runs[0].path
    path.rename(path.with_name("away"))
    with pytest.warns(RunWarning, match=r"stopped\.json.*training continues and tries again"):
        group.stop(0, 5, "x")
    path.with_name("away").rename(path)
    save(group, 10)
    assert set(reopen(group).stopped) == {0}


# --- logs


def test_rows(group):
    group.log(1, [{"training/a": 1.0, "evaluation/success": 0.5}, {"training/a": 2.0}])
    group.log(2, [{"training/a": 3.0}, {"training/a": 4.0}])
    group.rewind(1)
    assert [run.read("train")["training/a"].tolist() for run in group.runs] == [[1.0], [2.0]]
    assert group.runs[0].read("eval")["evaluation/success"].tolist() == [0.5]
    with pytest.raises(RunError, match="must be a single number"):
        group.log(3, [{"training/a": np.zeros(2)}, {}])


def test_rows_wait_where_they_cannot_be_written(group):
    train = group.runs[0].path / "train.csv"
    group.log(1, [{"a": 1.0}, {"a": 1.0}])
    away = train.rename(train.with_name("away"))
    train.mkdir()  # what cannot be written
    for step in (2, 3):
        with pytest.warns(RunWarning, match=rf"Cannot write {train}: Is a directory.*training continues") as caught:
            group.log(step, [{"a": float(step), "evaluation/b": step}, {"a": float(step)}])
        assert len(caught) == 1
    train.rmdir()
    away.rename(train)
    group.log(4, [{"a": 4.0}, {"a": 4.0}])
    assert train.read_text() == "step,a\n1,1.0\n2,2.0\n3,3.0\n4,4.0\n"
    assert (train.with_name("eval.csv")).read_text() == "step,evaluation/b\n2,2\n3,3\n"
    assert (group.runs[1].path / "train.csv").read_text() == train.read_text()
    group.close()
    assert group.failures == []


def test_rows_that_are_lost(group):
    path = group.runs[0].path
    shutil.rmtree(path)
    with pytest.warns(RunWarning, match="1 rows wait in memory"):
        group.log(1, [{"a": 1.0}, {"a": 1.0}])
    with pytest.warns(RunWarning, match=f"1 rows of {path} are lost: Cannot write"):
        group.close()
    assert len(group.failures) == 1
    assert not path.exists()
    assert group.runs[1].read("train")["a"].tolist() == [1.0]
    group.close()
    assert len(group.failures) == 1


def test_a_log_that_is_no_longer_text(group):
    (group.runs[0].path / "train.csv").write_bytes(b"step,\xff\n")
    with pytest.warns(RunWarning, match="training continues"):
        group.log(1, [{"a": 1.0}, {"a": 1.0}])


# --- the best


def test_the_best_of_each(group):
    for step, scores in ((1, (0.5, 0.1)), (2, (0.2, 0.3))):
        group.save_best(step, scores, states(group, step), [{}, {}])
    group.stop(0, 2, "x")
    group.save_best(3, (1.0, 1.0), states(group, 3), [{}, {}])
    group.close()
    assert [run.best.restore(LIKE)[1:] for run in group.runs] == [({"score": 0.5}, 1), ({"score": 1.0}, 3)]
    resumed = reopen(group)
    resumed.save_best(4, (0.5, 1.0), states(group, 4), [{}, {}])
    resumed.close()
    assert [run.best.steps() for run in group.runs] == [[1], [3]]

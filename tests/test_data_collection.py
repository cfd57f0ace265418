"""Collections: one result whatever the number of workers and the interruptions, in a form OGBench itself reads."""

import concurrent.futures
import contextlib
import dataclasses
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import ogbench
import pytest

from deflow.data import Collected, collect, is_at_hand, load_task, task_successes
from deflow.data.collection_plan import collection_folder, make_plan
from deflow.errors import CollectionError, DataError, DatasetFileError, FolderError

REPOSITORY = pathlib.Path(__file__).parent.parent
CUBE = "cube-single-play-singletask-task2-v0"
MAZE = "pointmaze-medium-navigate-singletask-task1-v0"
SMALL = Collected(rows=150, seed=3, validation_rows=50, episode_steps=50)

pytestmark = pytest.mark.filterwarnings("ignore::deflow.errors.DataWarning")


class Inline(concurrent.futures.Executor):
    """Runs jobs at once in this process: tests that are not about processes need not wait for any to start."""

    def submit(self, fn, /, *arguments, **keywords):
        job = concurrent.futures.Future()
        job.set_result(fn(*arguments, **keywords))
        return job


def collect_inline(name, settings, folder):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("deflow.data.collection.WorkerPool", lambda workers, variables: contextlib.nullcontext(Inline()))
        return collect(name, settings, data_dir=folder, progress=False)


@pytest.fixture(scope="module")
def collected(tmp_path_factory):
    """A data directory with small sets of the cube and the maze."""
    folder = tmp_path_factory.mktemp("data")
    return folder, {name: collect_inline(name, SMALL, folder) for name in (CUBE, MAZE)}


@pytest.mark.parametrize(("name", "workers"), [(CUBE, 2), (MAZE, 1)])
def test_the_bytes_do_not_depend_on_the_processes(collected, name, workers, tmp_path):
    _, provenances = collected
    other = collect(name, SMALL, data_dir=tmp_path, workers=workers, progress=False)
    assert other.sha256 == provenances[name].sha256
    assert other.validation_sha256 == provenances[name].validation_sha256


def test_a_collection_is_at_hand_once_it_is_complete(collected):
    folder, _ = collected
    assert is_at_hand(CUBE, SMALL, data_dir=folder)
    assert not is_at_hand(CUBE, dataclasses.replace(SMALL, seed=4), data_dir=folder)


def test_a_smaller_set_is_the_beginning_of_a_larger_one(collected, tmp_path):
    _, provenances = collected
    smaller = collect_inline(MAZE, Collected(100, 3, 50, 50), tmp_path)
    with np.load(smaller.path) as few, np.load(provenances[MAZE].path) as many:
        np.testing.assert_array_equal(few["observations"], many["observations"][:102])
        assert not np.array_equal(many["observations"][:51], many["observations"][51:102])


def test_another_seed_gives_another_set(collected, tmp_path):
    _, provenances = collected
    other = collect_inline(MAZE, Collected(150, 4, 50, 50), tmp_path)
    assert other.sha256 != provenances[MAZE].sha256


@pytest.mark.parametrize("name", [CUBE, MAZE])
def test_ogbench_loads_what_is_written_and_sees_what_we_see(collected, name):
    folder, provenances = collected
    _, train, validation = ogbench.make_env_and_datasets(name, dataset_path=provenances[name].path)
    task = load_task(name, SMALL, data_dir=folder)
    for batch, theirs, rows in ((task.train, train, 150), (task.validation, validation, 50)):
        assert batch is not None
        assert len(batch) == rows
        np.testing.assert_array_equal(batch.observation, theirs["observations"])
        np.testing.assert_array_equal(batch.next_observation, theirs["next_observations"])
        np.testing.assert_array_equal(batch.action, np.clip(theirs["actions"], -1 + 1e-5, 1 - 1e-5))
        np.testing.assert_array_equal(batch.reward, theirs["rewards"])
        np.testing.assert_array_equal(batch.mask, theirs["masks"])
        np.testing.assert_array_equal(batch.extras["trajectory_end"], theirs["terminals"])


def test_provenance_says_where_it_came_from_and_moves_with_the_folder(collected, tmp_path):
    folder, provenances = collected
    shutil.copytree(folder, tmp_path / "moved")
    moved = collect(CUBE, SMALL, data_dir=tmp_path / "moved", progress=False)  # complete: nothing is played
    assert moved.path == str(tmp_path / "moved/collected/cube-single-play-v0-150-seed3/cube-single-play-v0.npz")
    assert (moved.source, moved.dataset, moved.rows, moved.seed) == ("collected", "cube-single-play-v0", 150, 3)
    assert moved.sha256 == provenances[CUBE].sha256
    assert moved.ogbench == "1.2.2"
    assert moved.mujoco.startswith("3.")
    assert not (folder / "official").exists()


def test_successes_are_counted_for_every_task(collected):
    _, provenances = collected
    counts = task_successes(CUBE, pathlib.Path(provenances[CUBE].path))
    assert list(counts) == ["task1", "task2", "task3", "task4", "task5"]
    _, train, _ = ogbench.make_env_and_datasets(CUBE, dataset_path=provenances[CUBE].path)
    assert counts["task2"] == int(np.sum(train["masks"] == 0))


def test_kept_episodes_are_used_and_damaged_ones_replaced(collected, tmp_path, monkeypatch):
    _, provenances = collected
    plan = make_plan(MAZE, SMALL, tmp_path)
    monkeypatch.setattr("deflow.data.collection._assemble", lambda plan: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        collect_inline(MAZE, SMALL, tmp_path)
    monkeypatch.undo()
    kept = {path: path.stat().st_mtime_ns for path in sorted((plan.folder / "episodes").iterdir())}
    assert len(kept) == 4
    damaged, *rest = kept
    damaged.write_bytes(damaged.read_bytes()[:-100])
    monkeypatch.setattr("deflow.data.collection.shutil.rmtree", lambda path: None)
    assert collect_inline(MAZE, SMALL, tmp_path).sha256 == provenances[MAZE].sha256
    assert [path.stat().st_mtime_ns for path in rest] == [kept[path] for path in rest]


def run_recipe(*arguments, home=None, **options):
    command = [sys.executable, str(REPOSITORY / "recipes/collect.py"), *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), **({} if home is None else {"HOME": str(home)})}
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )


def wait_for_episodes(folder, count):
    deadline = time.monotonic() + 120
    while sum(1 for _ in folder.glob("episodes/*.npz")) < count:
        assert time.monotonic() < deadline, "no episode was finished"
        time.sleep(0.01)


def children(process):
    return [int(pid) for pid in pathlib.Path(f"/proc/{process}/task/{process}/children").read_text().split()]


@pytest.mark.skipif(not pathlib.Path("/proc/self/task").exists(), reason="reads the process table")
def test_a_killed_collection_leaves_no_workers_and_continues_to_the_same_bytes(tmp_path):
    settings = Collected(rows=8_000, seed=1, validation_rows=1000)
    arguments = ("--env", MAZE, "--rows", 8_000, "--seed", 1, "--validation-rows", 1000, "--workers", 2)
    folder = collection_folder("pointmaze-medium-navigate-v0", settings, tmp_path / "killed")
    process = run_recipe(*arguments, "--data-dir", tmp_path / "killed")
    wait_for_episodes(folder, 2)
    workers = children(process.pid)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    deadline = time.monotonic() + 20
    while any(pathlib.Path(f"/proc/{pid}/cmdline").exists() and _alive(pid) for pid in workers):
        assert time.monotonic() < deadline, "a worker outlived its parent"
        time.sleep(0.1)
    kept = sum(1 for _ in folder.glob("episodes/*.npz"))
    assert 2 <= kept < 9
    assert not (folder / "provenance.json").exists()

    whole = collect_inline(MAZE, settings, tmp_path / "whole")
    again = collect(MAZE, settings, data_dir=tmp_path / "killed", workers=2, progress=False)
    assert again.sha256 == whole.sha256
    assert again.validation_sha256 == whole.validation_sha256


def _alive(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_ctrl_c_says_how_to_continue(tmp_path):
    folder = collection_folder("pointmaze-medium-navigate-v0", Collected(rows=500_000), tmp_path)
    process = run_recipe("--env", MAZE, "--rows", 500_000, "--data-dir", tmp_path, start_new_session=True)
    wait_for_episodes(folder, 1)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the workers too
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert err.strip().splitlines()[-1].endswith("the same command continues from there.")
    assert str(folder) in err


def dies(*arguments):
    os._exit(9)


def test_a_dead_worker_is_reported(tmp_path, monkeypatch):
    monkeypatch.setattr("deflow.data.collection_plan.collect_episode", dies)
    with pytest.raises(CollectionError, match="fewer workers continues"):
        collect(MAZE, SMALL, data_dir=tmp_path, workers=1, progress=False)


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("antmaze-large-navigate-singletask-v0", {}, "no oracle for it"),
        ("cube-single-noisy-singletask-v0", {}, "no oracle for it"),
        ("pointmaze-medium-stitch-singletask-v0", {}, "no oracle for it"),
        ("visual-antmaze-large-navigate-singletask-v0", {}, "no oracle for it"),
        ("Pendulum-v1", {}, "not an OGBench task"),
        ("cube-singel-play-singletask-v0", {}, "did you mean 'cube-single-play-singletask-v0'"),
        (MAZE, {"rows": 0}, "rows must be at least 1, got 0"),
        (MAZE, {"validation_rows": -1}, "validation-rows must be at least 1, got -1"),
        (MAZE, {"seed": -1}, "seed must be 0 or more, got -1"),
    ],
)
def test_what_cannot_be_collected_is_refused_before_any_work(name, settings, words, tmp_path):
    with pytest.raises(DataError, match=words) as caught:
        collect(name, Collected(**settings), data_dir=tmp_path / "data")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "data").exists()


def test_workers_are_counted_from_one(tmp_path):
    with pytest.raises(CollectionError, match="workers must be at least 1, got 0"):
        collect(MAZE, SMALL, data_dir=tmp_path, workers=0)


def test_a_folder_below_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(FolderError, match="choose another data directory"):
        collect(MAZE, SMALL, data_dir=tmp_path / "file/data")


def test_a_full_disk_is_noticed_before_any_work(tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: shutil._ntuple_diskusage(100, 100, 1000))
    with pytest.raises(FolderError, match="are needed: free some space"):
        collect(MAZE, SMALL, data_dir=tmp_path, progress=False)


def test_episodes_of_another_version_are_not_continued(tmp_path, monkeypatch):
    plan = make_plan(MAZE, SMALL, tmp_path)
    plan.folder.mkdir(parents=True)
    monkeypatch.setattr("deflow.data.collection_plan.versions", lambda: {"mujoco": "2.0", "ogbench": "1.2.2"})
    fingerprint = plan.fingerprint()
    monkeypatch.undo()
    (plan.folder / "plan.json").write_text(json.dumps(fingerprint))
    with pytest.raises(CollectionError, match="with other mujoco and numpy: delete that"):
        collect(MAZE, SMALL, data_dir=tmp_path, progress=False)


@pytest.mark.parametrize("damage", ["missing", "changed", "provenance"])
def test_a_damaged_set_is_not_loaded(collected, damage, tmp_path):
    folder, _ = collected
    shutil.copytree(folder, tmp_path / "data")
    copy = collection_folder("pointmaze-medium-navigate-v0", SMALL, tmp_path / "data")
    if damage == "missing":
        (copy / "pointmaze-medium-navigate-v0-val.npz").unlink()
    elif damage == "changed":
        path = copy / "pointmaze-medium-navigate-v0.npz"
        path.write_bytes(path.read_bytes()[:-1] + b"x")
    else:
        (copy / "provenance.json").write_text('{"source": 3}')
    with pytest.raises(DatasetFileError, match="collect again"):
        load_task(MAZE, SMALL, data_dir=tmp_path / "data")


def test_the_recipe_answers_a_mistake_in_one_sentence():
    process = run_recipe("--data-dir", "/dev/null/data")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "choose another data directory" in err
    assert len(err.strip().splitlines()) == 1
    assert out == ""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--env", "cube-single-play-singletask-task22-v0"], "did you mean 'cube-single-play-singletask-task2-v0'"),
        (["--rosw", "5"], "There is no flag --rosw. Did you mean --rows?"),
        (["--rows=-5"], "rows must be at least 1, got -5"),
    ],
)
def test_mistaken_arguments_are_answered_with_the_nearest(arguments, words, tmp_path):
    process = run_recipe(*arguments, home=tmp_path)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert words in err
    assert not list(tmp_path.iterdir())


def test_the_recipe_lists_all_names():
    out, _ = run_recipe("--list").communicate(timeout=60)
    assert CUBE in out.splitlines()


def test_a_complete_set_of_other_episodes_is_not_passed_off(collected):
    folder, _ = collected
    with pytest.raises(CollectionError, match="with other steps: delete that folder"):
        collect(MAZE, Collected(150, 3), data_dir=folder, progress=False)


def test_the_recipe_ends_with_files_successes_and_the_next_command(tmp_path):
    process = run_recipe("--env", MAZE, "--rows", 2000, "--workers", 1, "--data-dir", tmp_path)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    folder = tmp_path / "collected/pointmaze-medium-navigate-v0-2000-seed0"
    assert f"2,000 transitions in {folder}" in out
    counts = task_successes(MAZE, folder / "pointmaze-medium-navigate-v0.npz")
    assert [line.split()[:2] for line in out.splitlines()[1:6]] == [[f"{k}:", str(n)] for k, n in counts.items()]
    assert out.splitlines()[-1] == (
        f"Next: python recipes/offline.py --budget quickstart --env {MAZE} --rows 2000 --data-dir {tmp_path}"
    )

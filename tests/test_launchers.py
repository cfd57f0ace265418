"""Sweeps carried out for real: by processes of this machine, by Ray, by submitit."""

import dataclasses
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time

import filelock
import numpy as np
import psutil
import pytest
from in_process import ROOT, recipe

import deflow
from deflow import launchers, report
from deflow.cli.behaviours import behaviours_of
from deflow.errors import SweepError
from deflow.launchers import Job, Local, Record, Sweep, carry_out

TASK = "cube-single-play-singletask-task2-v0"
SMALL = [
    *("--data", "collected", "--rows", "1000", "--eval-every", "1000000", "--log-every", "10", "--episodes", "1"),
    *("--batch-size", "8", "--workers", "1", "--field.width", "8", "--field.depth", "1"),
]
CRITIC = ["--refiner.width", "8", "--refiner.depth", "1", "--critic.width", "8", "--critic.depth", "1"]


def job(data_dir, name="a", *more, steps=30, algorithm="flow-bc"):
    words = (algorithm, *SMALL, "--data-dir", str(data_dir), "--steps", str(steps), *more)
    return Job(name, "offline", words)


@pytest.fixture(scope="module")
def data(data_dir):
    """Whoever comes first collects the set, before anything is timed or killed."""
    deflow.load_task(TASK, deflow.Collected(rows=1_000), data_dir=data_dir)
    return data_dir


def made(folder, *jobs):
    sweep = Sweep.open(folder)
    sweep.write(jobs)
    return sweep


def losses(sweep, name):
    (path,) = sweep.runs(name)
    rows = deflow.Run.open(path).read("train")
    return {column: values for column, values in rows.items() if not column.startswith("time/")}


def wait_for(condition, *, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


# --- the local launcher


@pytest.fixture(scope="module")
def grid(data, tmp_path_factory):
    """Two algorithms from one flow, carried out by the recipe."""
    folder = tmp_path_factory.mktemp("sweep") / "s"
    command = [
        *("--over", "algorithm=deflow,fql", "--seeds", "0", "--output-dir", folder, "--"),
        *(*SMALL, *CRITIC, "--data-dir", data, "--steps", 20, "--proposals", 2, "--field-steps", 20),
    ]
    return folder, command, recipe("sweep", *command)


def test_a_grid_is_carried_out_from_one_flow(grid):
    folder, _, outcome = grid
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    assert "1 flow learned first, and shared" in outcome.stdout
    assert "3 of 3 runs finished." in outcome.stdout
    sweep = Sweep.open(folder)
    assert [sweep.record(job).state for job in sweep.jobs] == ["finished"] * 3
    assert all(sweep.record(job).seconds > 1 and sweep.record(job).peak > 1e8 for job in sweep.jobs)
    (flow,) = sweep.runs(sweep.jobs[0])
    for job in sweep.jobs[1:]:
        (run,) = map(deflow.Run.open, sweep.runs(job))
        assert run.config["behaviour"] == {"runs": [str(flow)], "own": False, "steps": [20]}
        assert run.checkpoints.steps()[-1] == 20
    assert len(report.read_runs(report.find_runs([folder]))) == 3


def test_the_same_command_again_does_nothing(grid):
    folder, command, _ = grid
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("job.json")}
    outcome = recipe("sweep", *command)
    assert outcome.returncode == 0, outcome.stderr
    assert "3 runs (3 finished)" in outcome.stdout
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("job.json")} == before


def test_a_sweep_that_moved_finds_the_flow_of_its_runs(grid, tmp_path):
    moved = shutil.copytree(grid[0], tmp_path / "elsewhere")
    away = grid[0].rename(grid[0].with_name("away"))
    try:
        run = deflow.Run.open(Sweep.open(moved).runs("fql,seed=0")[0])
        (flow,) = behaviours_of(run).runs
        assert flow.path.is_relative_to(moved)
    finally:
        away.rename(grid[0])


def test_one_that_fails_is_said_and_stops_no_other(grid, tmp_path):
    sweep, missing = Sweep.open(grid[0]), tmp_path / "none.npz"
    sweep.place("file").write_text("")  # where its folder should be
    data = ("--env", "none", "--data", str(missing))
    bad = Job("bad", "offline", ("flow-bc", *data))
    after = Job("after", "offline", ("fql", *data, "--behaviour", "{bad}"))
    sweep.write([bad, after, Job("file", "offline", ()), *sweep.jobs], sweep.command)
    outcome = recipe("sweep", "--output-dir", sweep.folder)
    assert outcome.returncode == 1
    assert re.search(rf"bad: failed: .*{missing}", outcome.stdout)
    assert re.search("file: failed: .*File exists", outcome.stdout)
    assert "3 of 6 runs finished." in outcome.stdout
    assert "Not begun: after" in outcome.stdout
    assert carry_out(sweep.folder, sweep.jobs[0]).tries == 2  # what failed is tried again


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    """A run that was never disturbed."""
    sweep = made(tmp_path_factory.mktemp("whole") / "s", job(data, "a", "--save-every", "100", steps=1500))
    assert carry_out(sweep.folder, sweep.jobs[0]).state == "finished"
    return sweep


def test_a_killed_process_goes_on_and_ends_like_one_that_was_not(whole, tmp_path):
    cut = made(tmp_path / "cut", *whole.jobs)

    def kill():
        wait_for(lambda: (runs := cut.runs("a")) and deflow.Run.open(runs[0]).checkpoints.steps())
        cut.record("a").alive().kill()

    killer = threading.Thread(target=kill)
    killer.start()
    ((_, record),) = Local().launch(cut, cut.jobs, threading.Event())
    killer.join()
    assert record.state == "finished"
    assert record.tries == 2
    np.testing.assert_equal(losses(cut, "a"), losses(whole, "a"))
    assert "$ deflow resume" in (cut.place("a") / "log.txt").read_text()


def test_a_run_outlives_its_sweep_is_found_again_and_hears_ctrl_c(data, tmp_path):
    sweep = made(tmp_path / "s", job(data, "a", steps=100_000), job(data, "b", "--seeds", "1"))
    command = [sys.executable, "recipes/sweep.py", "--output-dir", sweep.folder, "--launch", "at-once=1"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    wait_for(lambda: sweep.record("a").alive())
    process.kill()
    process.communicate()
    outlived = sweep.record("a").alive()
    wait_for(lambda: (runs := sweep.runs("a")) and len(deflow.Run.open(runs[0]).read("train")["step"]))
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    wait_for(lambda: locked(sweep.place("a") / ".job.lock"))
    assert outlived.is_running()
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate()
    assert process.returncode == 130, said
    assert not outlived.is_running() or outlived.status() == psutil.STATUS_ZOMBIE  # which nobody has waited for
    assert "Traceback" not in said
    assert "Not begun: b" in said
    assert f"sweep.py --launch at-once=1 --output-dir {sweep.folder}" in said
    assert (sweep.record("a").state, sweep.record("a").tries) == ("interrupted", 1)
    assert deflow.Run.open(sweep.runs("a")[0]).checkpoints.steps()


def locked(path):
    try:
        with filelock.FileLock(path).acquire(timeout=0):
            return False
    except filelock.Timeout:
        return True


def test_one_that_was_killed_before_it_computed_anything_begins_anew(data, grid, tmp_path):
    made_before = Sweep.open(grid[0]).runs("deflow,seed=0")[0]
    sweep = made(tmp_path / "s", job(data))
    left = sweep.place("a") / TASK / "deflow" / made_before.name
    left.mkdir(parents=True)
    shutil.copy(made_before / "config.json", left)
    assert carry_out(sweep.folder, sweep.jobs[0]).state == "finished"
    assert not left.exists()
    assert len(sweep.runs("a")) == 1


def test_places_share_the_cores_and_the_devices(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    assert [cores for cores, _ in Local().places(3)] == [[0, 1], [2, 3], [4, 5]]
    assert len(Local().places(100)) == 8
    assert Local(at_once=2).places(100)[1] == (
        [4, 5, 6, 7],
        {"NPROC": "4", "OMP_NUM_THREADS": "4", "OPENBLAS_NUM_THREADS": "4", "MKL_NUM_THREADS": "4"},
    )
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,GPU-5")
    assert [variables["CUDA_VISIBLE_DEVICES"] for _, variables in Local().places(100)] == ["2", "GPU-5"]
    shared = [variables for _, variables in Local(at_once=4).places(100)]
    assert [each["CUDA_VISIBLE_DEVICES"] for each in shared] == ["2", "GPU-5", "2", "GPU-5"]
    assert {each["XLA_PYTHON_CLIENT_MEM_FRACTION"] for each in shared} == {"0.45"}
    with pytest.raises(SweepError, match="at least 0"):
        Local(at_once=-1)


def test_another_job_begins_only_where_it_fits(tmp_path, monkeypatch):
    sweep = made(tmp_path / "s", Job("a", "offline", ()), Job("b", "offline", ()))
    sweep.place("a").mkdir()
    Record("finished", peak=4_000).write(sweep.place("a"))
    free = psutil.virtual_memory()
    for available, fits in ((8_001, True), (7_999, False)):  # one that runs, unseen so far, may take as much
        monkeypatch.setattr(psutil, "virtual_memory", lambda n=available: free._replace(available=n))
        assert Local()._fits(sweep, sweep.jobs, [sweep.jobs[1]]) is fits
    assert Local()._fits(sweep, sweep.jobs, [])  # one always does


def test_the_complete_member_in_the_docstring_of_the_base_runs(whole):
    text = launchers.base.__doc__.partition("A complete member:\n")[2]
    named = {"deflow": deflow, "dataclasses": dataclasses}
    exec(textwrap.dedent(text), named)
    try:
        done = list(launchers.registry["one-by-one"]().launch(whole, whole.jobs, threading.Event()))
        assert [record.state for _, record in done] == ["finished"]
    finally:
        launchers.registry._members.pop("one-by-one")


# --- Ray


def test_a_killed_worker_of_ray_is_begun_again(whole, tmp_path):
    ray = pytest.importorskip("ray")
    sweep, killed = made(tmp_path / "s", *whole.jobs), []

    def kill():
        wait_for(lambda: (runs := sweep.runs("a")) and deflow.Run.open(runs[0]).checkpoints.steps())
        child = sweep.record("a").alive()
        worker = child.parent()
        killed.append(worker.name())
        worker.kill()
        child.kill()

    killer = threading.Thread(target=kill)
    killer.start()
    done = {job.name: record.state for job, record in launchers.Ray().launch(sweep, sweep.jobs, threading.Event())}
    killer.join()
    assert not ray.is_initialized()
    assert done == {"a": "finished"}
    assert "ray" in killed[0]
    assert sweep.record("a").tries == 2
    np.testing.assert_equal(losses(sweep, "a"), losses(whole, "a"))


# --- Slurm


def test_submitits_processes_carry_out_what_waits_for_others(data, tmp_path):
    pytest.importorskip("submitit")
    sweep = made(
        tmp_path / "s",
        job(data, "flow"),
        Job(
            "fql",
            "offline",
            ("fql", *job(data).arguments[1:], *CRITIC[4:], "--behaviour", "{flow}", "--proposals", "2"),
        ),
    )
    slurm = launchers.Slurm(cluster="local", cpus=1)
    done = {job.name: record.state for job, record in slurm.launch(sweep, sweep.jobs, threading.Event())}
    assert done == {"flow": "finished", "fql": "finished"}, (sweep.place("fql") / "log.txt").read_text()


def test_the_queue_is_told_that_a_job_failed(tmp_path):
    sweep = made(tmp_path / "s", Job("a", "offline", ("--no-such-flag",)), Job("b", "offline", ("--behaviour", "{a}")))
    with pytest.raises(SweepError, match="a: failed: There is no flag --no-such-flag"):
        launchers.slurm.Carried(str(sweep.folder), sweep.jobs[0])()
    assert carry_out(sweep.folder, sweep.jobs[1]).said == "b needs the runs of a, which is not finished."


SBATCH = """#!/bin/sh
cp "$1" {folder}/script-$(ls {folder} | wc -l).sh
echo "Submitted batch job 7"
"""


def test_slurms_script_says_what_was_asked_for(tmp_path, monkeypatch):
    """Against programs that stand for Slurm's, which is not here: the script is submitit's own."""
    pytest.importorskip("submitit")
    programs, scripts = tmp_path / "bin", tmp_path / "scripts"
    programs.mkdir()
    scripts.mkdir()
    for name, text in {"sbatch": SBATCH.format(folder=scripts), "srun": "#!/bin/sh\n"}.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    sweep = made(tmp_path / "s", *(Job(name, "offline", ()) for name in "ab"), Job("c", "offline", ("{a}", "{b}")))
    slurm = launchers.Slurm(partition="long", hours=1.5, cpus=8, gpus=2, memory=32.0, at_once=1, options="qos:high")
    stop = threading.Event()
    stop.set()  # nothing is begun any more, since Slurm is not here
    assert list(slurm.launch(sweep, sweep.jobs, stop)) == []
    assert list(scripts.iterdir()) == []
    queued = {}
    assert [job.name for job in slurm._submit(sweep, sweep.jobs, queued)] == ["a", "b"]
    assert [job.name for job in slurm._submit(sweep, sweep.jobs[2:], queued)] == ["c"]
    first, second = [path.read_text() for path in sorted(scripts.iterdir())]
    for option in (
        *("partition=long", "time=90", "cpus-per-task=8", "gpus-per-node=2", "mem=32GB", "array=0-1%1", "qos=high"),
        *("signal=USR2@60", "open-mode=append"),
    ):
        assert f"#SBATCH --{option}\n" in first, first
    assert "#SBATCH --dependency=afterok:7_0:7_1\n" in second
    assert "#SBATCH --kill-on-invalid-dep=yes\n" in second
    assert {sweep.record(name).queue for name in "ab"} == {"7_0", "7_1"}
    assert sweep.record("c").state == "submitted"


def test_a_missing_package_is_named(monkeypatch):
    for name, extra in (("ray", "ray"), ("ray-asha", "ray"), ("slurm", "slurm")):
        cls = launchers.registry[name]
        monkeypatch.setattr(cls, "packages", ("numpy", "no_such_package"))
        with pytest.raises(SweepError, match=rf"needs the package no_such_package: pip install 'deflow\[{extra}\]'"):
            cls().check()

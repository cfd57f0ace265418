"""Watching runs from outside, and the sign of life that a program gives on a terminal."""

import contextlib
import fcntl
import io
import json
import os
import pty
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import termios
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from in_process import recipe
from small import walks

from deflow.errors import RunError, SweepError
from deflow.launchers import Job, Record, Sweep
from deflow.progress import Bar, working
from deflow.runs import Run, RunGroup, look, sparkline
from deflow.session.progress import Progress

ROOT = Path(__file__).parents[1]
OPTIONS = {"recipe": "offline", "options": {"steps": 100}}


def made(path, seeds=(0,), **config):
    return RunGroup.create(path, environment="e", algorithm="a", seeds=seeds, config={**OPTIONS, **config})


def row(group, step):
    group.log(step, [{"training/value": step / 10} for _ in group.runs])
    if step % 50 == 0:
        group.log(step, [{"evaluation/success": step / 200} for _ in group.runs])


def age(run, seconds):
    for path in run.path.glob("*.*"):
        os.utime(path, (time.time() - seconds,) * 2)


def test_what_becomes_of_a_run(tmp_path):
    group = made(tmp_path, (0, 1))
    run = group.runs[1]
    assert (look(run).state, look(run).step, look(run).last) == ("starting", 0, 100)
    age(run, 1000)
    assert look(run).state == "unknown"
    with group:
        for step in range(10, 61, 10):
            row(group, step)
        seen = look(run)
        assert (seen.state, seen.step, seen.row) == ("running", 60, {"training/value": 6.0})
        assert (seen.score, seen.scores) == ("success", ((50, 0.25),))
        assert not seen.over
        assert seen.left is None  # nothing says how fast it is
        group.save(30, [{"x": np.zeros(1)}] * 2, [{}] * 2)
        group.wait()
        newest = (run.path / "train.csv").stat().st_mtime  # saving may have taken a while since
        os.utime(run.checkpoints.directory / "30", (newest - 15,) * 2)
        assert look(run).rate == pytest.approx(2, rel=0.1)
        assert look(run).left == pytest.approx(20, rel=0.1)
    age(run, 400)
    seen = look(run)
    assert (seen.state, seen.over, round(seen.silent)) == ("not running", True, 400)
    with group:
        row(group, 100)
    assert look(run).state == "finished"
    with group:
        group.stop(1, 100, "the critic_loss is nan")
    assert (look(run).state, look(run).note) == ("stopped", "the critic_loss is nan")


def test_looking_does_not_keep_a_training_from_its_run(tmp_path):
    group = made(tmp_path)
    with group:
        pass
    with open(group.runs[0].path / ".lock") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        with pytest.raises(RunError, match="trained by another process"):
            group.lock()
    with group:
        assert look(Run.open(group.runs[0].path)).state == "running"


def test_one_that_waits_for_its_behaviour(tmp_path):
    behaviour = made(tmp_path / "flow")
    group = made(tmp_path / "own", behaviour={"runs": [str(behaviour.runs[0].path)], "own": True})
    with behaviour:
        assert look(group.runs[0]).state == "waiting"
    assert look(group.runs[0]).state == "starting"


def test_the_recipe_shows_all_runs_once_where_nobody_watches(tmp_path):
    group = made(tmp_path, (0, 1))
    with group:
        for step in range(10, 61, 10):
            row(group, step)
        shown = recipe("watch", group.runs[0].path)
        assert shown.returncode == 0, shown.stderr
        for each in group.runs:
            (line,) = [line for line in shown.stdout.splitlines() if f"seed{each.seed}" in line]
            assert line.split()[1:] == ["60/100", "6", "▃", "0.25", "running"]
        assert shown.stdout.splitlines()[0].split() == ["run", "step", "value", "success", "state"]
        assert shown.stdout.splitlines()[1] == f"e/a/*-{group.runs[0].path.name.partition('-')[2]}"
    for each in group.runs:
        age(each, 400)
    shown = recipe("watch", tmp_path, "--once")
    assert "not running, no row for 7 min" in shown.stdout
    assert f"Go on with: python recipes/resume.py {group.runs[0].path}" in shown.stdout
    said = recipe("watch", tmp_path / "nothing").stderr
    assert said.startswith(f"error: Cannot watch {tmp_path / 'nothing'}: There is no such folder")


JOBS = [
    "cube-single-play-singletask-task1-v0,deflow,seeds=0+1",
    *(f"cube-single-play-singletask-task{task}-v0,deflow,seeds=0+1" for task in (2, 3, 4, 5)),
]


def swept(folder):
    """A sweep with lines in five states, of which the first two have runs."""
    sweep = Sweep.open(folder)
    sweep.write([Job(name, "offline", ()) for name in JOBS])
    states = ("interrupted", "stopped early", "failed", "submitted")
    for name, state in zip(JOBS, states, strict=False):
        Record(state, said="memory ran out." if state == "failed" else "").write(sweep.place(name))
    for name in JOBS[:2]:
        options = {"steps": 1_000_000}
        about = {"environment": name.partition(",")[0], "algorithm": "deflow", "seeds": (0, 1)}
        group = RunGroup.create(sweep.place(name), **about, config={"recipe": "offline", "options": options})
        with group:
            row(group, 123_450)
        for each in group.runs:
            age(each, 400)
    return sweep


def test_all_lines_of_a_sweep_are_shown_in_eighty_columns(tmp_path):
    sweep = swept(tmp_path / "sweep")
    command = [sys.executable, "recipes/watch.py", sweep.folder, "--once"]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "COLUMNS": "80"})
    said, again = shown.stdout.split("Go on with: ")
    assert max(map(len, said.splitlines())) <= 80
    assert [line for line in said.splitlines() if line.startswith("cube")] == [
        *JOBS[:2],
        f"{JOBS[2]}: failed: memory ran out.",
        f"{JOBS[3]}: in the queue",
        f"{JOBS[4]}: not begun",
    ]
    assert len(re.findall(r"^  seed\d  123,450/1,000,000  1\.23e\+04  █ 617 ", said, re.MULTILINE)) == 4, said
    assert said.count("stopped early") == 2
    assert again == f"python recipes/sweep.py --output-dir {sweep.folder} (and the launcher that it had)\n"
    alone = recipe("watch", sweep.place(JOBS[0]), "--once").stdout  # only what it was asked about
    assert JOBS[1] not in alone
    assert f"Go on with: python recipes/sweep.py --output-dir {sweep.folder}" in alone


def test_a_sweep_at_work_goes_on_with_its_runs_itself(tmp_path):
    sweep = swept(tmp_path / "runs" / "sweep")
    Record("finished").write(sweep.place(JOBS[1]))  # and continued by hand since
    with sweep:
        for watched in (tmp_path / "runs", sweep.folder):
            said = recipe("watch", watched, "--once").stdout
            assert said.count("the sweep goes on with it") == 2
            (run, _) = sweep.runs(JOBS[1])
            assert re.findall("Go on with: (.*)", said)[0] == f"python recipes/resume.py {run}"
            assert "sweep.py" not in said


def test_a_sweep_that_has_begun_nothing(tmp_path):
    sweep = Sweep.open(tmp_path / "sweep")
    sweep.write([Job("one", "offline", ()), Job("two", "offline", ())])
    sweep.place("two").mkdir()
    (sweep.place("two") / "job.json").write_text("{")
    said = recipe("watch", sweep.folder, "--once").stdout
    assert "one: not begun" in said
    assert "two: failed: " in said
    assert "job.json cannot be read" in said


@pytest.mark.parametrize(
    "content", [{"state": []}, {"state": "unknown"}, {"process": []}, {"process": ["host", "1", 0]}, {"tries": "1"}]
)
def test_a_record_with_something_else_in_it_is_damaged(tmp_path, content):
    path = Record().write(tmp_path) and tmp_path / "job.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **content}))
    with pytest.raises(SweepError, match=rf"job.json cannot be read .*{next(iter(content))} is .*remove it"):
        Record.read(tmp_path)


@pytest.mark.parametrize("process", [(-1, 0.0), (os.getpid(), 10**400)])
def test_a_process_that_cannot_be_is_none(tmp_path, process):
    host = socket.gethostname()
    Record("running", process=(host, *process)).write(tmp_path)
    assert Record.read(tmp_path).alive() is None


@pytest.mark.parametrize("together", [None, 3, [], [None], [3]])
def test_a_run_whose_names_are_damaged(tmp_path, together):
    path = made(tmp_path).runs[0].path
    known = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps({**known, "together": together}))
    with pytest.raises(RunError, match="together is no list of names"):
        Run.open(path)
    (path / "config.json").write_text("[" * 100_000)
    with pytest.raises(RunError, match="nested too deeply"):
        Run.open(path)


def test_a_sweep_is_shown_once_however_it_is_called(tmp_path):
    sweep = swept(tmp_path / "sweep")
    (tmp_path / "link").symlink_to(sweep.folder)
    (sweep.folder / "loop").symlink_to(sweep.folder / "loop")
    shown = recipe("watch", sweep.folder, tmp_path / "link", sweep.folder / ".." / "sweep", "--once").stdout
    assert shown.count(f"{JOBS[4]}: not begun") == 1
    assert shown.count("123,450/1,000,000") == 4
    assert "cannot be read" not in shown
    assert shown.count("Go on with") == 1


def test_what_is_damaged_hides_nothing_else(tmp_path):
    """Runs, records and lists: the rest is shown, and a sentence for each that cannot be."""
    sweeps = [swept(tmp_path / name) for name in ("one", "other")]
    (run, beside), _ = (sweeps[0].runs(name) for name in JOBS[:2])
    (run / "config.json").write_text("{")
    known = json.loads((beside / "config.json").read_text())
    (beside / "config.json").write_text(json.dumps({**known, "config": 3}))
    sweeps[1].list_file.write_text("no line of a sweep")
    (tmp_path / "third").mkdir()
    (tmp_path / "third" / "sweep.txt").write_text("# no lines yet\n")
    shown = recipe("watch", tmp_path, "--once")
    assert shown.returncode == 0, shown.stderr
    said = shown.stdout
    assert said.count("123,450/1,000,000") == 6
    assert f"{run / 'config.json'} is damaged" in said
    assert f"{beside / 'config.json'} is damaged (its config is no table)" in said
    assert f"{sweeps[1].list_file}, line 1: " in said
    assert f"{tmp_path / 'third' / 'sweep.txt'} has no lines." in said
    assert f"{JOBS[2]}: failed: memory ran out." in said


def test_lines_of_two_sweeps_are_told_apart(tmp_path):
    for name in ("one", "other"):
        Record("failed", said="memory ran out.").write(swept(tmp_path / name).place(JOBS[1]))
    said = recipe("watch", tmp_path, "--once").stdout.splitlines()
    for name in ("one", "other"):
        assert f"{name}/{JOBS[0]}" in said
        assert f"{name}/{JOBS[1]}: failed: memory ran out." in said


def test_looking_does_not_keep_a_sweep_from_its_folder(tmp_path):
    with Sweep.open(tmp_path) as sweep:
        assert sweep.at_work
    assert not sweep.at_work
    with open(tmp_path / ".sweep.lock") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        threading.Timer(0.1, file.close).start()
        with sweep:
            assert sweep.at_work


def test_sparklines():
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7]) == "▁▂▃▄▅▆▇█"
    assert sparkline([0.0, float("nan"), 1.0]) == "▁ █"
    assert sparkline([0.5, 0.5], low=0, high=1) == "▅▅"
    assert sparkline([3, 3]) == "▁▁"
    assert sparkline([float("nan")]) == sparkline([]) == ""


# --- on a terminal


def on_a_terminal(*command, until=None, **environment):
    """What a program writes to a terminal, and the longest it was silent; ended by Ctrl-C after it said `until`."""
    ours, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 200, 0, 0))
    process = subprocess.Popen(
        list(map(str, command)),
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
    )
    os.close(terminal)
    said, silences, last, limit = b"", [], time.monotonic(), time.monotonic() + 300
    while time.monotonic() < limit:
        if not select.select([ours], [], [], 1)[0]:
            continue
        try:
            content = os.read(ours, 1 << 16)
        except OSError:  # nobody holds the other end
            break
        if not content:
            break
        silences.append(time.monotonic() - last)
        last, said = time.monotonic(), said + content
        if until is not None and until in said:
            process.send_signal(signal.SIGINT)
            until = None
    os.close(ours)
    return said.decode(), max(silences), process.wait(60)


def test_a_start_is_never_silent(tmp_path):
    command = [sys.executable, "recipes/offline.py", "flow-bc", "--env", "none", "--data", walks(tmp_path / "walk.npz")]
    small = ["--field.width", "8", "--field.depth", "1", "--batch-size", "8", "--estimate-steps", "0"]
    rhythm = ["--steps", "40", "--log-every", "20", "--output-dir", tmp_path / "runs"]
    fresh = {"JAX_COMPILATION_CACHE_DIR": str(tmp_path / "compiled")}  # so that it compiles
    said, silence, code = on_a_terminal(*command, *small, *rhythm, **fresh)
    assert code == 0, said
    assert silence < 4  # a pulse is a second, and the machine may be busy
    for sign in ("starting ... ", "reading the data ... ", "compiling", "flow loss ", "drawing ... "):
        assert sign in said
    assert f"python recipes/watch.py {tmp_path}" in said


def test_what_the_bar_says(capsys):
    with Progress("training", 0, 100) as bar:
        bar.begin()
        bar.show(50)
        bar.tell(50)
        bar.logged([{"training/value": 1.2345, "training/flow_loss": 2.0}, {}])
        bar.judged([{"evaluation/success": 0.25}, {"evaluation/success": 0.5}])
        bar.logged([{"training/flow_loss": 2.0}] * 2)
        bar.judged([{"estimate/value": 3.0}] * 2)
        bar.back(20)
    last = capsys.readouterr().err.splitlines()[-1]
    assert "20/100" in last
    assert last.endswith("estimated value 3.00 3.00, flow loss 2 2]")
    with Progress("training", 0, 100) as bar:
        bar.logged([{"training/value": 1.2345, "training/flow_loss": 2.0}, {}])
        bar.judged([{"evaluation/success": 0.25}, {"evaluation/success": 0.5}])
    assert capsys.readouterr().err.splitlines()[-1].endswith("success 0.25 0.50, value 1.23 -]")


def test_watching_on_a_terminal_until_ctrl_c(tmp_path):
    group = made(tmp_path)
    with group:
        row(group, 50)
        command = [sys.executable, "recipes/watch.py", tmp_path, "--every", "0.2"]
        said, _, code = on_a_terminal(*command, until=b"50/100")
    assert code == 130
    assert "running" in said
    assert "Traceback" not in said


WHILE_IT_COUNTS = """
import time
from deflow import progress
progress.RARELY = 0.5
with progress.Bar(total=100, desc="counting") as bar:
    for _ in range(100):
        time.sleep(0.01)
        bar.update()
with progress.working("nothing"):
    pass
"""


def test_a_bar_in_a_file_is_a_line_now_and_then():
    done = subprocess.run([sys.executable, "-c", WHILE_IT_COUNTS], cwd=ROOT, capture_output=True, text=True, check=True)
    lines = done.stderr.splitlines()
    assert 3 <= len(lines) <= 5
    assert all(line.startswith("counting:") for line in lines)
    assert "0/100" in lines[0]
    assert "100/100" in lines[-1]
    assert "\r" not in done.stderr


def test_nothing_is_left_of_a_line():
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    with contextlib.redirect_stderr(Terminal()) as terminal, working("thinking"):
        time.sleep(1.3)
    frames = terminal.getvalue().split("\r")
    assert "thinking ... 00:01" in "".join(frames)
    assert frames[-1] == ""
    assert frames[-2].strip() == ""
    with contextlib.redirect_stderr(Terminal()) as terminal, Bar(total=2, disable=True) as bar:
        bar.update()
    assert terminal.getvalue() == ""

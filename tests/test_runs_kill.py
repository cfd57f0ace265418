"""SIGKILL in the middle of saves and removals: what was reported saved last still restores, without a warning."""

import random
import signal
import subprocess
import sys
import time
import warnings

import numpy as np
import pytest

from deflow.runs import Run, RunGroup

SAVE_UNTIL_KILLED = """
import os, pathlib, signal, sys, time
import numpy as np
from deflow.runs import Run, checkpoints

run, where = Run.open(sys.argv[1]), sys.argv[2]
die = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
renames = []

def dying_rename(path, target, rename=pathlib.Path.rename):
    renames.append(path)
    # Step 3 is saved twice: its second save renames the old directory, then the new one.
    return die() if where == "replacing" and len(renames) == 5 else rename(path, target)

pathlib.Path.rename = dying_rename
for step in (1, 2, 3, 3, *range(4, 1000)):
    if step == 3 and where == "manifest":
        checkpoints.write_manifest = die
    if step == 4:
        input()  # the test says when to go on, until it is killed
    start = time.perf_counter()
    run.save(step, {"x": np.full((300, 1000), step, np.float64)})
    print(step, time.perf_counter() - start, flush=True)
"""

PLACES = ["manifest", "replacing", "anywhere", "anywhere"]


@pytest.fixture(scope="module")
def children(tmp_path_factory):
    """All children at once: most of their time is their imports."""
    started = []
    for place in PLACES:
        run = Run.create(tmp_path_factory.mktemp("runs"), environment="e", algorithm="a", seed=0, config={})
        command = [sys.executable, "-c", SAVE_UNTIL_KILLED, str(run.path), place]
        started.append((run, subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)))
    yield started
    for _, child in started:
        child.kill()
        child.communicate()


@pytest.mark.parametrize("number", range(len(PLACES)))
def test_killed_while_saving(children, number):
    run, child = children[number]
    lines = []
    if PLACES[number] == "anywhere":
        while len(lines) < 4:
            lines.append(child.stdout.readline())
            assert lines[-1], f"the child ended by itself: {child.wait()}"
        child.stdin.write("\n")
        child.stdin.flush()
        seconds = float(lines[-1].split()[1])  # that a save takes
        time.sleep(random.Random(number).uniform(0.0, 2.0) * seconds)
        child.send_signal(signal.SIGKILL)
    lines += child.stdout.readlines()
    assert child.wait(60) == -signal.SIGKILL
    saved = [int(line.split()[0]) for line in lines]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        state, _, step = run.restore({"x": np.zeros((300, 1000))})
    # Killed just after the rename and before the report, the step being saved is there too. Replacing a step is the
    # one moment at which the last one is away: then it is the one before.
    expected = {"manifest": {2}, "replacing": {2}}.get(PLACES[number], {saved[-1], saved[-1] + 1})
    assert step in expected, (saved, run.checkpoints.steps())
    assert (state["x"] == step).all()
    run.save(step + 1, state)
    assert not list((run.path / "checkpoints").glob(".*"))


# --- runs trained together, saved beside training

TRAIN_UNTIL_KILLED = """
import os, pathlib, random, shutil, signal, sys, time
import numpy as np
from deflow.runs import RunGroup, checkpoints

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

def dying_rename(path, target, rename=pathlib.Path.rename):
    rename(path, target)
    if path.name == DIE_AT[1] and DIE_AT[0] in str(target):
        die()

def dying_rmtree(path, ignore_errors=False, rmtree=shutil.rmtree):
    if DIE_AT[0] in str(path) and str(path).endswith(DIE_AT[1]) and path.exists():
        next(file for file in path.rglob("*") if file.is_file()).unlink()
        die()
    rmtree(path, ignore_errors=ignore_errors)

def dying_manifest(directory, step, spec, write=checkpoints.write_manifest):
    return die() if str(step) == DIE_AT[1] and DIE_AT[0] in str(directory) else write(directory, step, spec)

def train(path, place, reports):
    global DIE_AT
    group = RunGroup.open(path, keep=1)
    first, second = (str(run.path) for run in group.runs)
    DIE_AT, (module, name, dying) = {
        "second manifest": ((f"{second}/checkpoints", "4"), (checkpoints, "write_manifest", dying_manifest)),
        "published": ((f"{second}/checkpoints", "4"), (pathlib.Path, "rename", dying_rename)),
        "removing": ((f"{first}/checkpoints/.removing", "3"), (shutil, "rmtree", dying_rmtree)),
        "best manifest": ((f"{first}/best", "4"), (checkpoints, "write_manifest", dying_manifest)),
        "best published": ((f"{first}/best", "4"), (pathlib.Path, "rename", dying_rename)),
        "best removing": ((f"{first}/best/.removing", "3"), (shutil, "rmtree", dying_rmtree)),
        "anywhere": (("", ""), (shutil, "rmtree", shutil.rmtree)),
    }[place]
    setattr(module, name, dying)
    for step in range(1, 1000):
        states = [{"x": np.full((30, 1000), step + index / 2)} for index in range(2)]
        group.save(step, states, [{"step": step}] * 2)  # the one before is whole
        if place != "anywhere" and "best" not in place:
            group.wait()
        group.save_best(step, [step, step], states, [{}, {}])
        os.write(reports, f"{step - 1}\\n".encode())

for line in sys.stdin:  # a process each: their imports are done
    number, place, path = line.rstrip().split(";")
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            train(path, place, writing)
        finally:
            os._exit(1)
    os.close(writing)
    with os.fdopen(reading) as reports:
        saved = 0
        if place == "anywhere":
            while saved < 2:
                saved = int(reports.readline())
            time.sleep(random.Random(int(number)).uniform(0.0, 0.3))
            os.kill(child, signal.SIGKILL)
        saved = [saved, *map(int, reports)][-1]
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), saved, flush=True)
"""

COMMON = {"second manifest": 3, "published": 4, "removing": 4}
BEST = {"best manifest": 3, "best published": 4, "best removing": 4}
GROUP_PLACES = [*COMMON, *BEST, *["anywhere"] * 12]


@pytest.fixture(scope="module")
def trainer():
    """A process whose children are trained and killed."""
    command = [sys.executable, "-c", TRAIN_UNTIL_KILLED]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.stdin.close()


@pytest.mark.parametrize("number", range(len(GROUP_PLACES)))
def test_killed_while_saving_beside_training(trainer, tmp_path, number):
    place, like = GROUP_PLACES[number], {"x": np.zeros((30, 1000))}
    group = RunGroup.create(tmp_path, environment="e", algorithm="a", seeds=(0, 1), config={}, keep=1)
    trainer.stdin.write(f"{number};{place};{group.runs[0].path}\n")
    trainer.stdin.flush()
    code, saved = map(int, trainer.stdout.readline().split())
    assert code == -signal.SIGKILL
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        group = RunGroup.open(group.runs[1].path, keep=1)
        states, notes, step = group.restore(like)
        best = [run.best.restore(like) for run in group.runs]
        group.save_best(0, [0, 0], states, notes)  # no better than what is there
        group.save(step + 1, states, notes)
        group.close()
    assert step in ({COMMON[place]} if place in COMMON else {saved, saved + 1, saved + 2})
    assert notes == [{"step": step}] * 2
    for index in range(2):
        assert (states[index]["x"] == step + index / 2).all()
        assert (best[index][0]["x"] == best[index][2] + index / 2).all()
    assert best[0][2] in ({BEST[place]} if place in BEST else {saved - 1, saved, saved + 1, saved + 2})
    assert group.failures == []
    for run in group.runs:
        assert run.checkpoints.steps() == [step + 1]
        assert not list((run.path / "checkpoints").glob(".*"))

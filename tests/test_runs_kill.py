"""SIGKILL in the middle of saves: the last checkpoint that was reported saved still restores, without a warning."""

import random
import signal
import subprocess
import sys
import time
import warnings

import numpy as np
import pytest

from deflow.runs import Run

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

"""Maps over bounds: the recipe, tiny but real, interrupted and killed; its table by hand; what is refused."""

import csv
import json
import math
import re
import runpy
import shutil
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from in_process import recipe
from kill_and_resume import differences, files_of_proposals
from test_staged import ENV, finished, interrupted_at, interrupted_while, refused, runs_of

import deflow
from deflow import constraints, trust_regions
from deflow.agent import agent_config, check_varied_bound, published_bound
from deflow.behaviour import proposals_file
from deflow.errors import ReportError, RunError
from deflow.report import bounds_figure, map_bounds
from deflow.runs import Cell, Grid
from deflow.session import Schedule

ROOT = Path(__file__).parents[1]
TINY = [
    *("--data", "collected", "--rows", 1000, "--steps", 30, "--eval-every", 30, "--log-every", 10, "--save-every", 10),
    *("--episodes", 1, "--batch-size", 8, "--workers", 1, "--proposals", 256, "--field-steps", 20),
    *(f"--{part}.{size}" for part in ("field", "critic", "refiner") for size in ("width=8", "depth=1")),
]
BOUNDS = ["--bounds", 0.001, 0.1]


def arguments(output, data_dir, *more, seeds=(0, 1)):
    return ["bounds", *TINY, "--data-dir", data_dir, "--output-dir", output, "--seeds", *seeds, *more]


def rows_of(output):
    """The CSV's rows, without where the runs lie."""
    with open(output / "bounds.csv", newline="") as file:
        return [{name: cell for name, cell in row.items() if name != "run"} for row in csv.DictReader(file)]


def content(output):
    """Every file of the runs and its time, except those that say that a run is locked."""
    files = (path for path in output.rglob("*") if path.is_file() and not path.name.endswith(".lock"))
    return {path: path.stat().st_mtime_ns for path in files if path.parent != output}


def same_runs(one, other):
    for algorithm in ("deflow", "flow-bc"):
        for left, right in zip(runs_of(one, algorithm), runs_of(other, algorithm), strict=True):
            assert differences(left, right) == []
            assert files_of_proposals(left) == files_of_proposals(right)


@pytest.fixture(scope="module")
def whole(data_dir, tmp_path_factory):
    """Two bounds, two seeds, a behaviour of their own, never interrupted."""
    output = tmp_path_factory.mktemp("whole")
    return finished(recipe(*arguments(output, data_dir, *BOUNDS))), output


# --- the recipe


def test_one_behaviour_and_a_run_for_each_bound_and_seed(whole):
    outcome, output = whole
    assert "2 bounds of 2 seeds together; 60 updates to go\n" in outcome.stdout
    assert "0.001 0.1\n" in outcome.stdout
    assert "published 0.001, the data's own 0.00" in outcome.stdout
    assert "bound 0.001 (1 of 2): 100%" in outcome.stderr
    assert "bound 0.1 (2 of 2): 100%" in outcome.stderr
    assert re.search(r"1 bound to go, about \d+ min\.", outcome.stdout)
    (behaviour,) = runs_of(output, "flow-bc")
    assert len(files_of_proposals(behaviour)) == 2
    grid = Grid.open(output)
    assert [cell.choice for cell in grid.cells] == [{"trust-region.bound": 0.001}, {"trust-region.bound": 0.1}]
    assert sorted(path for cell in grid.cells for path in grid.paths(cell)) == runs_of(output)
    for cell in grid.cells:
        runs = [deflow.Run.open(path) for path in grid.paths(cell)]
        assert [run.seed for run in runs] == [0, 1]
        for run in runs:
            assert run.config["recipe"] == "offline"
            assert run.config["behaviour"] == {"runs": [str(behaviour)], "own": True}
            assert run.config["agent"]["trust_region"]["fields"] == {"bound": cell.choice["trust-region.bound"]}
            assert run.read("train")["training/bound"] == pytest.approx([cell.choice["trust-region.bound"]] * 3)


def test_the_csv_is_what_the_runs_logged(whole):
    _, output = whole
    with open(output / "bounds.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["bound"], row["seed"], row["step"]) for row in rows] == [
        (bound, seed, "30") for bound in ("0.001", "0.1") for seed in "01"
    ]
    for row in rows:
        run = deflow.Run.open(output / row["run"])
        assert float(row["success"]) == run.read("eval")["evaluation/success"][-1]
        for name in ("value", "size", "multiplier"):
            assert float(row[name]) == run.read("train")[f"training/{name}"][-1]
        assert row["stopped"] == ""
    assert (output / "bounds.png").stat().st_size > 20_000


def test_the_same_command_again_trains_nothing_and_needs_no_data(whole, tmp_path):
    outcome, output = whole
    before, table = content(output), (output / "bounds.csv").read_bytes()
    again = finished(recipe(*arguments(output, tmp_path / "no data", *BOUNDS)))
    assert content(output) == before
    assert (output / "bounds.csv").read_bytes() == table
    assert "bound 0.1" not in again.stderr
    assert not (tmp_path / "no data").exists()
    said = [line for line in outcome.stdout.splitlines() if line.startswith(("0.001  ", "0.1 ", "Picture"))]
    assert said
    assert all(line in again.stdout for line in said)


def test_interrupted_anywhere_and_moved_the_same_command_ends_the_same(whole, data_dir, tmp_path):
    """In the behaviour, among the proposals, in the first cell; that one is then finished by resume.py."""
    output = tmp_path / "a grid"
    command = arguments(output, data_dir, *BOUNDS)
    with interrupted_at(10):
        outcome = recipe(*command)
    assert outcome.returncode == 130, outcome.stderr
    assert "Go on with the grid: python recipes/bounds.py --data collected" in outcome.stdout
    assert f"--output-dir '{output}'" in outcome.stdout
    assert "No bound is finished yet" in outcome.stdout
    with interrupted_while(proposals_file, "solved_blocks", lambda start, *_: start == 256):
        assert recipe(*command).returncode == 130
    output = output.rename(tmp_path / "moved")
    command = arguments(output, data_dir, *BOUNDS)
    with interrupted_while(Schedule, "due", lambda _, before, now, last: (now, last) == (20, 30)):
        outcome = recipe(*command)
    assert outcome.returncode == 130, outcome.stderr
    assert "Bound 0.001 is at step 20 of 30." in outcome.stdout
    finished(recipe("resume", Grid.open(output).paths(Grid.open(output).cells[0])[1], "--data-dir", data_dir))
    outcome = finished(recipe(*command))
    assert "2 bounds (1 finished, 0 begun) of 2 seeds together; 30 updates to go" in outcome.stdout
    assert "behaviour:" not in outcome.stderr
    assert "bound 0.001" not in outcome.stderr
    assert rows_of(output) == rows_of(whole[1])
    same_runs(whole[1], output)


KILLED = """
import os, signal, sys
sys.path.insert(0, "recipes")
import bounds
from deflow import cli
from deflow.runs import checkpoints
write, there = checkpoints.write_manifest, []

def killed(path, step, spec):
    if step == 20 and "deflow/seed1" in str(path):
        there.append(path)
        if len(there) == 2:
            os.kill(os.getpid(), signal.SIGKILL)
    write(path, step, spec)

checkpoints.write_manifest = killed
cli.run(bounds.main, bounds.defaults, description="")
"""


def test_killed_while_a_checkpoint_was_written(whole, data_dir, tmp_path):
    """One seed of the second bound has that checkpoint, the other has not."""
    (behaviour,) = runs_of(whole[1], "flow-bc")
    command = arguments(tmp_path, data_dir, *BOUNDS, "--behaviour", behaviour)
    child = [sys.executable, "-c", KILLED, *map(str, command[1:])]
    done = subprocess.run(child, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    first, second = Grid.open(tmp_path).cells
    assert (first.seconds is None, second.seconds) == (False, None)
    assert [run.checkpoints.steps()[-1] for run in Grid.open(tmp_path).group(second).runs] == [20, 10]
    outcome = finished(recipe(*command))
    assert "(1 finished, 1 begun)" in outcome.stdout
    assert rows_of(tmp_path) == rows_of(whole[1])
    for left, right in zip(runs_of(whole[1]), runs_of(tmp_path), strict=True):
        assert differences(left, right) == []


def test_a_bound_that_fails_does_not_stop_the_others_and_bounds_can_be_added(whole, data_dir, tmp_path):
    """At 0.5 no size is a number. It is not tried again, and what was trained before is left alone."""
    output = shutil.copytree(whole[1], tmp_path / "copy")
    original = trust_regions.MeanSquare.size

    def size(self, displacement, observation):
        return original(self, displacement, observation) * (math.nan if self.bound == 0.5 else 1.0)

    before = content(output / ENV / "deflow")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trust_regions.MeanSquare, "size", size)
        outcome = recipe(*arguments(output, data_dir, "--bounds", 0.5, "auto", 0.1))
    assert outcome.returncode == 1, outcome.stderr
    for seed in (0, 1):
        assert f"Bound 0.5, seed {seed} stopped at step 10: refiner_loss is not finite (nan)" in outcome.stdout
    assert "All bounds share one flow" in outcome.stdout  # in the copy, too
    grid = Grid.open(output)
    automatic = grid.facts["automatic"]
    assert [cell.choice["trust-region.bound"] for cell in grid.cells] == [0.001, 0.1, 0.5, automatic]
    assert {path: time for path, time in content(output / ENV / "deflow").items() if path in before} == before
    rows = rows_of(output)
    assert [row["bound"] for row in rows[::2]] == ["0.001", repr(automatic), "0.1", "0.5"]
    assert [(row["success"], row["stopped"] != "") for row in rows[-2:]] == [("", True)] * 2
    assert all(row["success"] and not row["stopped"] for row in rows[:-2])
    again = finished(recipe(*arguments(output, data_dir, "--bounds", 0.5)))
    assert "Bound 0.5, seed 1 stopped at step 10" in again.stdout
    assert "bound 0.5" not in again.stderr


def test_the_default_bounds_surround_the_published_one():
    bounds = runpy.run_path(str(ROOT / "recipes/bounds.py"))
    asked, options = bounds["asked"], bounds["Bounds"]
    around = [0.0001, 0.0003, 0.001, 0.003, 0.01]
    assert asked(options(), {"published": 0.001, "automatic": None}) == around
    assert asked(options(), {"published": 0.001, "automatic": 0.0028}) == [*around[:3], 0.0028, *around[3:]]
    assert asked(options(), {"published": 0.001, "automatic": 0.003}) == around
    assert asked(options(bounds=(0.1, "auto", 0.003)), {"published": 0.001, "automatic": 0.003}) == [0.1, 0.003]
    with pytest.raises(ValueError, match="--bounds auto: this data gives no bound"):
        asked(options(bounds=("auto",)), {"published": 0.001, "automatic": None})
    with pytest.raises(ValueError, match="Nothing is published in the unit of this trust region: give numbers"):
        asked(options(), {"published": None, "automatic": None})
    assert asked(options(bounds=(0.1,)), {"published": None, "automatic": None}) == [0.1]


# --- refusals


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (
            ["--steps", 40],
            "--steps is 30 in the grid in {output}, got 40: leave it out, or choose another",
        ),
        (["--seeds", 2], "--seeds is 0 1 in the grid in {output}, got 0 1 2: leave it out"),
        (["--critic.members", 3], "The critic differs from that of the grid in {output}: leave its flags out"),
        (["--behaviour", "{behaviour}"], "The grid in {output} learned a behaviour of its own: leave --behaviour out"),
        (["--bounds", 0.1, 0.1], "--bounds must be different, got 0.001 0.1 0.1 0.1"),
        (["--bounds", 0], "--bounds must be positive numbers or auto, got 0.0"),
        (["--bounds", "nan"], "--bounds must be positive numbers or auto, got nan"),
        (["--bounds=-0.1"], "--bounds must be positive numbers or auto, got -0.1"),
        (["--bounds", "inf"], "--bounds must be positive numbers or auto, got inf"),
        (["--bounds", "a"], "--bounds takes a number or 'auto', got a"),
        (["--trust-region.bound", 0.1], "--trust-region.bound is what is varied here: give --bounds"),
        (["--proposals", 0], "All bounds are trained from one frozen flow: give --proposals, or --behaviour RUN"),
        (
            ["--behaviour", "{behaviour}", "{behaviour}"],
            "--behaviour takes one run here, which all bounds share",
        ),
        (["constraint:penalty"], "constraint:penalty ignores the bound, so all bounds would train the same agent"),
        (["trust-region:none", "constraint:none"], "deflow has no trust region with a bound (it is none)"),
    ],
)
def test_refusals_before_any_work(whole, more, expected, tmp_path):
    _, output = whole
    names = {"output": output, "behaviour": runs_of(output, "flow-bc")[0]}
    before = content(output)
    command = arguments(output, tmp_path / "data", *BOUNDS, *(str(one).format(**names) for one in more))
    assert expected.format(**names) in refused(recipe(*command))
    assert content(output) == before
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("algorithm", ["fql", "flow-bc", "fbrac", "bfn"])
def test_algorithms_without_a_bound_are_refused(algorithm, tmp_path):
    sentence = refused(recipe("bounds", algorithm, "--budget", "quickstart", "--output-dir", tmp_path / "none"))
    assert algorithm in sentence
    assert not (tmp_path / "none").exists()


def test_another_behaviour_is_refused(whole, data_dir, tmp_path):
    """By its flow; the same one from another place is welcome, also without proposals. (Nothing is trained: the grid's
    only cell is made of finished runs.)"""
    given = shutil.copytree(runs_of(whole[1], "flow-bc")[0], tmp_path / "given")
    grid = Grid.open(shutil.copytree(whole[1], tmp_path / "grid"))
    digest = deflow.behaviour.behaviour_digest(deflow.load(given).agent)
    facts = {**grid.facts, "behaviour": {"run": "elsewhere", "own": False, "digest": digest}}
    grid.write(grid.cells, facts)
    command = arguments(grid.folder, data_dir, *BOUNDS)
    assert "has the flow of elsewhere, and that of --behaviour (nothing) is another" in refused(recipe(*command))
    finished(recipe(*command, "--behaviour", given))
    grid.write(grid.cells, {**facts, "behaviour": {**facts["behaviour"], "digest": "0" * 64}})
    assert f"that of --behaviour {given} is another: give that run" in refused(recipe(*command, "--behaviour", given))


def test_which_bounds_matter():
    for algorithm in ("deflow", "deflow-best", "deflow-projected", "deflow-flow-critic"):
        check_varied_bound(agent_config(algorithm), algorithm)
    for constraint in (constraints.DualConstraintConfig(0.0), "pid", "projection"):
        check_varied_bound(agent_config("deflow", constraint=constraint), "deflow")


def test_a_bound_that_is_not_one_number_is_refused(registered):
    class PerCoordinate(trust_regions.AbstractTrustRegion):
        """A bound for each coordinate."""

        bound: tuple[float, ...] = (0.1, 0.2)

        def size(self, displacement, observation):
            return displacement.sum()

        def project(self, displacement, observation):
            return displacement

    registered(trust_regions.registry, "per-coordinate", PerCoordinate)
    with pytest.raises(ValueError, match=r"per-coordinate is \(0\.1, 0\.2\), and only a bound that is one"):
        check_varied_bound(agent_config("deflow", trust_region=PerCoordinate()), "deflow")


def test_published_bounds_are_in_the_regions_unit(data_dir):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a tiny set holds no success is none of this test's business
        task = deflow.load_task(ENV, deflow.Collected(rows=1000), data_dir=data_dir)
    for region, expected in (("mean-square", 0.001), ("ball", math.sqrt(5 * 0.001)), ("box", math.sqrt(0.001))):
        config = agent_config("deflow", trust_region=region)
        assert published_bound(config, task) == pytest.approx(expected, rel=1e-3)
    assert published_bound(agent_config("deflow", trust_region="anchored"), task) is None


# --- the table, by hand


def make_run(folder, bound, seed, *, success, value=-50.0, steps=(50, 100), stopped=None, own=False):
    """A run's files; the return is 100 times the success less 200, the size is the bound."""
    path = folder / f"bound{bound}-seed{seed}"
    path.mkdir(parents=True)
    config = {"behaviour": {"runs": ["flows/a"], "own": own}, "options": {"seeds": [0, 1, 2]}}
    named = {"environment": "cube-v0", "algorithm": "deflow", "seed": seed, "config": config}
    (path / "config.json").write_text(json.dumps(named))
    rows = [f"{step},{'' if success is None else success},{100 * (success or 0) - 200}" for step in steps]
    (path / "eval.csv").write_text("\n".join(["step,evaluation/success,evaluation/episode.return", *rows, ""]))
    rows = [f"{step},{value * step / 100},{bound},{1 / bound}" for step in steps]
    (path / "train.csv").write_text("\n".join(["step,training/value,training/size,training/multiplier", *rows, ""]))
    if stopped:
        (path / "stopped.json").write_text(json.dumps({"step": steps[-1], "reason": stopped, "checkpoint": None}))
    return path


@pytest.fixture
def made(tmp_path):
    """Three seeds of three bounds: one as it should be, one with a seed that stopped, one under way."""
    return {
        0.01: [make_run(tmp_path, 0.01, seed, success=0.8 + 0.1 * seed, value=-10.0 * seed) for seed in range(2)]
        + [make_run(tmp_path, 0.01, 2, success=1.0, steps=(50,), stopped="critic_loss is not finite.")],
        0.001: [make_run(tmp_path, 0.001, seed, success=0.1 * seed, value=-10.0 * seed) for seed in range(3)],
        0.1: [make_run(tmp_path, 0.1, seed, success=1.0, steps=(50,)) for seed in range(3)],
    }


def test_the_numbers_of_the_table(made):
    found = map_bounds(made, steps=100, published=0.001, automatic=0.02)
    assert [line.bound for line in found.lines] == [0.001, 0.01, 0.1]
    small, middle, large = found.lines
    half = 4.303 * 0.1 / math.sqrt(3)  # t(0.975, 2), and the deviation over seeds
    assert small.mean("success") == pytest.approx((0.1, 0.1 - half, 0.1 + half), abs=1e-3)
    assert [small.mean(name).value for name in ("returns", "value", "size", "multiplier")] == pytest.approx(
        [-190.0, -10.0, 0.001, 1000.0]
    )
    assert [seed.files.seed for seed in middle.measured] == [0, 1]
    assert middle.mean("success").value == pytest.approx(0.85)
    assert middle.mean("value").value == pytest.approx(-5.0)
    assert large.measured == ()
    assert math.isnan(large.mean("success").value)
    text = table_text(found)
    assert "0.10 [0.00, 0.35]" in text
    assert "2/3" in text
    notes = found.notes()
    assert "Bound 0.01, seed 2 stopped at step 50: critic_loss is not finite." in notes
    assert "Bound 0.1 is at step 50 of 100." in notes
    assert "All bounds share one flow, so their differences say nothing about how flows differ." in notes
    assert any(note.startswith("Seeds 0, 1 and 2 of deflow on cube-v0 share the flow of flows/a") for note in notes)


def table_text(found):
    import rich.console

    console = rich.console.Console(width=80)
    with console.capture() as captured:
        console.print(found.table())
    return captured.get()


def test_what_is_marked(made, tmp_path):
    """The best one is of those of which every seed has come to the end; ties go to the return, then the smallest."""
    found = map_bounds(made, steps=100, published=0.001, automatic=0.02)
    assert found.best == 0.001
    assert found.marks() == {0.001: "published\nbest", 0.02: "auto"}
    for bound in (0.003, 0.002):
        made[bound] = [make_run(tmp_path, bound, seed, success=0.1 * seed) for seed in range(3)]
    found = map_bounds(made, steps=100, published=None, automatic=0.003)
    assert found.best == 0.001
    assert map_bounds({bound: made[bound] for bound in (0.003, 0.002)}, steps=100).best == 0.002
    assert map_bounds({0.1: made[0.1]}, steps=100).best is None
    hopeless = {0.2: [make_run(tmp_path, 0.2, seed, success=0.0) for seed in range(2)]}
    assert map_bounds(hopeless, steps=100).best is None
    assert bounds_figure(found, tmp_path / "picture.png").stat().st_size > 20_000


def test_without_success_the_return_decides(tmp_path):
    runs = {bound: [make_run(tmp_path, bound, 0, success=None)] for bound in (0.1, 0.2)}
    found = map_bounds(runs, steps=100)
    assert found.by_return
    assert found.best == 0.1
    assert bounds_figure(found, tmp_path / "picture.png").exists()
    with pytest.raises(ReportError, match="There is no bound to report on"):
        map_bounds({}, steps=100)


# --- the grid's file


def test_a_grid_survives_a_write_that_fails(tmp_path, monkeypatch):
    grid = Grid.open(tmp_path)
    assert grid.cells == ()
    cells = [Cell({"bound": bound}, (f"cube/seed{bound}",)) for bound in (1, 2)]
    grid.write(cells, {"a": 1})
    grid.time(cells[1], 3.5)
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(RunError, match="No space left on device; free some space"):
        grid.write([], {})
    again = Grid.open(tmp_path)
    assert again[{"bound": 2}] == Cell({"bound": 2}, ("cube/seed2",), 3.5)
    assert again[{"bound": 1}].seconds is None
    assert again.facts == {"a": 1}
    assert {"bound": 3} not in again
    with pytest.raises(RunError, match="has no cell"):
        again[{"bound": 3}]
    with pytest.raises(RunError, match="which is missing: restore it from a copy"):
        again.group(again.cells[0])


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"schema_version": 99, "facts": {}, "cells": []}'])
def test_a_damaged_grid_is_not_started_anew(text, tmp_path):
    (tmp_path / "grid.json").write_text(text)
    with pytest.raises(RunError, match=r"restore it from a copy|upgrade deflow"):
        Grid.open(tmp_path)


def test_one_process_at_a_time(tmp_path):
    with Grid.open(tmp_path), pytest.raises(RunError, match="Another process works on"), Grid.open(tmp_path):
        pass

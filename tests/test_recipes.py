"""Every recipe, tiny but real: MuJoCo, OGBench's oracles, spawned workers, checkpoints, signals."""

import json
import os
import re
import runpy
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import jax
import numpy as np
import pytest

import deflow

ROOT = Path(__file__).parents[1]
ENV = "cube-single-play-singletask-task2-v0"
TINY = [
    *("--data", "collected", "--rows", "1000", "--steps", "30", "--eval-every", "20", "--log-every", "10"),
    *("--episodes", "2", "--batch-size", "8", "--workers", "1"),
    *("--field.width", "8", "--field.depth", "1", "--refiner.width", "8", "--refiner.depth", "1"),
]


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("data")


def recipe(name, *arguments, environment=()):
    """Run a recipe as a user does."""
    return subprocess.run(
        [sys.executable, f"recipes/{name}.py", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "200", **dict(environment)},
        check=False,
    )


def in_process(name, arguments, monkeypatch, capfd):
    """The same, sooner: for what ends before any work."""
    monkeypatch.setattr(sys, "argv", [f"recipes/{name}.py", *arguments])
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)  # the recipe replaces it
    monkeypatch.setenv("COLUMNS", "400")
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(ROOT / "recipes" / f"{name}.py"), run_name="__main__")
    captured = capfd.readouterr()
    return subprocess.CompletedProcess(arguments, stop.value.code, captured.out, captured.err)


def refused(outcome):
    """The one sentence on stderr of a recipe that refused its arguments."""
    assert outcome.returncode == 2, outcome.stdout + outcome.stderr
    assert "Traceback" not in outcome.stderr
    return outcome.stderr


@pytest.fixture(scope="module")
def trained(data_dir, tmp_path_factory):
    """Two seeds trained by the recipe, from nothing."""
    output = tmp_path_factory.mktemp("runs")
    arguments = ["--env", ENV, "--data-dir", data_dir, "--output-dir", output, "--seeds", 0, 1, *TINY]
    outcome = recipe("offline", *arguments, "--critic.width", 8, "--critic.depth", 1)
    assert outcome.returncode == 0, outcome.stderr
    return outcome, sorted((output / ENV / "deflow").glob("seed*"))


def test_offline_says_what_it_does_and_leaves_a_run_per_seed(trained):
    outcome, paths = trained
    for fact in ("observation 28, action 5", "1,000 transitions", "collected", "parameters", "30 updates", "seeds 0 1"):
        assert fact in outcome.stdout
    assert "Next: python recipes/evaluate.py" in outcome.stdout
    assert len(paths) == 2
    for path in paths:
        assert (path / "report.png").stat().st_size > 10_000
        run = deflow.Run.open(path)
        assert run.config["data"]["source"] == "collected"
        assert run.config["agent"]["trust_region"]["fields"] == {"bound": 0.001}
        train, evaluation = run.read("train"), run.read("eval")
        assert list(train["step"]) == [10, 20, 30]
        assert list(evaluation["step"]) == [20, 30]
        assert np.all(np.isfinite(train["training/critic_loss"]))
    first, second = (deflow.Run.open(path).read("train")["training/flow_loss"] for path in paths)
    assert np.all(first != second)


def test_loaded_run_acts(trained):
    policy = deflow.load(trained[1][0])
    action = policy(np.zeros(28, np.float32), key=jax.random.key(0))
    assert action.shape == (5,)
    assert np.all(np.abs(action) <= 1)
    other = deflow.load(trained[1][1])(np.zeros(28, np.float32), key=jax.random.key(0))
    assert np.any(action != other)


def test_evaluate_gives_the_same_numbers_again(trained):
    path = trained[1][1]
    logged = deflow.Run.open(path).read("eval")
    outcome = recipe("evaluate", path, "--workers", 1)
    assert outcome.returncode == 0, outcome.stderr
    assert f"success {logged['evaluation/success'][-1]:.2f}" in outcome.stdout
    assert f"return {logged['evaluation/episode.return'][-1]:.1f}" in outcome.stdout


def test_a_second_run_collects_nothing_and_flow_bc_trains(trained, data_dir, tmp_path):
    before = {path: path.stat().st_mtime_ns for path in data_dir.rglob("*.npz")}
    outcome = recipe(
        "offline", "flow-bc", "--data-dir", data_dir, "--output-dir", tmp_path, *TINY[:-4]
    )  # flow-bc has no refiner
    assert outcome.returncode == 0, outcome.stderr
    assert {path: path.stat().st_mtime_ns for path in data_dir.rglob("*.npz")} == before
    (path,) = (tmp_path / ENV / "flow-bc").glob("seed0-*")
    assert "training/critic_loss" in deflow.Run.open(path).read("train")
    assert deflow.load(path).refiner == deflow.refiners.NoRefiner()


def test_a_users_trust_region_by_import(trained, data_dir, tmp_path):
    parts = tmp_path / "my_parts.py"
    parts.write_text(
        "import deflow, jax.numpy as jnp\n"
        "@deflow.trust_regions.register('diamond')\n"
        "class Diamond(deflow.trust_regions.AbstractTrustRegion):\n"
        "    '''L1.'''\n"
        "    bound: float = 0.1\n"
        "    '''Largest sum of absolute displacements.'''\n"
        "    def size(self, displacement, observation):\n"
        "        return jnp.sum(jnp.abs(displacement))\n"
        "    def project(self, displacement, observation):\n"
        "        return displacement / jnp.maximum(self.size(displacement, observation) / self.bound, 1)\n"
    )
    common = ["--data-dir", data_dir, "--output-dir", tmp_path, *TINY, "--critic.width", 8]
    outcome = recipe("offline", "--import", parts, *common, "trust-region:diamond", "--trust-region.bound", 0.3)
    assert outcome.returncode == 0, outcome.stderr
    (path,) = (tmp_path / ENV / "deflow").glob("seed0-*")
    run = deflow.Run.open(path)
    assert run.config["agent"]["trust_region"]["name"] == "diamond"
    assert run.config["imports"][0]["path"] == str(parts)
    assert run.read("train")["training/bound"][-1] == pytest.approx(0.3)
    assert "the trust region 'diamond'" in refused(recipe("evaluate", path))
    assert recipe("evaluate", path, "--import", parts).returncode == 0


def interrupted(data_dir, output, file):
    """A long training that gets Ctrl-C as soon as `file` is there."""
    arguments = [*TINY, "--steps", "100000000", "--eval-every", "100000000", "--critic.width", "8"]
    process = subprocess.Popen(
        [sys.executable, "recipes/offline.py", "--data-dir", data_dir, "--output-dir", output, *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 120
    while not list(output.rglob(file)) and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=120)
    assert process.returncode == 130, stderr
    assert "Traceback" not in stderr
    return stdout + stderr


def test_ctrl_c_keeps_what_was_computed(trained, data_dir, tmp_path):
    said = interrupted(data_dir, tmp_path, "train.csv")
    assert "Interrupted at update" in said
    (path,) = (tmp_path / ENV / "deflow").glob("seed0-*")
    assert str(path) in said
    run = deflow.Run.open(path)
    (step,) = (int(folder.name) for folder in (path / "checkpoints").iterdir() if folder.name.isdigit())
    assert step >= run.read("train")["step"][-1] > 0
    assert deflow.load(path)(np.zeros(28, np.float32), key=jax.random.key(0)).shape == (5,)


def test_ctrl_c_before_the_first_update(trained, data_dir, tmp_path):
    interrupted(data_dir, tmp_path, "config.json")


def test_collect_says_what_it_collected(trained, data_dir):
    outcome = recipe("collect", "--env", ENV, "--rows", 1000, "--data-dir", data_dir)
    assert outcome.returncode == 0, outcome.stderr
    assert "1,000 transitions" in outcome.stdout
    assert re.search(r"task2: [\d,]+ transitions", outcome.stdout)
    assert "Next: python recipes/offline.py" in outcome.stdout


def test_benchmark_prints_json(tmp_path):
    file = tmp_path / "benchmark.json"
    sizes = ["--rounds", 2, "--seconds", 0.05, "--width", 8, "--depth", 1, "--batch-size", 4, "--rows", 50]
    outcome = recipe("benchmark", *sizes, "--seeds", 1, 2, "--output", file)
    assert outcome.returncode == 0, outcome.stderr
    measured = json.loads(outcome.stdout)
    assert measured == json.loads(file.read_text())
    assert set(measured["ratio_to_plain"]) == {"float32", "bfloat16"}
    assert set(measured["cost_per_seed"]) == {"1", "2"}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--env", "cube-single-ply-singletask-task2-v0"], "did you mean 'cube-single-play-singletask-task2-v0'"),
        (["--env", "CartPole-v1"], "takes actions of Discrete"),
        (["--steps", "0"], "--steps must be at least 1, got 0"),
        (["--seeds", "1", "1"], "--seeds must be different"),
        (["--learning-rate", "-1"], "--learning-rate must be positive"),
        (["--solver.steps", "0"], "must be at least 1"),
        (["--output-dir", "{file}/below"], "{file}"),
        (["--data", "collected", "--data-dir", "{file}/below"], "{file}"),
        (["--data", "{file}"], "{file}"),
        (["--data", "{missing}"], "There is no data file"),
        (["trust-region:none"], "The constraint 'dual' needs a trust region with a finite bound"),
        (["critic:none"], "The critic 'none' has no value"),
    ],
)
def test_mistakes_get_one_sentence_before_any_work(arguments, expected, tmp_path, monkeypatch, capfd):
    file, missing = tmp_path / "file.npz", tmp_path / "missing.npz"
    file.write_bytes(b"not an archive")
    filled = [argument.format(file=file, missing=missing) for argument in arguments]
    outcome = in_process("offline", ["--output-dir", str(tmp_path / "runs"), *filled], monkeypatch, capfd)
    message = " ".join(refused(outcome).split())
    assert expected.format(file=file) in message
    assert not list(tmp_path.rglob("config.json"))


def test_no_network_and_no_file_says_what_to_run(tmp_path):
    environment = {"DEFLOW_DATA_URL": "http://127.0.0.1:9", "HOME": str(tmp_path)}
    outcome = recipe("offline", "--data-dir", tmp_path, "--output-dir", tmp_path, environment=environment)
    assert "recipes/collect.py" in refused(outcome)

"""Every recipe, tiny but real: MuJoCo, OGBench's oracles, spawned workers, checkpoints, signals.

Each is run as a user does, by a command; what it says and does a second time is looked at in this process.
"""

import json
import os
import re
import runpy
import shutil
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import jax
import numpy as np
import pytest
from in_process import recipe as again
from logged import assert_both
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import deflow

ROOT = Path(__file__).parents[1]
ENV = "cube-single-play-singletask-task2-v0"
TINY = [
    *("--data", "collected", "--rows", "1000", "--steps", "30", "--eval-every", "20", "--log-every", "10"),
    *("--episodes", "2", "--batch-size", "8", "--workers", "1"),
    *("--field.width", "8", "--field.depth", "1", "--refiner.width", "8", "--refiner.depth", "1"),
]


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
    monkeypatch.setattr(sys, "argv", [str(ROOT / "recipes" / f"{name}.py"), *arguments])
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)  # the recipe replaces it
    monkeypatch.setenv("COLUMNS", "400")
    monkeypatch.syspath_prepend(ROOT / "recipes")  # as for a script
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a tiny set holds no success is none of these tests' business
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
    outcome = recipe("offline", *arguments, "--critic.width", 8, "--critic.depth", 1, "--log", "tensorboard", "wandb")
    assert outcome.returncode == 0, outcome.stderr
    return outcome, sorted((output / ENV / "deflow").glob("seed*"))


def test_the_loggers_have_the_rows_the_configuration_and_the_picture(trained):
    for seed, path in enumerate(trained[1]):
        assert_both(deflow.Run.open(path))
        events = EventAccumulator(str(path / "tensorboard")).Reload()
        assert [picture.step for picture in events.Images("report")] == [30]
        start = events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
        assert b"options.batch_size" in start
        assert len(list(path.glob("wandb/offline-run-*/files/media/images/report*.png"))) == 1
        assert f"seed{seed}" in path.name


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
    action = policy.act(np.zeros(28, np.float32), key=jax.random.key(0))
    assert action.shape == (5,)
    assert np.all(np.abs(action) <= 1)
    other = deflow.load(trained[1][1]).act(np.zeros(28, np.float32), key=jax.random.key(0))
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
    outcome = again(
        "offline", "flow-bc", "--data-dir", data_dir, "--output-dir", tmp_path, *TINY[:-4]
    )  # flow-bc has no refiner
    assert outcome.returncode == 0, outcome.stderr
    assert {path: path.stat().st_mtime_ns for path in data_dir.rglob("*.npz")} == before
    (path,) = (tmp_path / ENV / "flow-bc").glob("seed0-*")
    assert "training/critic_loss" in deflow.Run.open(path).read("train")
    assert deflow.load(path).agent.refiner == deflow.refiners.NoRefiner()


def test_a_users_trust_region_by_import(trained, data_dir, tmp_path, monkeypatch, capfd):
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
    assert "the trust region 'diamond'" in refused(in_process("evaluate", [str(path)], monkeypatch, capfd))
    assert recipe("evaluate", path, "--import", parts, "--episodes", 1, "--workers", 1).returncode == 0


def interrupted(data_dir, output, file):
    """A long training that is asked to end as soon as `file` is there."""
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
    (path,) = (tmp_path / ENV / "deflow").glob("seed0-*")
    assert f"saved in {path}. Go on with: python recipes/resume.py {path}" in said
    run = deflow.Run.open(path)
    step = run.checkpoints.steps()[-1]
    assert step >= run.read("train")["step"][-1] > 0
    assert deflow.load(path).act(np.zeros(28, np.float32)).shape == (5,)
    # And on from there, to an end that is near now.
    outcome = again("resume", path, "--steps", step + 20)
    assert outcome.returncode == 0, outcome.stderr
    assert run.checkpoints.steps()[-1] == step + 20
    assert list(run.read("train")["step"])[-1] == step + 20


def test_ctrl_c_before_the_first_update(trained, data_dir, tmp_path):
    interrupted(data_dir, tmp_path, "config.json")


# --- offline to online


@pytest.fixture(scope="module")
def online(trained, data_dir, tmp_path_factory):
    """From the offline runs of two seeds, the flow frozen, ended by SIGTERM and continued."""
    output = tmp_path_factory.mktemp("online")
    arguments = [*("--from", *trained[1]), "--online-steps", 60, "--freeze", "field", "--save-every", 10]
    schedule = ["--eval-every", 40, "--log-every", 10, "--episodes", 1, "--batch-size", 8, "--workers", 1]
    schedule += ["--log", "tensorboard", "wandb"]
    process = subprocess.Popen(
        [sys.executable, "recipes/offline_to_online.py", *map(str, [*arguments, *schedule, "--output-dir", output])],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "COLUMNS": "200"},
        text=True,
    )
    deadline = time.monotonic() + 200
    while not list(output.glob("*/*/seed*/checkpoints/4*")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 143, said
    paths = sorted((output / ENV / "deflow").glob("seed*"))
    outcome = again("resume", paths[1])
    assert outcome.returncode == 0, outcome.stderr
    for path in paths:
        assert_both(deflow.Run.open(path))
    return said, outcome, paths


def test_offline_to_online(trained, online):
    said, _, paths = online
    for fact in ("60 environment steps", "the flow frozen", "1,000 + 2 x 60 transitions", "on the device"):
        assert fact in said
    assert len(paths) == 2
    for path, before in zip(paths, trained[1], strict=True):
        run = deflow.Run.open(path)
        assert run.config["online_from"] == 30
        assert list(run.read("eval")["step"]) == [20, 30, 40, 80, 90]
        train = run.read("train")
        assert list(train["step"]) == list(range(10, 91, 10))
        assert np.isfinite(train["training/critic_loss"]).all()
        assert np.isnan(train["training/flow_loss"][3:]).all()
        assert (path / "report.png").stat().st_size > 10_000
        frozen, now = deflow.load(before).agent, deflow.load(path).agent
        for left, right in zip(jax.tree.leaves(frozen.field), jax.tree.leaves(now.field), strict=True):
            np.testing.assert_array_equal(left, right)
        assert np.any(frozen.refiner.network.layers[0].weight != now.refiner.network.layers[0].weight)


def test_the_best_is_kept_apart(online):
    path = online[2][0]
    (best,) = deflow.Run.open(path).best.steps()
    outcome = again("evaluate", path, "--step", "best", "--episodes", 1, "--workers", 1)
    assert outcome.returncode == 0, outcome.stderr
    assert f"at step {best:,}" in outcome.stdout


def test_a_finished_run_says_so_again(online):
    path = online[2][0]
    before = (path / "eval.csv").read_text()
    outcome = again("resume", path)
    assert outcome.returncode == 0, outcome.stderr
    assert "mean of 2" in outcome.stdout
    assert (path / "eval.csv").read_text() == before


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--batch-size", "4"], "--batch-size is 8 in the run to be continued, got 4"),
        (["--critic.target-rate", "0.1"], "The critic differs from that of the run to be continued"),
        (["--seeds", "3"], "--seeds is 0 1 in the run to be continued, got 3"),
        (["--stepps", "40"], "Did you mean --steps?"),
        (["--rows", "2000"], "--rows is 1000 in the run to be continued, got 2000"),
    ],
)
def test_what_may_not_change_when_a_run_is_continued(trained, arguments, expected, monkeypatch, capfd):
    outcome = in_process("offline", ["--resume", str(trained[1][0]), *arguments], monkeypatch, capfd)
    assert expected in " ".join(refused(outcome).split())


def test_a_run_of_an_earlier_version_goes_on(trained, tmp_path, monkeypatch, capfd):
    """Its parts name another version, and lack a field that was added since: neither is a difference."""
    runs = shutil.copytree(trained[1][0].parent, tmp_path / "deflow")
    for file in runs.glob("seed*/config.json"):
        config = json.loads(file.read_text())
        agent = config["config"]["agent"]
        for part in agent.values():
            if isinstance(part, dict):
                part["from"] = "deflow 0.0.1"
        del agent["constraint"]["fields"]["speed"], agent["flow_weight"]
        file.write_text(json.dumps(config))
    path = runs / trained[1][0].name
    outcome = in_process("offline", ["--resume", str(path), "--critic.target-rate", "0.1"], monkeypatch, capfd)
    assert "The critic differs" in refused(outcome)
    outcome = again("offline", "--resume", path)
    assert outcome.returncode == 0, outcome.stderr
    assert "mean of 2" in outcome.stdout


def test_what_cannot_be_continued(trained, online, tmp_path, monkeypatch, capfd):
    outcome = in_process("offline", ["--resume", str(tmp_path)], monkeypatch, capfd)
    assert f"{tmp_path} is not a run" in refused(outcome)
    outcome = in_process("offline", ["--resume", str(online[2][0])], monkeypatch, capfd)
    assert "was made by python recipes/offline_to_online.py" in refused(outcome)
    outcome = in_process("offline_to_online", ["--from", str(trained[1][0]), "--seeds", "5"], monkeypatch, capfd)
    assert "--seeds must be those of the runs given by --from, got 5" in refused(outcome)
    outcome = in_process("offline_to_online", ["--from", str(trained[1][0]), "--capacity", "99"], monkeypatch, capfd)
    assert "capacity of 99 transitions is smaller than the dataset's 1,000" in refused(outcome)
    outcome = in_process("resume", [], monkeypatch, capfd)
    assert "Give the run to continue" in refused(outcome)


def test_other_data_is_refused(trained, tmp_path, monkeypatch, capfd):
    """The file that the run was trained on is another one now."""
    path = shutil.copytree(trained[1][0].parent, tmp_path / "deflow") / trained[1][0].name
    config = json.loads((path / "config.json").read_text())
    config["config"]["data"]["sha256"] = "0" * 64
    (path / "config.json").write_text(json.dumps(config))
    outcome = in_process("offline", ["--resume", str(path)], monkeypatch, capfd)
    assert "was trained on data with sha256 000000000000, but" in refused(outcome)


def test_collect_says_what_it_collected(trained, data_dir):
    outcome = again("collect", "--env", ENV, "--rows", 1000, "--data-dir", data_dir)
    assert outcome.returncode == 0, outcome.stderr
    assert "1,000 transitions" in outcome.stdout
    assert re.search(r"task2: [\d,]+ transitions", outcome.stdout)
    assert "Next: python recipes/offline.py" in outcome.stdout


def test_benchmark_scale_counts_real_arrays(tmp_path):
    file = tmp_path / "scale.json"
    sizes = ["--width", 8, "--depth", 1, "--batch-size", 4, "--rows", 50, "--proposals", 2, "--seeds", 3]
    outcome = recipe("benchmark_scale", *sizes, "--episodes", 0, "--collected", 0, "--output", file)
    assert outcome.returncode == 0, outcome.stderr
    measured = json.loads(outcome.stdout)
    assert measured == json.loads(file.read_text())
    learner = measured["learner"]
    assert learner["bytes"] == sum(learner["agent"].values()) + learner["optimizer"] + 4  # and the number of updates
    assert learner["optimizer"] > 2 * 4 * learner["parameters"]  # Adam's two averages
    assert measured["data"] == {"bytes_of_a_transition": 252, "bytes_of_a_states_proposals": 40}
    for found in measured["programs"].values():
        assert found["3"]["learner"] == 3 * learner["bytes"]
        assert found["3"]["results"] > 3 * learner["bytes"]
        assert found["3"]["temporary"] > 0
    sources = {name: found["3"]["source"] for name, found in measured["programs"].items()}
    assert sources["joint"] == sources["from proposals"] - 51 * 40 - 2 * 4 * 50 - 8 == 50 * 252
    process = measured["process_bytes"]
    assert 0 < process["before"] <= process["3"]


def test_benchmark_prints_json(tmp_path):
    file = tmp_path / "benchmark.json"
    sizes = ["--rounds", 2, "--seconds", 0.05, "--width", 8, "--depth", 1, "--batch-size", 4, "--rows", 50]
    outcome = recipe("benchmark", *sizes, "--seeds", 1, 2, "--output", file)
    assert outcome.returncode == 0, outcome.stderr
    measured = json.loads(outcome.stdout)
    assert measured == json.loads(file.read_text())
    assert set(measured["ratio_to_plain"]) == {"float32", "bfloat16"}
    assert set(measured["cost_per_seed"]) == {"1", "2"}
    assert set(measured["from_proposals"]["ratio_to_plain"]) == {"deflow", "deflow, 4 in the target", "fql"}
    assert all(one > 0 for acting in measured["acting"].values() for one in acting.values())


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--env", "cube-single-ply-singletask-task2-v0"], "did you mean 'cube-single-play-singletask-task2-v0'"),
        (["--env", "CartPole-v1"], "has actions of Discrete"),
        (["--steps", "0"], "--steps must be at least 1, got 0"),
        (["--seeds", "1", "1"], "--seeds must be different"),
        (["--learning-rate", "-1"], "--learning-rate must be positive"),
        (["--field-learning-rate", "inf"], "--field-learning-rate must be positive and finite, got inf"),
        (["--solver.steps", "0"], "must be at least 1"),
        (["--output-dir", "{file}/below"], "{file}"),
        (["--data", "collected", "--data-dir", "{file}/below"], "{file}"),
        (["--data", "{file}"], "{file}"),
        (["--data", "{missing}"], "does not exist: check its path"),
        (["trust-region:none"], "The constraint 'DualConstraint' would have no effect"),
        (["critic:none"], "The critic 'none' has no value"),
        (["--save-every", "0"], "--save-every must be at least 1, got 0"),
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

"""Python 3.12 with the newest versions that pyproject.toml allows, where constraints.txt has no say.

What the package index offers changes, and this test with it: `pytest -m 'not newest'` leaves it out.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from test_recipes import ENV

ROOT = Path(__file__).parents[1]
VERSION = "3.12"


def works(program):
    """Whether it is this Python: one of pyenv's stand-ins may be there, and fail."""
    code = "import sys, venv; print('%d.%d' % sys.version_info[:2])"
    done = subprocess.run([program, "-c", code], capture_output=True, text=True, check=False)
    return done.returncode == 0 and done.stdout.strip() == VERSION


def python():
    """A Python of this version: the one that runs, one on the path, or one of pyenv's; None if there is none."""
    on_path = shutil.which(f"python{VERSION}")
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    found = [sys.executable, *([on_path] if on_path else []), *sorted(pyenv.glob(f"{VERSION}.*/bin/python"))]
    return next(filter(works, found), None)


SMOKE = """
import contextlib, io, sys, warnings
warnings.filterwarnings("error", module=r"deflow\\b")
import jax, numpy as np
import deflow
from deflow.__main__ import main

env, data_dir = sys.argv[1:]
sys.argv = ["deflow", "--help"]
with contextlib.redirect_stdout(io.StringIO()) as said:
    assert main() == 0 and "offline-to-online" in said.getvalue()
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # that a tiny set holds no success
    task = deflow.load_task(env, deflow.Collected(rows=1000), data_dir=data_dir, workers=1)
config = deflow.agent_config("deflow", width=8, depth=1)
learner = deflow.Learner.create(config, task.spec, task.train, key=jax.random.key(0))
run = deflow.create_run("runs", task, config, learner, seed=0)
for step, learner, metrics in deflow.train_offline(learner, task.train, steps=20, key=jax.random.key(1), batch_size=8):
    assert all(np.isfinite(value) for value in metrics.values())
run.save(step, learner)
with deflow.Evaluator(task, workers=1) as evaluator:
    print(evaluator(learner.agent, episodes=1, seed=0))
policy, observation = deflow.load(run.path).agent, task.train.observation[0]
actions = [agent(observation, key=jax.random.key(2)) for agent in (policy, learner.agent)]
assert np.array_equal(*actions)
print("smoke", sys.version.split()[0], jax.__version__, deflow.__file__)
"""


@pytest.mark.newest
@pytest.mark.timeout(1200)  # most of it is the download
def test_the_newest_versions_train_evaluate_save_and_load(tmp_path, data_dir):
    interpreter = python()
    if interpreter is None:
        pytest.skip(f"there is no Python {VERSION} on the path, nor one of pyenv's")
    variables = {name: value for name, value in os.environ.items() if name not in ("PIP_CONSTRAINT", "PYTHONPATH")}
    # The tests' own flags of XLA are those of the versions that they pass with.
    variables = {name: value for name, value in variables.items() if name != "XLA_FLAGS"}
    place = tmp_path / "environment"
    try:
        subprocess.run([interpreter, "-m", "venv", "--without-pip", place], check=True)
        pip = [sys.executable, "-m", "pip", "--python", place / "bin" / "python", "--disable-pip-version-check"]
        quick = ["--no-compile", "--only-binary", ":all:", "--retries", "1", "--timeout", "20"]
        wheel = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path]
        subprocess.run(wheel, cwd=ROOT, check=True, capture_output=True)
        (built,) = tmp_path.glob("*.whl")
        done = subprocess.run(
            [*pip, "install", *quick, built], env=variables, capture_output=True, text=True, check=False
        )
        if "(from versions: none)" in done.stderr:
            pytest.skip(f"the package index is not reached: {done.stderr.strip().splitlines()[-1]}")
        assert done.returncode == 0, done.stderr
        smoke = [place / "bin" / "python", "-c", SMOKE, ENV, data_dir]
        done = subprocess.run(smoke, cwd=tmp_path, env=variables, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert f"smoke {VERSION}." in done.stdout
        assert str(place) in done.stdout
    finally:
        shutil.rmtree(place, ignore_errors=True)  # a gigabyte

"""A run that an earlier version made (tests/old_run) loads here, and goes on as it would have gone on there."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import deflow

ROOT = Path(__file__).parents[1]
OLD = Path(__file__).parent / "old_run"


def test_an_old_run_acts_as_it_did():
    """Actions after 10 updates more than the checkpoint holds are compared below; here, that it loads."""
    policy = deflow.load(OLD / "run").agent
    assert policy.spec == deflow.Spec((3,), 1, horizon=200)
    action = policy(jnp.zeros(3), key=jax.random.key(0))
    assert action.shape == (1,)
    assert np.all(np.isfinite(action))


def test_an_old_run_is_resumed_and_ends_as_it_did(tmp_path):
    """Rows and actions agree with those of the old code to rounding."""
    run = shutil.copytree(OLD / "run", tmp_path / "run")
    outcome = subprocess.run(
        [sys.executable, ROOT / "recipes" / "resume.py", str(run)],
        cwd=OLD,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert outcome.returncode == 0, outcome.stderr
    got, wanted = (
        np.genfromtxt(path, delimiter=",", names=True) for path in (run / "train.csv", OLD / "expected_train.csv")
    )
    assert got.dtype.names == wanted.dtype.names
    for name in got.dtype.names:
        np.testing.assert_allclose(got[name], wanted[name], rtol=1e-4, atol=1e-5, err_msg=name)
    assert deflow.Run.open(run).best.steps() == [20]  # by return, since nothing says what success is
    expected = json.loads((OLD / "expected.json").read_text())
    policy, observation = deflow.load(run).agent, jnp.asarray(expected["observation"], jnp.float32)
    actions = [policy(observation, key=jax.random.key(seed)) for seed in range(len(expected["actions"]))]
    np.testing.assert_allclose(actions, expected["actions"], atol=1e-4)

"""Windows: means per seed, the same to the bit when they are written and read in the middle."""

import json
import math

import jax.numpy as jnp
import numpy as np
import pytest

from deflow.runs import Window


def test_means_per_seed():
    window = Window(2)
    window.add({"loss": jnp.array([1.0, 2.0]), "time": 0.5})
    window.add({"loss": np.array([3.0, 5.0], np.float32), "late": np.array([7, 8])})
    assert window.rows() == [{"loss": 2.0, "time": 0.5, "late": 7.0}, {"loss": 3.5, "time": 0.5, "late": 8.0}]
    assert window.rows() == [{}, {}]


def test_one_seed():
    window = Window()
    window.add({"loss": jnp.float32(0.1)})
    window.add({"loss": jnp.full((1,), 0.3, jnp.bfloat16)})
    assert window.rows() == [{"loss": (float(np.float32(0.1)) + float(jnp.bfloat16(0.3))) / 2}]


def test_shapes_are_refused():
    with pytest.raises(ValueError, match=r"'loss' must have shape \(\) or \(2,\), got \(3,\)"):
        Window(2).add({"loss": np.zeros(3)})


def test_seeds_without_a_value():
    window = Window(2)
    window.add({"return": np.array([np.nan, 4.0])}, skip_nan=True)
    assert window.to_json() == Window.from_json(window.to_json()).to_json()
    window.add({"return": np.array([np.nan, 2.0]), "loss": np.array([np.nan, 1.0])}, skip_nan=True)
    assert window.rows() == [{}, {"return": 3.0, "loss": 1.0}]


def test_values_are_taken_as_they_are_now():
    window, values = Window(2), np.zeros(2)
    window.add({"loss": values})
    values[:] = 9
    assert window.rows() == [{"loss": 0.0}] * 2


@pytest.mark.parametrize("saved_after", range(8))
def test_interrupted_anywhere_gives_the_same_bits(saved_after):
    random = np.random.default_rng(0)
    metrics = [
        {"loss": random.normal(size=3) * 10.0 ** random.integers(-9, 9, 3), "z": np.full(3, math.inf), "a": 0.1 * step}
        for step in range(8)
    ]
    metrics[5]["z"] = np.array([-math.inf, math.nan, 1e308])
    whole, interrupted = Window(3), Window(3)
    for step, each in enumerate(metrics):
        if step == saved_after:
            interrupted = Window.from_json(json.loads(json.dumps(interrupted.to_json(), allow_nan=False)))
        whole.add(each)
        interrupted.add(each)
    rows, other = whole.rows(), interrupted.rows()
    assert repr(rows) == repr(other)  # also the order of the columns
    assert math.isnan(rows[0]["z"])
    assert rows[2]["z"] == math.inf

"""Several devices: a training among them is one device's to rounding, and its checkpoints are anybody's."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
import several_devices
from several_devices import CASES, SEEDS, STEPS, continued, numbers, trained

from deflow import Devices
from deflow.errors import DeflowWarning
from deflow.replay import placement
from deflow.training.layouts import OneDevice

ROOT = Path(__file__).parents[1]


def on_devices(count, *command):
    """What a process says at last that sees so many devices."""
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={count}"
    variables = {**os.environ, "XLA_FLAGS": flags, "PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}"}
    done = subprocess.run([sys.executable, *map(str, command)], env=variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def four(tmp_path_factory):
    """All cases on four devices: the folder with their results, and what was said."""
    folder = tmp_path_factory.mktemp("four")
    continued(folder / "of-one", STEPS // 2, Devices())
    return folder, json.loads(on_devices(4, several_devices.__file__, folder).splitlines()[-1])


@pytest.fixture(scope="module")
def on_one():
    """The same learners on one device, trained when they are asked for."""
    known = {}

    def of(name):
        key, _, given = CASES[name]
        kind = key.shape, given.get("proposals")  # where data and proposals lie changes nothing
        if kind not in known:
            known[kind] = numbers(trained(key, Devices(), proposals=kind[1]))
        return known[kind]

    return of


def close(file, expected):
    with np.load(file) as found:
        assert len(found) >= len(expected)
        for left, right in zip(found.values(), expected, strict=False):
            np.testing.assert_allclose(left, right, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_on_four_devices_as_on_one(four, on_one, name):
    folder, said = four
    close(folder / f"{name}.npz", on_one(name))
    _, devices, _ = CASES[name]  # one with divided batches is handed out on one
    assert said[name] == (1 if devices.batch == "all" else 4 if devices.seeds == "all" else devices.seeds)


def test_seeds_do_not_communicate_and_a_batch_is_divided(four):
    _, said = four
    assert said["collectives"]["seeds"] == []
    assert "all-reduce" in said["collectives"]["batch"]
    assert said["work"] < 0.5 * several_devices.compiled(SEEDS[0], Devices()).cost_analysis()["flops"]
    assert said["gathered"] == 1  # as online training needs them


def test_seeds_exchange_rows_once_an_update_and_no_data_set_is_gathered(four):
    found, loops = four[1]["exchanges"]["seeds"]
    assert [(name, depth) for name, _, depth in found] == [("all-gather", 1), ("reduce-scatter", 1)]
    assert loops > 1  # the solver's loop is inside that over updates
    found, _ = four[1]["exchanges"]["batch"]
    assert {depth for _, _, depth in found} == {1}
    assert not [sizes for _, sizes, _ in found if {50, 52} & set(sizes)]


def test_a_data_set_lies_where_it_fits_and_a_share_on_each_device(four):
    said, row = four[1]["lying"], 4 * (3 + 2 + 1 + 1 + 3)
    little, batches = "less than 0.1 MB", 2 * 16 * row  # those of two updates, for one seed
    too_large = f"on the host, {little}, since it does not fit on the devices: an update moves 3 kB there"
    assert said == {
        "device": {"said": f"a copy on each of 4 devices, {little}", "size": 50 * row, "held": [50 * row] * 4},
        "divided": {"said": f"divided among 4 devices, {little} on each", "size": 500, "held": [13 * row] * 4},
        "host": {"said": too_large, "size": 50 * row, "held": [batches] * 4},
    }


def test_data_that_does_not_fit_on_the_one_device_stays_on_the_host(monkeypatch, on_one):
    expected, sent, place = on_one("batch"), [], OneDevice.source
    monkeypatch.setattr(placement, "free_memory", lambda: 1_500)  # the thirty transitions take 1,200
    monkeypatch.setattr(OneDevice, "source", lambda self, source: (sent.append(source), place(self, source))[1])
    after = trained(SEEDS[0], Devices())
    assert [source.batches.reward.shape for source in sent] == [(10, 16), (10, 16)]
    for left, right in zip(numbers(after), expected, strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-5, atol=1e-5)


def test_a_checkpoint_goes_on_anywhere(four, on_one):
    folder, said = four
    assert said["begun"] == STEPS // 2
    close(folder / "continued.npz", on_one("seeds"))  # from one device to four
    begun, after = continued(folder / "of-several", STEPS, Devices())
    assert begun == STEPS // 2
    for left, right in zip(numbers(after), on_one("seeds"), strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-5, atol=1e-5)


def test_on_eight_devices(tmp_path, on_one):
    said = json.loads(on_devices(8, several_devices.__file__, tmp_path, "eight", "batch").splitlines()[-1])
    close(tmp_path / "batch.npz", on_one("batch"))
    close(tmp_path / "eight.npz", on_one("seeds"))  # the first four seeds, which do not depend on the others
    assert said["eight"] == 8


def test_what_lies_on_the_one_device_is_not_copied():
    learner = several_devices.learner(SEEDS)
    arrays = [leaf for leaf in jax.tree.leaves(learner) if isinstance(leaf, jax.Array)]
    layout = Devices().layout(4, 16)
    assert all(left is right for left, right in zip(layout.place(arrays), arrays, strict=True))
    data = several_devices.DATA.on_device()
    assert layout.source(several_devices.Dataset(data)).data.reward is data.reward


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"seeds": 9}, "9 devices were asked for, and JAX finds 1 here: give at most that, or all."),
        ({"batch": 2}, "2 devices were asked for, and JAX finds 1 here: give at most that, or all."),
        ({"seeds": 0}, "A number of devices must be at least 1, got 0."),
    ],
)
def test_refuses(asked, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        Devices(**asked).layout(4, 16)


def test_refuses_what_devices_do_not_divide(monkeypatch):
    monkeypatch.setattr(jax, "device_count", lambda: 4)
    with pytest.raises(ValueError, match=r"^4 devices do not divide a batch of 30 transitions: give a multiple of 4,"):
        Devices(batch=4).layout(None, 30)
    with pytest.raises(ValueError, match=r"^Devices divide either seeds or batches, got 2 for the seeds and 4 for the"):
        Devices(seeds=2, batch="all").layout(2, 16)


@pytest.mark.parametrize(("backend", "used"), [("cpu", (1, 1)), ("gpu", (4, 1))])
def test_accelerators_are_used_unasked(monkeypatch, backend, used):
    monkeypatch.setattr(jax, "device_count", lambda: 4)
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    assert Devices().used(8, 16) == used
    assert Devices(batch=2).used(8, 16) == (1, 2)


@pytest.mark.parametrize(("seeds", "used"), [(None, 1), (1, 1), (2, 2), (3, 3), (4, 4), (5, 1), (6, 3), (8, 4), (9, 3)])
def test_the_largest_number_of_devices_that_divides_the_seeds(monkeypatch, seeds, used):
    monkeypatch.setattr(jax, "device_count", lambda: 4)
    asked = Devices(seeds="all")
    assert asked.used(seeds, 16) == (used, 1)
    idle = f"{seeds} seeds do not divide among 4 devices, so they use {used}." if used < min(4, seeds or 1) else ""
    assert asked.remainder(seeds) == idle
    if seeds == 5:  # and its layout, one device, says so
        with pytest.warns(DeflowWarning, match=f"^{idle}$"):
            asked.layout(seeds, 16)

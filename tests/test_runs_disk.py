"""A disk that is really full: training continues, older checkpoints stay, and all is well once there is space."""

import subprocess
import warnings

import numpy as np
import pytest

from deflow.errors import RunError, RunWarning
from deflow.runs import RunGroup, writable_directory

LIKE = {"x": np.zeros(25_000)}  # 0.2 MB


@pytest.fixture
def disk(tmp_path):
    """A directory on a disk of 2 MB."""
    path = tmp_path / "disk"
    path.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(path)]
    try:
        mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        pytest.skip(f"no small disk to fill: {error}")
    if mounted.returncode:
        pytest.skip(f"no small disk to fill: {mounted.stderr.strip()}")
    yield path
    subprocess.run(["umount", "--lazy", str(path)], check=True)


def fill(path):
    """Write until nothing fits any more."""
    for size in (1 << 16, 1):
        with open(path, "ab", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                pass


def train(group, step):
    group.log(step, [{"training/loss": step / 3}] * 2)
    group.save(step, [{"x": np.full(25_000, step + index)} for index in (0.0, 0.5)], [{}, {}])
    group.save_best(step, [step, step], [LIKE, LIKE], [{}, {}])
    group.wait()


def test_full_disk(disk):
    group = RunGroup.create(disk, environment="e", algorithm="a", seeds=(0, 1), config={}, keep=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train(group, 1)
        train(group, 2)
    fill(disk / "filler")
    # The first line that fits no more may be cut: it must not show in the file.
    for step in (*range(3, 6), *range(1000, 1003)):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            train(group, step)
        assert {warning.category for warning in caught} == {RunWarning}
        said = [str(warning.message) for warning in caught]
        assert all("No space left on device" in sentence and "training continues, and" in sentence for sentence in said)
        assert sum(sentence.endswith("the last intact checkpoint is that of step 2.") for sentence in said) == 1
        assert sum(sentence.endswith("the previous best is kept.") for sentence in said) == 1
    with pytest.raises(RunError, match="No space left on device"):
        writable_directory(disk)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        restored = RunGroup.open(group.runs[0].path).restore(LIKE)
        assert [run.best.restore(LIKE)[2] for run in group.runs] == [2, 2]
    assert restored[2] == 2
    assert [state["x"][0] for state in restored[0]] == [2.0, 2.5]
    (disk / "filler").unlink()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train(group, 1003)
        group.close()
    steps = [1, 2, 3, 4, 5, 1000, 1001, 1002, 1003]
    for run in group.runs:
        assert run.read("train")["step"].tolist() == steps
        assert run.read("train")["training/loss"].tolist() == [step / 3 for step in steps]
        assert run.checkpoints.steps() == run.best.steps() == [1003]
    assert len(group.failures) == 6 * 2  # each time once the checkpoints, and once the best
    assert sorted(path.name for path in (group.runs[0].path / "checkpoints").iterdir()) == ["1003"]


def test_a_full_disk_at_the_start(disk):
    fill(disk / "filler")
    with pytest.raises(RunError, match="No space left on device"):
        RunGroup.create(disk, environment="e", algorithm="a", seeds=(0, 1), config={})

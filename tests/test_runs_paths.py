"""Paths that other libraries read as patterns or markup, and saves that leave less than they say."""

import jax.numpy as jnp
import numpy as np
import pytest

from deflow.errors import CheckpointError, RunError
from deflow.runs import Checkpoints, storage
from deflow.runs.logs import MetricLog

STATE = {"weights": jnp.arange(6.0).reshape(2, 3), "rows": np.arange(4), "none": np.zeros(0)}


@pytest.mark.parametrize("name", ["lr [a]", "[0-9]", "a*b?", "]x[", "naïve ünï 漢", "a{b}", "50% #1 & more"])
def test_checkpoints_are_kept_in_folders_of_any_name(tmp_path, name):
    folder = Checkpoints(tmp_path / name / "checkpoints")
    folder.directory.parent.mkdir()
    folder.save(1, STATE, {"note": name})
    folder.save(2, STATE, {"note": name})
    state, notes, step = folder.restore(STATE)
    assert (notes, step) == ({"note": name}, 2)
    for key, value in STATE.items():
        np.testing.assert_array_equal(state[key], value)
    assert sorted(path.name for path in folder.directory.iterdir()) == ["1", "2"]  # nothing is left over


def test_a_save_that_loses_an_array_is_no_checkpoint(tmp_path, monkeypatch):
    """Whatever the cause: what was written is opened before an older checkpoint goes."""
    folder = Checkpoints(tmp_path / "checkpoints")
    folder.save(1, STATE, {})
    write = storage.write
    monkeypatch.setattr(storage, "write", lambda new, arrays, notes: write(new, {"rows": arrays["['rows']"]}, notes))
    with pytest.raises(CheckpointError, match=r"Cannot save the checkpoint of step 1 .* is not in what was written"):
        folder.save(1, STATE, {})
    monkeypatch.undo()
    assert folder.restore(STATE)[2] == 1
    assert [path.name for path in folder.directory.iterdir()] == ["1"]


def test_only_a_full_disk_is_told_to_free_space(tmp_path, monkeypatch):
    folder = Checkpoints(tmp_path / "checkpoints")
    for error, words in (
        (OSError(28, "No space left on device"), "free space"),
        (OSError(13, "Permission denied"), "can be written"),
    ):
        monkeypatch.setattr(storage, "write", lambda *_, error=error: (_ for _ in ()).throw(error))
        with pytest.raises(CheckpointError, match=words):
            folder.save(1, STATE, {})


@pytest.mark.parametrize("line", ["9" * 20 + ",1", "2," + "1" * 200_000, "2,x"], ids=["large", "long", "text"])
def test_a_line_that_cannot_be_read_is_said(tmp_path, line):
    path = tmp_path / "eval.csv"
    path.write_text(f"step,evaluation/success\n1,0.5\n{line}\n")
    with pytest.raises(RunError, match=r"cannot be read .* remove or repair the damaged lines"):
        MetricLog(path).read()


def test_a_byte_order_mark_is_no_column(tmp_path):
    path = tmp_path / "train.csv"
    path.write_bytes(b"\xef\xbb\xbfstep,training/loss\n1,0.5\n")
    log = MetricLog(path)
    log.append(2, {"training/loss": 0.25})
    assert list(log.read()) == ["step", "training/loss"]
    assert log.read()["step"].tolist() == [1, 2]

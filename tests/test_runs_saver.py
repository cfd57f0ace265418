"""Saves beside training: what was there when `save` was called is written, and no failure ends the training."""

import errno
import shutil
import threading
import time
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from deflow.errors import RunWarning
from deflow.runs import Best, Checkpoints, Saver, checkpoints, storage

LIKE = {"x": np.zeros(4)}


@pytest.fixture
def folders(tmp_path):
    return [Checkpoints(tmp_path / "one"), Checkpoints(tmp_path / "two")]


@pytest.fixture(autouse=True)
def no_other_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def state(value):
    return {"x": np.full(4, float(value))}


def save(saver, step, states=None):
    states = states or [state(step) for _ in saver.folders]
    saver.save(step, states, [{"step": step} for _ in states])
    saver.wait()


def fill_disk(monkeypatch, full, kind=OSError(errno.ENOSPC, "No space left on device")):
    """Writing below the directories in `full`, which may be changed later, fails from now on."""
    write = storage.write

    def failing(directory, arrays, notes):
        if any(folder in directory.parents for folder in full):
            raise kind
        write(directory, arrays, notes)

    monkeypatch.setattr(checkpoints.storage, "write", failing)


def test_what_is_written_is_what_was_there(folders, monkeypatch):
    go, write = threading.Event(), storage.write
    monkeypatch.setattr(checkpoints.storage, "write", lambda *arguments: (go.wait(60), write(*arguments)))
    buffer, donated = np.arange(4.0), jnp.arange(3.0)
    saver = Saver(folders)
    saver.save(5, [{"x": buffer}, {"y": donated, "key": jax.random.key(3)}], [{"a": 1}, {"a": 2}])
    assert [folder.steps() for folder in folders] == [[], []]
    buffer[:] = -1
    jax.jit(lambda x: x - 100, donate_argnums=0)(donated).block_until_ready()
    go.set()
    saver.wait()
    assert folders[0].restore(LIKE)[0]["x"].tolist() == [0, 1, 2, 3]
    restored, notes, step = folders[1].restore({"y": jnp.zeros(3), "key": jax.random.key(0)})
    assert restored["y"].tolist() == [0, 1, 2]
    assert jax.random.key_data(restored["key"]).tolist() == jax.random.key_data(jax.random.key(3)).tolist()
    assert (notes, step) == ({"a": 2}, 5)


def test_a_save_waits_for_the_one_before_and_says_what_it_cost(folders, monkeypatch):
    write = storage.write
    monkeypatch.setattr(checkpoints.storage, "write", lambda *arguments: (time.sleep(0.2), write(*arguments)))
    saver = Saver(folders)
    for step in (1, 2):
        saver.save(step, [state(step)] * 2, [{}] * 2)
    assert [folder.steps() for folder in folders] == [[1], [1]]
    saver.wait()
    assert [folder.steps() for folder in folders] == [[1, 2], [1, 2]]
    assert [(cost.step, cost.bytes) for cost in saver.costs] == [(1, 64), (2, 64)]
    assert saver.costs[0].blocked < 0.2 < saver.costs[1].blocked


def test_the_last_steps_are_kept(folders):
    saver = Saver(folders, keep=2)
    for step in range(5):
        save(saver, step)
    assert [folder.steps() for folder in folders] == [[3, 4], [3, 4]]
    assert sorted(path.name for path in folders[0].directory.iterdir()) == ["3", "4"]
    save(saver, 5, [state(5), None])
    assert [folder.steps() for folder in folders] == [[4, 5], [3, 4]]
    save(saver, 6, [None, None])
    assert saver.failures == []
    with pytest.raises(ValueError, match="keep must be at least 1"):
        Saver(folders, keep=0)


def test_steps_beyond_are_left_alone(folders):
    """After going back they are of another future: the next save of that step replaces them."""
    saver = Saver(folders, keep=1)
    for step in (7, 3, 4):
        save(saver, step)
    assert folders[0].steps() == [4, 7]


def test_failures_are_said_and_healed(folders, monkeypatch):
    full = {folders[1].directory}
    fill_disk(monkeypatch, full)
    saver = Saver(folders, keep=2)
    for step in (1, 2):
        with pytest.warns(RunWarning, match="training continues, and there is no intact checkpoint yet") as caught:
            save(saver, step)
        assert len(caught) == 1
    full.clear()
    for step in (3, 4):
        save(saver, step)
    assert [folder.steps() for folder in folders] == [[3, 4], [3, 4]]
    full.update(folder.directory for folder in folders)
    with pytest.warns(
        RunWarning, match=r"step 5 .*No space left.*\(and 1 more like it\).* is that of step 4\.$"
    ) as caught:
        save(saver, 5)
    full.remove(folders[0].directory)
    for step in (6, 7, 8):  # what only one folder has does not push out what both have, nor pile up
        with pytest.warns(RunWarning, match="that of step 4"):
            save(saver, step)
    assert [folder.steps() for folder in folders] == [[3, 4, 8], [3, 4]]
    full.clear()
    save(saver, 9)
    assert [folder.steps() for folder in folders] == [[4, 9], [4, 9]]
    assert len(saver.failures) == 6
    assert all(sentence.count("\n") == 0 for sentence in saver.failures)
    assert saver.failures[2] == str(caught[0].message)


def test_the_only_sound_one_is_never_removed(folders, monkeypatch):
    full = set()
    fill_disk(monkeypatch, full)
    saver = Saver(folders, keep=1)
    save(saver, 1)
    for folder in folders:
        folder.save(2, state(2), {})
        (folder.directory / "2" / "manifest.json").write_text("{}")
    full.add(folders[0].directory)
    with pytest.warns(RunWarning, match="that of step 1"):
        save(saver, 3)
    assert folders[0].restore(LIKE, 1)[2] == 1


def test_a_directory_that_vanishes_is_not_made_again(tmp_path):
    (tmp_path / "run").mkdir()
    saver = Saver([Checkpoints(tmp_path / "run" / "checkpoints")])
    save(saver, 1)
    shutil.rmtree(tmp_path / "run")
    with pytest.warns(RunWarning, match=r"step 2 .*No such file.*no intact checkpoint"):
        save(saver, 2)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("bad", [np.array([object()]), "donated"])
def test_what_cannot_be_copied(folders, bad):
    if isinstance(bad, str):
        bad = jnp.ones(4)
        bad.delete()
    saver = Saver(folders[:1])
    with pytest.warns(RunWarning, match=r"step 1: .*training continues"):
        save(saver, 1, [{"x": bad}])
    save(saver, 2)
    assert folders[0].steps() == [2]


@pytest.mark.parametrize("error", [SystemExit(3), ZeroDivisionError("what?")])
def test_no_exception_of_the_thread_is_lost(folders, monkeypatch, error):
    monkeypatch.setattr(Saver, "_prune", lambda *_, **__: (_ for _ in ()).throw(error))
    saver = Saver(folders)
    with pytest.warns(RunWarning, match=f"step 1: {type(error).__name__}.*training continues"):
        save(saver, 1)
    assert len(saver.failures) == 1


def test_warnings_as_errors_end_nothing(folders, monkeypatch):
    fill_disk(monkeypatch, {folders[0].directory})
    saver = Saver(folders)
    save(saver, 1)  # warnings are errors here
    assert len(saver.failures) == 1


def test_no_threads(folders, monkeypatch):
    saver = Saver(folders)
    monkeypatch.setattr(threading.Thread, "start", lambda _: (_ for _ in ()).throw(RuntimeError("can't start")))
    with pytest.warns(RunWarning, match="can't start"):
        save(saver, 1)
    monkeypatch.undo()
    save(saver, 2)
    assert folders[0].steps() == [2]


# --- the best


def best(keeper, step, *scores):
    keeper.save(step, scores, [state(step) for _ in scores], [{"step": step} for _ in scores])
    keeper.wait()


def test_the_best_is_kept(folders):
    keeper = Best(folders)
    best(keeper, 1, 0.5, 0.0)
    best(keeper, 2, 0.5, 0.25)  # strictly higher only
    best(keeper, 3, float("nan"), 0.1)
    assert [folder.steps() for folder in folders] == [[1], [2]]
    assert folders[1].restore(LIKE)[1] == {"step": 2, "score": 0.25}
    resumed = Best(folders)
    assert resumed.scores == [0.5, 0.25]
    best(resumed, 4, 0.5, 0.5)
    assert [folder.steps() for folder in folders] == [[1], [4]]
    resumed.save(5, [1.0, 1.0], [None, state(5)], [{}, {}])
    resumed.wait()
    assert [folder.steps() for folder in folders] == [[1], [5]]
    best(resumed, 2, 2.0, 0.0)  # gone back: a better one of an earlier step
    assert folders[0].steps() == [2]
    assert resumed.failures == []


def test_a_best_that_cannot_be_written(folders, monkeypatch):
    full = set()
    fill_disk(monkeypatch, full)
    keeper = Best(folders)
    best(keeper, 1, 0.1, 0.1)
    full.add(folders[0].directory)
    with pytest.warns(RunWarning, match=r"No space.*training continues, and the previous best is kept\.$"):
        best(keeper, 2, 0.9, 0.9)
    assert [folder.steps() for folder in folders] == [[1], [2]]
    full.clear()
    best(keeper, 3, 0.8, 0.8)  # better than what is there
    assert [folder.steps() for folder in folders] == [[3], [2]]
    assert len(keeper.failures) == 1


def test_a_damaged_best_is_replaced(folders):
    best(Best(folders), 1, 0.9, 0.9)
    (folders[0].directory / "1" / "manifest.json").unlink()
    with pytest.warns(RunWarning, match=r"1 is damaged \(manifest\.json is missing\); the next evaluation replaces it"):
        keeper = Best(folders)
    best(keeper, 2, 0.1, 0.1)
    assert [folder.steps() for folder in folders] == [[2], [1]]

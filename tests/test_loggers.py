"""Loggers: each has exactly the rows of the CSV files, whatever happens to the training and to the logger."""

import contextlib
import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from in_process import recipe
from logged import assert_both, assert_rows, histories, of_tensorboard, of_the_files, of_wandb, records
from matplotlib import pyplot
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboardX.event_file_writer import EventsWriter

from deflow.errors import RegistrationError, RunError, RunWarning, UnknownNameError
from deflow.runs import Run, RunGroup
from deflow.runs.loggers import AbstractLogger, check_loggers, follower, register, registry

CONFIG = {"agent": {"solver": {"name": "heun", "steps": 5}, "widths": [8, 8]}, "learning_rate": 3e-4, "options": None}


@pytest.fixture(autouse=True)
def no_account(monkeypatch, tmp_path):
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))


def group(path, *loggers, seeds=(0,)):
    return RunGroup.create(path, environment="e", algorithm="a", seeds=seeds, config=CONFIG, loggers=loggers)


def loss(step, noise=0.0):
    return {"training/loss": np.float32(1 / (step + 1) + noise), "training/count": step}


def score(step, noise=0.0):
    return {"evaluation/success": step / 100 + noise, "estimate/value": float("nan")}


def train(runs, steps, noise=0.0):
    for step in steps:
        runs.log(step, [loss(step, noise + run.seed) for run in runs.runs])
        if step % 20 == 0:
            runs.log(step, [score(step, noise + run.seed) for run in runs.runs])


def test_each_logger_has_the_rows_and_the_configuration(tmp_path):
    with group(tmp_path, "tensorboard", "wandb", "csv", seeds=(0, 1)) as runs:
        train(runs, range(10, 101, 10))
    assert len(of_the_files(runs.runs[0])) == 10 * 2 + 5 * 2
    for run in runs.runs:
        assert_both(run)
        assert sorted(path.name for path in (run.path / "loggers").iterdir()) == [
            "tensorboard.json",
            "tensorboard.txt",
            "wandb.json",
            "wandb.txt",
        ]
        (file,) = run.path.glob("wandb/offline-run-*/*.wandb")
        (made,) = [record.run for record in records(file) if record.WhichOneof("record_type") == "run"]
        config = {item.key: json.loads(item.value_json) for item in made.config.update}
        assert config["agent.solver.steps"] == 5
        assert config["agent.widths"] == "[8, 8]"
        assert config["seed"] == run.seed
        assert (made.project, made.run_group) == ("deflow", "e a")
        events = EventAccumulator(str(run.path / "tensorboard")).Reload()
        start = events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
        assert b"agent.solver.steps" in start
        assert b"heun" in start


def test_a_resumed_run_goes_on_in_the_same_places(tmp_path):
    with group(tmp_path, "tensorboard", "wandb") as runs:
        train(runs, range(10, 101, 10))
    (run,) = runs.runs
    first = json.loads((run.path / "loggers/wandb.json").read_text())["id"]
    with RunGroup.open(run.path, loggers=("tensorboard", "wandb")) as again:
        again.rewind(50)  # the last checkpoint
        train(again, range(60, 141, 10))
    assert_both(run)
    assert max(run.read("train")["step"]) == 140
    assert list(histories(run)[0]) == [first]
    assert len(list((run.path / "tensorboard").iterdir())) == 2


def test_a_rollback_leaves_the_rows_that_were_made_in_the_end(tmp_path):
    with group(tmp_path, "tensorboard", "wandb") as runs:
        train(runs, range(10, 101, 10))
        runs.rewind(50)
        train(runs, range(60, 121, 10), noise=0.5)
        runs.rewind(80)
        train(runs, range(90, 101, 10), noise=0.7)
    (run,) = runs.runs
    assert_both(run)
    assert len(histories(run)[0]) > 1  # what wandb has cannot be taken back


def test_going_back_without_a_row_after_it(tmp_path):
    with group(tmp_path, "tensorboard", "wandb") as runs:
        train(runs, range(10, 101, 10))
        runs.rewind(50)
    (run,) = runs.runs
    with RunGroup.open(run.path, loggers=("tensorboard", "wandb")) as again:
        train(again, range(60, 81, 10))
        again.rewind(80)
    assert_rows(of_tensorboard(run), run, rtol=1e-6)
    with RunGroup.open(run.path, loggers=("tensorboard", "wandb")) as again:
        train(again, [90, 100])
    assert_both(run)
    assert len(histories(run)[0]) == 1


def test_one_that_is_switched_on_later_gets_the_earlier_rows(tmp_path):
    with group(tmp_path, "wandb") as runs:
        train(runs, range(10, 51, 10))
    (run,) = runs.runs
    with RunGroup.open(run.path) as without:
        train(without, range(60, 81, 10))
    with RunGroup.open(run.path, loggers=("tensorboard", "wandb")) as again:
        train(again, [90])
    assert_both(run)
    late = Run.create(tmp_path, environment="e", algorithm="a", seed=5, config=CONFIG)
    late.log(1, loss(1))
    with RunGroup.open(late.path, loggers=("tensorboard",)):
        pass  # finished: there is nothing to train
    assert_rows(of_tensorboard(late), late, rtol=1e-6)


UNTIL_KILLED = """
import sys, time
from deflow.runs import Run
run, first = Run.open(sys.argv[1], loggers=("tensorboard", "wandb")), int(sys.argv[2])
for step in range(first, 100_000):
    run.log(step, {"training/loss": 1 / step})
    if step % 5 == 0:
        run.log(step, {"evaluation/success": step / 7})
    time.sleep(0.01)
"""


@pytest.mark.parametrize("gone", ["all", "the first"])
def test_tensorboard_gets_all_rows_again_if_its_files_are_gone(tmp_path, gone):
    """One of them is enough; and what was there afterwards does not hide the new rows."""
    with group(tmp_path, "tensorboard") as runs:
        train(runs, range(10, 31, 10))
        path = runs.runs[0].path
    for steps in (range(40, 61, 10), range(70, 81, 10)):
        with RunGroup.open(path, loggers=["tensorboard"]) as runs:
            train(runs, steps)
    files = sorted((path / "tensorboard").iterdir())
    assert len(files) == 3
    for file in files if gone == "all" else files[:1]:
        file.unlink()
    with RunGroup.open(path, loggers=["tensorboard"]) as runs:
        train(runs, range(90, 101, 10))
    assert_rows(of_tensorboard(runs.runs[0]), runs.runs[0], rtol=1e-6)


@pytest.mark.parametrize("when", ["at once", "later"])
def test_a_file_of_tensorboards_that_goes_meanwhile_is_said(tmp_path, monkeypatch, when):
    def unlink():
        for file in tmp_path.glob("e/a/*/tensorboard/*"):
            file.unlink()

    if when == "at once":
        flush = EventsWriter.flush
        monkeypatch.setattr(EventsWriter, "flush", lambda writer: (flush(writer), unlink()))
    said = pytest.warns(RunWarning, match="is gone; when the run is resumed, it gets all rows")
    with said, group(tmp_path, "tensorboard") as runs:
        path = runs.runs[0].path
        train(runs, [10])
        while when == "later" and not list(path.glob("tensorboard/*")):
            time.sleep(0.01)
        unlink()
        train(runs, [20])
    monkeypatch.undo()
    with RunGroup.open(path, loggers=["tensorboard"]) as runs:
        train(runs, [30])
    assert_rows(of_tensorboard(runs.runs[0]), runs.runs[0], rtol=1e-6)


def test_a_damaged_state_of_wandbs_begins_a_new_run_with_all_rows(tmp_path):
    with group(tmp_path, "wandb") as runs:
        train(runs, range(10, 31, 10))
        path = runs.runs[0].path
    (path / "loggers" / "wandb.json").write_text('{"id":')
    with RunGroup.open(path, loggers=["wandb"]) as runs:
        train(runs, [40])
    assert_rows(of_wandb(runs.runs[0]), runs.runs[0])


def test_killed_in_between(tmp_path):
    (run,) = group(tmp_path).runs
    journals = [run.path / "loggers" / f"{name}.txt" for name in ("tensorboard", "wandb")]
    for _ in range(2):
        known = {path: len(path.read_text()) if path.exists() else 0 for path in journals}
        first = str(max(run.read("train")["step"], default=0) + 1)
        with subprocess.Popen([sys.executable, "-c", UNTIL_KILLED, str(run.path), first]) as child:
            until = time.monotonic() + 60
            while not all(path.exists() and len(path.read_text()) > known[path] + 1000 for path in journals):
                assert time.monotonic() < until
                time.sleep(0.01)
            child.send_signal(signal.SIGKILL)
        run.rewind(int(run.read("train")["step"][-1]) // 2)  # to what would have been its checkpoint
    first = run.read("train")["step"][-1] + 1
    with Run.open(run.path, loggers=("tensorboard", "wandb")) as again:
        for step in range(first, 2 * first):
            again.log(step, {"training/loss": 1 / step})
            if step % 5 == 0:
                again.log(step, {"evaluation/success": step / 7})
    assert_rows(of_tensorboard(run), run, rtol=1e-6)
    (rows,) = histories(run)[0].values()  # one run there
    assert sorted(set(rows)) == of_the_files(run)
    assert len(rows) < 3 * len(set(rows))  # those of the last seconds before it was killed may be there again


@register("broken")
class Broken(AbstractLogger):
    """Does what a test says where a test says."""

    def at(self, place):
        if (what := WRONG.get(place)) is not None:
            what()

    def open(self, run, after):
        self.at("open")
        self.path = run.path / "broken.txt"

    def row(self, step, metrics):
        self.at(f"row {step}")
        with open(self.path, "a") as file:
            print(step, *metrics, file=file)

    def picture(self, name, path, step):
        self.at("picture")
        with open(self.path, "a") as file:
            print(name, step, file=file)

    def close(self):
        self.at("close")


@contextlib.contextmanager
def told():
    """Gives the sentences of the warnings about runs so far."""
    with warnings.catch_warnings(record=True) as recorded:
        warnings.simplefilter("always")
        yield lambda: [str(each.message) for each in recorded if issubclass(each.category, RunWarning)]


WRONG = {}
"""By place."""


def full():
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def unwell():
    raise ValueError("The page has no room.\nAnd more.")


@pytest.mark.parametrize("place", ["open", "row 10", "row 50", "close"])
@pytest.mark.parametrize("what", [full, unwell, sys.exit])
def test_one_that_fails_is_said_once_and_stops_nothing(tmp_path, place, what, monkeypatch):
    monkeypatch.setitem(WRONG, place, what)
    with told() as said, group(tmp_path, "broken", "tensorboard") as runs:
        train(runs, range(10, 101, 10))
    (sentence,) = said()
    assert sentence.startswith(f"The logger broken of {runs.runs[0].path} failed (")
    assert "\n" not in sentence
    assert runs.failures == []
    assert_rows(of_tensorboard(runs.runs[0]), runs.runs[0], rtol=1e-6)
    if place == "row 50":  # the next time it goes on where it failed
        with monkeypatch.context() as patch:
            patch.delitem(WRONG, place)
            with RunGroup.open(runs.runs[0].path, loggers=("broken",)):
                pass
        steps = [int(line.split()[0]) for line in (runs.runs[0].path / "broken.txt").read_text().splitlines()]
        assert steps == sorted([*range(10, 101, 10), *range(20, 101, 20)])


@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
def test_one_that_hangs_holds_up_nothing(tmp_path, monkeypatch):
    for place in ("row 50", "close"):
        never = threading.Event()
        monkeypatch.setattr(follower, "PATIENCE", 0.5)
        monkeypatch.setitem(WRONG, place, never.wait)
        began = time.monotonic()
        with told() as said, group(tmp_path / place[:3], "broken", "tensorboard") as runs:
            train(runs, range(10, 101, 10))
            assert time.monotonic() - began < 0.4
        assert time.monotonic() - began < 5
        (sentence,) = said()
        assert sentence.endswith(
            "has not ended in time: the run goes on without it, and has every row in its CSV files."
        )
        assert_rows(of_tensorboard(runs.runs[0]), runs.runs[0], rtol=1e-6)
        never.set()
        monkeypatch.delitem(WRONG, place)


def test_a_full_disk(tmp_path, monkeypatch):
    with told() as said, group(tmp_path, "tensorboard", "broken") as runs:
        (runs.runs[0].path / "tensorboard").write_text("in the way")
        train(runs, range(10, 101, 10))
    (sentence,) = said()
    assert "File exists" in sentence
    if Path("/dev/full").exists():
        with told() as said, open("/dev/full", "wb") as full, group(tmp_path, "tensorboard", seeds=(1,)) as runs:
            monkeypatch.setattr("tensorboardX.record_writer.open_file", lambda _: full)
            train(runs, range(10, 101, 10))
            runs.close()
            full.raw.close()
        (sentence,) = said()
        assert "No space left" in sentence


def test_pictures_and_videos(tmp_path, monkeypatch):
    imageio = pytest.importorskip("imageio.v3")
    pytest.importorskip("imageio_ffmpeg")
    pyplot.imsave(tmp_path / "report.png", np.random.default_rng(0).random((30, 40)))
    frames = np.random.default_rng(0).integers(0, 255, (40, 64, 96, 3), np.uint8)
    imageio.imwrite(tmp_path / "episode-0.mp4", frames, fps=20, plugin="FFMPEG")
    with group(tmp_path, "tensorboard", "wandb") as runs:
        train(runs, [10])
        runs.runs[0].picture(tmp_path / "report.png", 10)
        runs.runs[0].video(tmp_path / "episode-0.mp4", 10)
    (run,) = runs.runs
    events = EventAccumulator(str(run.path / "tensorboard")).Reload()
    (picture,), (video,) = events.Images("report"), events.Images("episode-0")
    assert picture.encoded_image_string == (tmp_path / "report.png").read_bytes()
    assert (picture.width, picture.height, picture.step) == (40, 30, 10)
    assert video.encoded_image_string[:4] == b"GIF8"
    assert (video.width, video.height) == (96, 64)
    assert len(imageio.imread(video.encoded_image_string, extension=".gif")) == 20  # at half the rate
    kept = [path.suffix for path in run.path.glob("wandb/offline-run-*/files/media/**/*.*")]
    assert sorted(kept) == [".mp4", ".png"]
    assert_both(run)
    with told() as said, RunGroup.open(run.path, loggers=("tensorboard",)) as again:
        (tmp_path / "damaged.mp4").write_bytes(b"no video")
        for _ in range(2):
            again.runs[0].video(tmp_path / "damaged.mp4", 10)
        train(again, [20])
    (sentence,) = said()
    assert "cannot show damaged.mp4" in sentence
    assert_rows(of_tensorboard(run), run, rtol=1e-6)


def test_a_name_or_a_package_that_is_missing_is_said_before_any_work(tmp_path, monkeypatch):
    with pytest.raises(UnknownNameError, match=r"Unknown logger 'tensorbord'. Did you mean 'tensorboard'\?"):
        group(tmp_path, "tensorbord")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for name in ("tensorboard", "wandb"):
        with pytest.raises(RunError, match=rf"The logger {name} needs the package .*pip install 'deflow\[{name}\]'"):
            group(tmp_path, name)
    assert list(tmp_path.glob("e/a/*")) == []
    monkeypatch.undo()
    assert check_loggers("csv") == ("csv",)
    assert check_loggers(["csv", "wandb", "csv"]) == ("csv", "wandb")
    with pytest.raises(RegistrationError, match="already registered"):
        register("csv")(type("Other", (Broken,), {}))
    assert {"csv", "tensorboard", "wandb"} <= set(registry)


def test_wandb_online_without_an_account_is_said_before_any_work(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(RunError, match=r"WANDB_MODE is online, but .* log in with `wandb login`, or unset WANDB_MODE"):
        group(tmp_path, "wandb")
    monkeypatch.setenv("WANDB_MODE", "disabled")
    with group(tmp_path, "wandb") as runs:
        train(runs, [10])


LEFT_OPEN = """
import sys
from deflow.runs import Run
run = Run.create(sys.argv[1], environment="e", algorithm="a", seed=0, config={}, loggers=("tensorboard", "wandb"))
for step in range(5):
    run.log(step, {"training/loss": step, "evaluation/success": step})
print(run.path)
"""


def test_a_program_that_does_not_close_its_run(tmp_path):
    done = subprocess.run([sys.executable, "-c", LEFT_OPEN, tmp_path], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert_both(Run.open(done.stdout.strip()))


def test_a_recipe_refuses_a_mistyped_name_before_any_work(tmp_path):
    for program in ("offline", "offline_to_online", "bounds"):
        refused = recipe(program, "--output-dir", tmp_path / "runs", "--log", "wandb", "tensorbord")
        assert (refused.returncode, refused.stdout) == (2, "")
        assert "Unknown logger 'tensorbord'. Did you mean 'tensorboard'?" in refused.stderr
    assert not (tmp_path / "runs").exists()

"""Kills a training again and again, resumes it, and compares its end with that of one that was never killed.

    python tests/kill_and_resume.py --kills 20

The training is `recipes/offline_to_online.py`, tiny but real: OGBench's physics, spawned workers, asynchronous
checkpoints. SIGKILL comes at moments spread over both phases: at random ones, and while a checkpoint is being written.
At the end every array of the last checkpoint (parameters, optimizer, keys, online transitions, episodes), its notes and
both CSV files must be the same bit for bit.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from deflow.runs import storage
from deflow.runs.storage import verify

ROOT = Path(__file__).resolve().parents[1]
OFFLINE, ONLINE, SAVE_EVERY = 400, 400, 20
ARGUMENTS = [
    *("--env", "cube-single-play-singletask-task2-v0", "--data", "collected", "--rows", 1000),
    *("--steps", OFFLINE, "--online-steps", ONLINE, "--save-every", SAVE_EVERY, "--log-every", 30),
    *("--eval-every", 150, "--episodes", 2, "--batch-size", 8, "--workers", 1),
    *("--field.width", 8, "--field.depth", 1, "--refiner.width", 8, "--refiner.depth", 1),
    *("--critic.width", 8, "--critic.depth", 1),
]


class Training:
    """One training, as often as it takes: begun by the recipe, continued by `recipes/resume.py`."""

    def __init__(self, output: Path, arguments: list[str], environment: dict[str, str]):
        self.output = output
        self._arguments = arguments
        self._environment = environment
        output.mkdir(parents=True, exist_ok=True)
        self._log = open(output / "log.txt", "a")  # noqa: SIM115 - as long as the training

    @property
    def runs(self) -> list[Path]:
        """The directories of its runs, by seed."""
        return sorted(path.parent for path in self.output.glob("*/*/seed*/config.json"))

    def start(self) -> subprocess.Popen:
        """A process that begins or continues it."""
        if self.runs:
            command = ["recipes/resume.py", str(self.runs[0]), "--data-dir", self._environment["DATA_DIR"]]
        else:
            shutil.rmtree(self.output / "cube-single-play-singletask-task2-v0", ignore_errors=True)
            command = ["recipes/offline_to_online.py", *self._arguments, "--output-dir", str(self.output)]
        return subprocess.Popen(
            [sys.executable, *command], cwd=ROOT, env=self._environment, stdout=self._log, stderr=self._log
        )

    def finish(self) -> None:
        """Runs it to its end."""
        process = self.start()
        code = process.wait()
        assert code == 0, f"ended with {code}; the log is {self.output / 'log.txt'}"

    def saved(self) -> int:
        """The newest step that every run has a checkpoint of; -1 for none."""
        steps = [
            max((int(path.name) for path in (run / "checkpoints").glob("[0-9]*")), default=-1) for run in self.runs
        ]
        return min(steps, default=-1)

    def is_saving(self) -> bool:
        """Whether a checkpoint is being written."""
        return any(True for run in self.runs for _ in run.glob("*/.saving-*"))


def kill(training: Training, target: int, while_saving: bool, generator: random.Random) -> str:
    """Starts or continues the training and kills it soon after step `target`; says when that was."""
    process = training.start()
    while training.saved() < target and process.poll() is None:
        time.sleep(0.002)
    if while_saving:
        deadline = time.monotonic() + 5
        while not training.is_saving() and time.monotonic() < deadline and process.poll() is None:
            pass
    else:
        time.sleep(generator.uniform(0.0, 0.5))
    saving = training.is_saving()
    process.send_signal(signal.SIGKILL)
    code = process.wait()
    saved = training.saved()
    phase = "online" if saved >= OFFLINE else "offline"
    if code != -signal.SIGKILL:
        assert code == 0, f"ended with {code} by itself; the log is {training.output / 'log.txt'}"
        return "not killed: it had come to its end"
    return f"{phase}, after the checkpoint of step {saved}" + (", while saving" if saving else "")


def differences(one: Path, other: Path) -> list[str]:
    """In what the ends of two runs differ, byte for byte."""
    found = []
    for name in ("train.csv", "eval.csv"):
        if (one / name).read_bytes() != (other / name).read_bytes():
            found.append(name)
    contents = []
    best = [sorted(path.name for path in (run / "best").glob("[0-9]*")) for run in (one, other)]
    found += ["best"] * (best[0] != best[1])
    for run in (one, other):
        step = max(int(path.name) for path in (run / "checkpoints").glob("[0-9]*"))
        directory = run / "checkpoints" / str(step)
        spec = verify(directory, step)
        arrays, notes = storage.read_arrays(directory, spec), storage.read_notes(directory)
        contents.append(({"step": step, "notes": json.dumps(notes), "spec": repr(spec)}, arrays))
    (facts, arrays), (other_facts, other_arrays) = contents
    found += [name for name in facts if facts[name] != other_facts[name]]
    found += [
        name for name in arrays if name not in other_arrays or arrays[name].tobytes() != other_arrays[name].tobytes()
    ]
    assert len(arrays) > 50, "a checkpoint that holds so little compares nothing"
    return found


def main(kills: int, seeds: list[int], seed: int, directory: Path, environment: dict[str, str]) -> list[str]:
    """Everything; returns one line per kill. Raises `AssertionError` where the ends differ."""
    generator = random.Random(seed)
    environment = {**environment, "DATA_DIR": str(directory / "data"), "COLUMNS": "120"}
    arguments = [*map(str, ARGUMENTS), "--seeds", *map(str, seeds), "--data-dir", environment["DATA_DIR"]]
    whole = Training(directory / "whole", arguments, environment)
    whole.finish()
    killed = Training(directory / "killed", arguments, environment)
    last = OFFLINE + ONLINE - 2 * SAVE_EVERY
    targets = [-1, *(round(last * (number + generator.random()) / kills) for number in range(1, kills))]
    lines = []
    for number, target in enumerate(targets):
        lines.append(kill(killed, target, number % 2 == 1, generator))
        print(f"kill {number + 1}/{kills}: {lines[-1]}", flush=True)
    killed.finish()
    for one, other in zip(whole.runs, killed.runs, strict=True):
        found = differences(one, other)
        assert not found, f"{other} differs from {one} in {', '.join(found)}"
    print(f"{len(whole.runs)} run(s): parameters, optimizer, keys, transitions, episodes and CSV files are the same.")
    return lines


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20, help="how often (default: 20)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="seeds trained together (default: 0)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the moments (default: 0)")
    parser.add_argument("--directory", type=Path, help="where all runs are kept (default: a temporary directory)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        main(options.kills, options.seeds, options.seed, options.directory or Path(temporary), dict(os.environ))

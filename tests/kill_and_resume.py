"""Kills a training again and again, resumes it, and compares its end with that of one that was never killed.

    python tests/kill_and_resume.py --kills 20
    python tests/kill_and_resume.py --kills 20 --proposals 1024
    python tests/kill_and_resume.py --kills 20 --algorithm deflow-chunked

The training is tiny but real: OGBench's physics, spawned workers, asynchronous checkpoints. Without `--proposals` it is
`recipes/offline_to_online.py` with its two phases; with it, `recipes/offline.py` with its three: the behaviour, its
proposals, the improvement. SIGKILL comes at moments spread over all phases: at random ones, and while a checkpoint or a
block of proposals is being written. At the end every array of the last checkpoint (parameters, optimizer, keys, online
transitions, episodes), its notes, both CSV files and the proposals must be the same bit for bit, also in the runs of
the behaviour.
"""

import argparse
import hashlib
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
OFFLINE, ONLINE, FIELD, SAVE_EVERY = 300, 300, 300, 20
ARGUMENTS = [
    *("--env", "cube-single-play-singletask-task2-v0", "--data", "collected", "--rows", 1000),
    *("--steps", OFFLINE, "--save-every", SAVE_EVERY, "--log-every", 30),
    *("--eval-every", 180, "--episodes", 1, "--batch-size", 8, "--workers", 1),
    *("--field.width", 8, "--field.depth", 1, "--refiner.width", 8, "--refiner.depth", 1),
    *("--critic.width", 8, "--critic.depth", 1),
]
Progress = tuple[str, int]
"""A phase, and how far it has come: steps that have a checkpoint, or bytes of proposals of all seeds."""


class Training:
    """One training, as often as it takes: begun by the recipe, continued by `recipes/resume.py`."""

    def __init__(self, output: Path, algorithm: str, proposals: int, arguments: list[str], environment: dict[str, str]):
        self.output, self.algorithm = output, algorithm
        self.staged = proposals > 0
        more = ["--proposals", proposals, "--field-steps", FIELD] if self.staged else ["--online-steps", ONLINE]
        self._arguments = [algorithm, *arguments, *map(str, more)]
        self._environment = environment
        output.mkdir(parents=True, exist_ok=True)
        self._log = open(output / "log.txt", "a")  # noqa: SIM115 - as long as the training

    @property
    def runs(self) -> list[Path]:
        """The directories of its runs, by seed."""
        return self._runs(self.algorithm)

    @property
    def behaviours(self) -> list[Path]:
        """The directories of the runs that learn its flow, by seed."""
        return self._runs("flow-bc")

    def _runs(self, algorithm: str) -> list[Path]:
        return sorted(path.parent for path in self.output.glob(f"*/{algorithm}/seed*/config.json"))

    @property
    def _begun(self) -> bool:
        """Whether there is something to continue: all runs have been made, the last of which are its own."""
        return bool(self.runs) and len(self.runs) == len(
            json.loads((self.runs[0] / "config.json").read_text())["together"]
        )

    def start(self) -> subprocess.Popen:
        """A process that begins or continues it."""
        if self._begun:
            command = ["recipes/resume.py", str(self.runs[0]), "--data-dir", self._environment["DATA_DIR"]]
        else:  # killed before it had made its runs: begun anew
            shutil.rmtree(self.output / "cube-single-play-singletask-task2-v0", ignore_errors=True)
            recipe = "offline" if self.staged else "offline_to_online"
            command = [f"recipes/{recipe}.py", *self._arguments, "--output-dir", str(self.output)]
        return subprocess.Popen(
            [sys.executable, *command], cwd=ROOT, env=self._environment, stdout=self._log, stderr=self._log
        )

    def finish(self) -> None:
        """Runs it to its end."""
        process = self.start()
        code = process.wait()
        assert code == 0, f"ended with {code}; the log is {self.output / 'log.txt'}"

    @property
    def phases(self) -> list[Progress]:
        """Its phases, in order, and how much there is of each. The proposals' bytes are known when they are drawn."""
        if not self.staged:
            return [("offline", OFFLINE), ("online", ONLINE)]
        return [("behaviour", FIELD), ("proposals", self.drawn()), ("improvement", OFFLINE)]

    def progress(self) -> Progress:
        """The phase, and how far it has come."""
        saved = newest(self.runs)
        if not self.staged:
            return ("online", saved - OFFLINE) if saved >= OFFLINE else ("offline", saved)
        if saved >= 0:
            return "improvement", saved
        learned = newest(self.behaviours)
        return ("proposals", self.drawn()) if learned >= FIELD else ("behaviour", learned)

    def reached(self, target: Progress) -> bool:
        """Whether it is as far as this, or further."""
        order = [name for name, _ in self.phases]
        phase, made = self.progress()
        return (order.index(phase), made) >= (order.index(target[0]), target[1])

    def drawn(self) -> int:
        """Bytes of proposals that are written, of all seeds."""
        files = [path for run in self.behaviours for path in (run / "proposals").glob("*.[np]*")]
        return sum(size(path) for path in files if path.suffix in (".npy", ".part"))

    def is_saving(self) -> bool:
        """Whether a checkpoint is being written."""
        return any(True for run in (*self.runs, *self.behaviours) for _ in run.glob("*/.saving-*"))


def newest(runs: list[Path]) -> int:
    """The newest step that every run has a checkpoint of; -1 for none."""
    steps = [max((int(path.name) for path in (run / "checkpoints").glob("[0-9]*")), default=-1) for run in runs]
    return min(steps, default=-1)


def size(path: Path) -> int:
    """The bytes of a file that may be renamed at this moment."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def kill(training: Training, target: Progress, while_saving: bool, generator: random.Random) -> str:
    """Starts or continues the training and kills it soon after `target`; says when that was."""
    process = training.start()
    while not training.reached(target) and process.poll() is None:
        time.sleep(0.002)
    if target[0] == "proposals":
        time.sleep(generator.uniform(0.0, 0.02))
    elif while_saving:
        deadline = time.monotonic() + 5
        while not training.is_saving() and time.monotonic() < deadline and process.poll() is None:
            pass
    else:
        time.sleep(generator.uniform(0.0, 0.5))
    saving = training.is_saving()
    process.send_signal(signal.SIGKILL)
    code = process.wait()
    phase, made = training.progress()
    if code != -signal.SIGKILL:
        assert code == 0, f"ended with {code} by itself; the log is {training.output / 'log.txt'}"
        return "not killed: it had come to its end"
    what = f"{made:,} bytes" if phase == "proposals" else f"the checkpoint of step {made}"
    return f"{phase}, after {what}" + (", while saving" if saving else "")


def moments(kills: int, phases: list[Progress], generator: random.Random) -> list[Progress]:
    """When to kill: at the start, and spread over all phases, of which each has the same share."""
    found = [(phases[0][0], -1)]
    for number in range(1, kills):
        index, share = divmod(len(phases) * (number - 1 + generator.random()) / (kills - 1), 1)
        phase, length = phases[int(index)]
        found.append((phase, round(share * (length if phase == "proposals" else length - 2 * SAVE_EVERY))))
    return found


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
    assert len(arrays) > 10, "a checkpoint that holds so little compares nothing"
    return found


def files_of_proposals(run: Path) -> dict[str, str]:
    """Digests of a run's proposals and their descriptions, by name."""
    files = [path for path in (run / "proposals").glob("*.*") if path.suffix != ".lock"]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def main(
    kills: int,
    seeds: list[int],
    seed: int,
    directory: Path,
    environment: dict[str, str],
    *,
    algorithm: str = "deflow",
    proposals: int = 0,
) -> list[str]:
    """Everything; returns one line per kill. Raises `AssertionError` where the ends differ."""
    generator = random.Random(seed)
    environment = {"DATA_DIR": str(directory / "data"), "COLUMNS": "120", **environment}
    arguments = [*map(str, ARGUMENTS), "--seeds", *map(str, seeds), "--data-dir", environment["DATA_DIR"]]
    whole = Training(directory / "whole", algorithm, proposals, arguments, environment)
    whole.finish()
    killed = Training(directory / "killed", algorithm, proposals, arguments, environment)
    lines = []
    for number, target in enumerate(moments(kills, whole.phases, generator)):
        lines.append(kill(killed, target, number % 2 == 1, generator))
        print(f"kill {number + 1}/{kills}: {lines[-1]}", flush=True)
    killed.finish()
    assert len(whole.behaviours) == (len(seeds) if proposals else 0)
    for one, other in zip([*whole.runs, *whole.behaviours], [*killed.runs, *killed.behaviours], strict=True):
        found = differences(one, other)
        found += ["proposals"] * (files_of_proposals(one) != files_of_proposals(other))
        assert not found, f"{other} differs from {one} in {', '.join(found)}"
    assert all(len(files_of_proposals(run)) == 2 for run in killed.behaviours)
    what = "proposals" if proposals else "transitions, episodes"
    print(f"{len(whole.runs)} run(s): parameters, optimizer, keys, {what} and CSV files are the same.")
    return lines


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20, help="how often (default: 20)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="seeds trained together (default: 0)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the moments (default: 0)")
    parser.add_argument(
        "--proposals", type=int, default=0, help="proposals for a state (default: 0, a flow that learns)"
    )
    parser.add_argument("--algorithm", default="deflow", help="what is trained (default: deflow)")
    parser.add_argument("--directory", type=Path, help="where all runs are kept (default: a temporary directory)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        directory = options.directory or Path(temporary)
        more = {"algorithm": options.algorithm, "proposals": options.proposals}
        main(options.kills, options.seeds, options.seed, directory, dict(os.environ), **more)

"""Train an agent on logged data and evaluate it in the real environment.

    python recipes/offline.py --budget quickstart
    python recipes/offline.py deflow --env puzzle-3x3-play-singletask-task4-v0 --seeds 0 1 solver:heun --solver.steps 5

ALGORITHM is a row of the table in docs/algorithms.md. Settings per task come with it; a flag that is given wins.
"""

import dataclasses
import hashlib
import os
import sys
import threading
import time
from pathlib import Path
from typing import Literal

import jax
import numpy as np
from rich.console import Console
from tqdm import tqdm

import deflow
from deflow import command_line, report, runs
from deflow.arguments import peek
from deflow.training import Precision


@dataclasses.dataclass(frozen=True)
class Offline:
    """Options of the recipe. The agent's parts are chosen beside them."""

    env: str = "cube-single-play-singletask-task2-v0"
    """Task: an OGBench single-task dataset name, or a Gymnasium id with data of your own."""

    budget: Literal["paper", "quickstart"] = "paper"
    """paper: the published sizes and lengths; quickstart: collected data, small networks, minutes on two cores."""

    seeds: tuple[int, ...] = (0,)
    """Seeds, trained together in one program; each gets a run directory of its own."""

    data: str = "official"
    """official (OGBench's files, downloaded if need be), collected (by OGBench's oracles), or a path to an .npz."""

    rows: int = 1_000_000
    """Transitions to collect, where data is collected."""

    data_seed: int = 0
    """Seed of the collection."""

    data_dir: Path | None = None
    """Folder of all data (default: ~/.deflow/data)."""

    output_dir: Path = Path("runs")
    """Folder below which the run directories are made."""

    steps: int = 1_000_000
    """Gradient updates."""

    batch_size: int = 256
    """Transitions per update."""

    learning_rate: float = 3e-4
    """Adam's rate, for everything that is learned."""

    eval_every: int = 100_000
    """Updates between evaluations. The last update is always evaluated."""

    episodes: int = 50
    """Episodes per evaluation and seed."""

    log_every: int = 1_000
    """Updates between rows of train.csv."""

    precision: Precision = "float32"
    """Precision of the networks' matrix products."""

    success_timing: Literal["pre", "post"] = "pre"
    """When OGBench judges success: before the step (its default) or after it (behind the published numbers)."""

    workers: int | None = None
    """Processes that evaluate and collect (default: one per core)."""

    import_: command_line.Import = ()
    """Python files with parts of your own, to be run first."""

    def __post_init__(self):
        for name in ("rows", "steps", "batch_size", "eval_every", "episodes", "log_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"--{name.replace('_', '-')} must be at least 1, got {getattr(self, name)}.")
        if not self.learning_rate > 0:
            raise ValueError(f"--learning-rate must be positive, got {self.learning_rate}.")
        if self.workers is not None and self.workers < 1:
            raise ValueError(f"--workers must be at least 1, got {self.workers}.")
        if not self.seeds or min(self.seeds) < 0 or len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"--seeds must be different numbers from 0 up, got {' '.join(map(str, self.seeds))}.")

    @property
    def source(self) -> deflow.Official | deflow.Collected | deflow.UserFile:
        """Where the data comes from."""
        if self.data == "official":
            return deflow.Official()
        if self.data == "collected":
            return deflow.Collected(rows=self.rows, seed=self.data_seed)
        return deflow.UserFile(self.data)


QUICKSTART = Offline(
    budget="quickstart", data="collected", rows=200_000, steps=16_000, eval_every=4_000, episodes=50, log_every=200
)
QUICKSTART_NETWORK = {"width": 256, "depth": 3}


def defaults(arguments: list[str]) -> tuple[Offline, deflow.AgentConfig, str]:
    """What the algorithm, the task and the budget suggest: everything that the arguments do not say."""
    algorithm = arguments[0] if arguments and not arguments[0].startswith("-") and ":" not in arguments[0] else "deflow"
    command_line.import_files(peek(arguments, "--import"))
    settings = deflow.task_settings((peek(arguments, "--env") or [Offline.env])[-1])
    if peek(arguments, "--budget")[-1:] == ["quickstart"]:
        return QUICKSTART, deflow.agent_config(algorithm, settings=settings, **QUICKSTART_NETWORK), algorithm
    paper = dataclasses.replace(Offline(), steps=settings.steps)
    return paper, deflow.agent_config(algorithm, settings=settings), algorithm


def main(options: Offline, config: deflow.AgentConfig, algorithm: str) -> None:
    """Load data, build agent, train, evaluate, report."""
    started = time.perf_counter()
    environment = deflow.Environment(options.env, options.success_timing)
    config.build(environment.spec(), key=jax.random.key(0))  # what does not fit together is said before any long work
    runs.writable_directory(options.output_dir)
    task = deflow.load_task(
        options.env,
        options.source,
        data_dir=options.data_dir,
        success_timing=options.success_timing,
        workers=options.workers,
    )
    keys = [jax.random.key(seed) for seed in options.seeds]
    key = keys[0] if len(keys) == 1 else jax.numpy.stack(keys)
    learner = deflow.Learner.create(config, task.spec, task.train, learning_rate=options.learning_rate, key=key)
    opened = [open_run(options, config, algorithm, task, learner, seed) for seed in options.seeds]
    first_screen(options, task, learner, algorithm, opened)
    with deflow.Evaluator(task, workers=options.workers) as evaluator, command_line.patient_interrupts() as interrupt:
        train(options, learner, task, key, opened, evaluator, interrupt)
    finish(options, opened, seconds=time.perf_counter() - started)
    sys.exit(130 if interrupt.is_set() else 0)


def open_run(
    options: Offline, config: deflow.AgentConfig, algorithm: str, task: deflow.Task, learner: deflow.Learner, seed: int
) -> deflow.Run:
    """One seed's run directory."""
    return deflow.create_run(
        options.output_dir,
        task,
        config,
        learner,
        algorithm=algorithm,
        seed=seed,
        training={name: getattr(options, name) for name in ("budget", "seeds", "steps", "batch_size", "precision")},
        evaluation={"every": options.eval_every, "episodes": options.episodes, "seed": seed},
        imports=[
            {"path": str(path.absolute()), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
            for path in options.import_
        ],
    )


def train(
    options: Offline,
    learner: deflow.Learner,
    task: deflow.Task,
    key: jax.Array,
    opened: list[deflow.Run],
    evaluator: deflow.Evaluator,
    interrupt: threading.Event,
) -> None:
    """Train, log, evaluate and save, until the last update or an interrupt."""
    per_dispatch = dispatch_size(options)
    step, window, began, compiled = 0, [], time.perf_counter(), 0.0
    bar = tqdm(total=options.steps, desc="training", unit="update", smoothing=0.05)
    try:
        for step, learner, metrics in deflow.train_offline(  # noqa: B020 - the learner goes in, and comes out trained
            learner,
            task.train,
            steps=options.steps,
            key=key,
            batch_size=options.batch_size,
            updates_per_dispatch=per_dispatch,
            precision=options.precision,
        ):
            window.append({name: np.asarray(values) for name, values in metrics.items()})
            bar.update(step - bar.n)
            if step == per_dispatch:
                compiled = time.perf_counter() - began
            elif step == 3 * per_dispatch:
                bar.write(expectation(options, per_dispatch, time.perf_counter() - began - compiled))
            if is_due(options.log_every, step, options.steps) or interrupt.is_set():
                log(opened, step, window)
                window = []
            if is_due(options.eval_every, step, options.steps):
                successes = evaluate(options, learner, opened, evaluator, step)
                bar.set_postfix_str(f"success {' '.join(f'{success:.2f}' for success in successes)}")
            if interrupt.is_set():
                bar.write(f"Interrupted at update {step:,}: keeping what was computed.")
                break
    finally:
        bar.close()
        if step > 0:
            for index, run in enumerate(opened):
                run.save(step, learner.seed(index))


def dispatch_size(options: Offline) -> int:
    """The largest number of updates up to 100 after which nothing is due in between."""
    common = int(np.gcd(options.log_every, options.eval_every))
    return max(size for size in range(1, min(common, 100) + 1) if common % size == 0)


def is_due(every: int, step: int, last: int) -> bool:
    """Whether something that happens `every` so many updates, and at the end, happens now."""
    return step % every == 0 or step == last


def log(opened: list[deflow.Run], step: int, window: list[dict[str, np.ndarray]]) -> None:
    """A row of train.csv per seed: means over the updates since the last row. Stops at what is not finite."""
    for index, run in enumerate(opened):
        row = {
            f"training/{name}": float(np.mean([np.atleast_1d(metrics[name])[index] for metrics in window]))
            for name in window[0]
        }
        run.log(step, row)
        wrong = [name for name, value in row.items() if not np.isfinite(value) and name != "training/bound"]
        if wrong:
            raise FloatingPointError(
                f"{wrong[0]} is not finite ({row[wrong[0]]}) before update {step:,} of seed {run.seed}: "
                "look at train.csv, and try a smaller --learning-rate."
            )


def evaluate(
    options: Offline, learner: deflow.Learner, opened: list[deflow.Run], evaluator: deflow.Evaluator, step: int
) -> list[float]:
    """A row of eval.csv per seed; returns the success rates. Every evaluation of a run plays the same episodes."""
    successes = []
    for index, run in enumerate(opened):
        result = evaluator(learner.seed(index).agent, episodes=options.episodes, seed=run.seed, progress=True)
        run.log(step, result.metrics())
        successes.append(float(np.mean(result.success)))
    return successes


# --- what is said


def first_screen(
    options: Offline, task: deflow.Task, learner: deflow.Learner, algorithm: str, opened: list[deflow.Run]
) -> None:
    """What is about to happen, on what, and where it goes."""
    data, spec, device = task.provenance, task.spec, jax.devices()[0]
    family = deflow.task_settings(options.env).borrowed_from
    borrowed = f" (settings borrowed from {family}: none are published)" if family else ""
    lines = {
        "task": f"{task.name}{borrowed}",
        "sizes": f"observation {spec.observation_size}, action {spec.action_size}, episodes up to {spec.horizon} steps",
        "data": f"{len(task.train):,} transitions in {task.trajectories:,} trajectories; {task.successes:,} solved",
        "from": f"{data.source}: {data.path} (sha256 {data.sha256[:12]})",
        "agent": f"{algorithm}, {learner.parameters:,} parameters, {options.precision}",
        "device": f"{device.device_kind} ({device.platform}), {os.cpu_count()} cores",
        "training": f"{options.steps:,} updates of {options.batch_size} transitions, "
        f"seed{'s' * (len(opened) > 1)} {' '.join(str(run.seed) for run in opened)}",
        "evaluation": f"{options.episodes} episodes every {options.eval_every:,} updates",
        "files": "\n".join(str(run.path) for run in opened),
    }
    command_line.print_facts("DeFlow, offline", lines)


def expectation(options: Offline, per_dispatch: int, seconds: float) -> str:
    """The expected time, from two dispatches."""
    rate = 2 * per_dispatch / seconds
    return f"Expected time: {options.steps / rate / 60:.0f} min at {rate:.1f} updates/s, and the evaluations."


def finish(options: Offline, opened: list[deflow.Run], *, seconds: float) -> None:
    """The table, the picture, and the next command."""
    paths = [run.path for run in opened]
    pictures = [report.learning_curve([path], path / "report.png") for path in paths]
    if len(paths) > 1:
        pictures = [report.learning_curve(paths, paths[0].parent / f"report-{paths[0].name.partition('-')[2]}.png")]
    console = Console(highlight=False)
    console.print(report.results_table(paths))
    console.print(f"Time: {seconds / 60:.1f} min. Picture: {pictures[0]}", soft_wrap=True)
    console.print(f"Next: python recipes/evaluate.py {paths[0]} --episodes 100", soft_wrap=True)


if __name__ == "__main__":
    command_line.run(main, defaults, program="recipes/offline.py", description=__doc__)

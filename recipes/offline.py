"""Train an agent on logged data and evaluate it in the real environment.

    python recipes/offline.py --budget quickstart
    python recipes/offline.py deflow --env puzzle-3x3-play-singletask-task4-v0 --seeds 0 1 solver:heun --solver.steps 5

ALGORITHM is a name from docs/algorithms.md. It comes with settings for the task, and flags override them.
"""

import deflow.workers.early_interrupt  # isort: split

import dataclasses
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import jax

import deflow
from deflow import cli, report, runs
from deflow.agent import resolve_bound_with_reason, with_placeholder_bound
from deflow.data.endings import Terminals
from deflow.session import OnNonfinite, Schedule, Session, TrainingState
from deflow.training import Precision
from deflow.workers import graceful_interrupts


@dataclasses.dataclass(frozen=True)
class Offline:
    """Options of the recipe. The agent's parts are chosen separately."""

    env: str = "cube-single-play-singletask-task2-v0"
    """Task: an OGBench single-task dataset name, or a Gymnasium id with your own data."""

    budget: Literal["paper", "quickstart"] = "paper"
    """paper: the published sizes and lengths; quickstart: collected data, small networks, minutes on two cores."""

    seeds: tuple[int, ...] = (0,)
    """Seeds, trained together in one program; each gets its own run directory."""

    data: str = "official"
    """official (OGBench's files, downloaded if needed), collected (by OGBench's oracles), or the path of an .npz."""

    terminals: Terminals | None = None
    """What a lone `terminals` column in your own file marks: trajectory-end or termination."""

    rows: int = 1_000_000
    """Transitions to collect, with `--data collected`."""

    data_seed: int = 0
    """Seed of the collection."""

    data_dir: Path | None = None
    """Data directory (default: ~/.deflow/data)."""

    output_dir: Path = Path("runs")
    """Folder for the run directories."""

    steps: int = 1_000_000
    """Gradient updates."""

    batch_size: int = 256
    """Transitions per update."""

    learning_rate: float = 3e-4
    """Adam's learning rate, for everything that is trained."""

    eval_every: int = 100_000
    """Updates between evaluations. The last update is always evaluated."""

    episodes: int = 50
    """Episodes per evaluation and seed."""

    log_every: int = 1_000
    """Updates between rows of train.csv."""

    save_every: int = 10_000
    """Updates between checkpoints, written while training continues. The last update is always saved."""

    keep: int = 3
    """Number of checkpoints to keep; the best by success is kept separately."""

    on_nonfinite: OnNonfinite = "stop"
    """If a loss or parameter is not finite: stop that seed, or return to its last intact checkpoint (rollback)."""

    rollbacks: int = 3
    """How often a seed may go back before it stops."""

    precision: Precision = "float32"
    """Precision of the networks' matrix products."""

    success_timing: Literal["pre", "post"] = "pre"
    """When OGBench judges success: before the step (its default), or after it (as in the published numbers)."""

    workers: int | None = None
    """Processes for evaluation and collection (default: one per core)."""

    import_: cli.Import = ()
    """Python files with your own parts, which are run first."""

    resume: Path | None = None
    """A run to continue, with its own options; steps, intervals, workers and folders may be changed."""

    def __post_init__(self):
        for name in ("rows", "steps", "batch_size", "eval_every", "episodes", "log_every", "save_every", "keep"):
            if getattr(self, name) < 1:
                raise ValueError(f"--{name.replace('_', '-')} must be at least 1, got {getattr(self, name)}.")
        if self.data not in ("official", "collected") and self.resume is None:
            object.__setattr__(self, "data", str(Path(self.data).expanduser().absolute()))  # it is recorded
        if not self.learning_rate > 0:
            raise ValueError(f"--learning-rate must be positive, got {self.learning_rate}.")
        if self.workers is not None and self.workers < 1:
            raise ValueError(f"--workers must be at least 1, got {self.workers}.")
        if not self.seeds or min(self.seeds) < 0 or len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"--seeds must be different numbers from 0 up, got {' '.join(map(str, self.seeds))}.")

    @property
    def source(self) -> deflow.Official | deflow.Collected | deflow.UserFile:
        """The data's source."""
        return deflow.data.named_source(self.data, rows=self.rows, seed=self.data_seed, terminals=self.terminals)


QUICKSTART = Offline(
    budget="quickstart",
    data="collected",
    rows=200_000,
    steps=16_000,
    eval_every=4_000,
    episodes=50,
    log_every=200,
    save_every=2_000,
)
QUICKSTART_NETWORK = {"width": 256, "depth": 3}

MAY_CHANGE = {
    *("steps", "eval_every", "episodes", "log_every", "save_every", "keep", "on_nonfinite", "rollbacks"),
    *("workers", "data", "data_dir", "output_dir", "import_", "resume"),
}
"""Options that may change when a run is continued."""


def defaults(arguments: list[str]) -> tuple[Offline, deflow.AgentConfig, str]:
    """The defaults that follow from the algorithm, the task and the budget, or from the run to be continued."""
    return suggested(arguments, Offline, "offline", paper=Offline(), quickstart=QUICKSTART)


def suggested(
    arguments: list[str], kind: type[Any], recipe: str, *, paper: Any, quickstart: Any
) -> tuple[Any, deflow.AgentConfig, str]:
    """The same for any recipe that trains. `kind` is its class of options."""
    cli.import_files(cli.peek(arguments, "--import"))
    if resumed := cli.peek(arguments, "--resume"):
        run = deflow.Run.open(resumed[-1])
        return *cli.recorded_options(run, kind, recipe), run.algorithm
    named = arguments and not arguments[0].startswith("-") and ":" not in arguments[0]
    algorithm = deflow.agent.algorithm_name(arguments[0] if named else "deflow")
    settings = deflow.task_settings((cli.peek(arguments, "--env") or [Offline.env])[-1])
    if cli.peek(arguments, "--budget")[-1:] == ["quickstart"]:
        width, depth = QUICKSTART_NETWORK["width"], QUICKSTART_NETWORK["depth"]
        return quickstart, deflow.agent_config(algorithm, settings=settings, width=width, depth=depth), algorithm
    config = deflow.agent_config(algorithm, settings=settings)
    if isinstance(config.critic, deflow.critics.FlowCriticConfig):
        paper = dataclasses.replace(paper, batch_size=settings.flow_batch_size)
    return dataclasses.replace(paper, steps=settings.steps), config, algorithm


def main(options: Offline, config: deflow.AgentConfig, algorithm: str) -> None:
    """Load data, build agent, train, evaluate, report."""
    started = time.perf_counter()
    cli.check_unchanged(options, config, MAY_CHANGE)
    task = load(options, config)
    config, bound = resolve_bound_with_reason(config, task, workers=options.workers)
    start = TrainingState(*fresh_learner(options, config, task))
    group = cli.open_runs(options, config, algorithm, task, start.learner, recipe="offline")
    facts = first_screen(options, task, start.learner, config, algorithm, group, bound)
    cli.print_facts("DeFlow, offline", facts)
    with (
        graceful_interrupts() as interrupt,
        deflow.Evaluator(task, workers=options.workers) as evaluator,
        Session(group, schedule(options), evaluator, interrupt) as session,
    ):
        evaluator.check(interrupt)
        train(options, task, session, session.begin(start))
    finish(session, seconds=time.perf_counter() - started)
    sys.exit(interrupt.code or session.code)


# --- the steps of the story


def load(options: Offline, config: deflow.AgentConfig) -> deflow.Task:
    """The task and its data. Unfit parts and unwritable folders are reported before any long work."""
    source = None if options.resume else options.source  # a missing file is refused before anything is made
    environment = deflow.Environment(options.env, options.success_timing)
    with_placeholder_bound(config).check(environment.spec())
    if options.resume is None:
        runs.writable_directory(options.output_dir)
    elif (task := cli.continued_task(options)) is not None:
        return task
    where = {"data_dir": options.data_dir, "workers": options.workers}
    return deflow.load_task(options.env, source or options.source, success_timing=options.success_timing, **where)


def fresh_learner(options: Offline, config: deflow.AgentConfig, task: deflow.Task) -> tuple[deflow.Learner, jax.Array]:
    """A learner at its first update, and the key of its updates."""
    keys = [jax.random.key(seed) for seed in options.seeds]
    key = keys[0] if len(keys) == 1 else jax.numpy.stack(keys)
    return deflow.Learner.create(config, task.spec, task.train, learning_rate=options.learning_rate, key=key), key


def schedule(options: Offline) -> Schedule:
    """When rows, evaluations and checkpoints are due."""
    return Schedule(**{field.name: getattr(options, field.name) for field in dataclasses.fields(Schedule)})


def train(options: Offline, task: deflow.Task, session: Session, state: TrainingState) -> TrainingState:
    """Runs the updates, while the session logs, evaluates and saves."""

    def updates(state: TrainingState, per_dispatch: int) -> Iterator[tuple[int, deflow.Learner, deflow.Metrics]]:
        return deflow.train_offline(
            state.learner,
            task.train,
            steps=options.steps,
            key=state.key,
            batch_size=options.batch_size,
            updates_per_dispatch=per_dispatch,
            precision=options.precision,
        )

    return session.follow(
        lambda state: updates(state, session.schedule.dispatch_size),
        state,
        last=options.steps,
        phase="training",
        one_by_one=lambda state: updates(state, 1),
    )


# --- what is printed


def first_screen(
    options: Offline,
    task: deflow.Task,
    learner: deflow.Learner,
    config: deflow.AgentConfig,
    algorithm: str,
    group: runs.RunGroup,
    bound: str | None,
) -> dict[str, str]:
    """What is about to happen, on which data, and where the results go. `bound` is how `auto` was resolved."""
    data, spec, device = task.provenance, task.spec, jax.devices()[0]
    family = deflow.task_settings(options.env).borrowed_from
    limit = "" if task.environment.limited else " (cut off there: the environment has no time limit)"
    borrowed = f" (settings borrowed from {family}: none are published)" if family else ""
    return {
        "task": f"{task.name}{borrowed}",
        "sizes": f"observation {spec.observation_size}, action {spec.action_size}, "
        f"episodes up to {spec.horizon} steps{limit}",
        "data": f"{len(task.train):,} transitions in {cli.counted(task.trajectories, 'trajectory', 'trajectories')}; "
        f"{task.endings}",
        "from": f"{data.source}: {data.path} (sha256 {data.sha256[:12]})",
        "agent": f"{algorithm}, {learner.parameters:,} parameters, {options.precision}",
        "parts": cli.parts_in_words(config),
        **({"trust region": bound} if bound else {}),
        "device": f"{device.device_kind} ({device.platform}), {os.cpu_count()} cores",
        "training": f"{options.steps:,} updates of {options.batch_size} transitions, "
        f"seed{'s' * (len(group.runs) > 1)} {' '.join(str(run.seed) for run in group.runs)}",
        "evaluation": f"{cli.counted(options.episodes, 'episode')} every {options.eval_every:,} updates",
        "checkpoints": f"every {options.save_every:,} updates, the last {options.keep}, the best",
        "files": "\n".join(str(run.path) for run in group.runs),
    }


def finish(session: Session, *, seconds: float) -> None:
    """The table, the picture, and the next command."""
    paths = [run.path for run in session.group.runs]
    cli.say(*(f"not kept: {failure}" for failure in session.failures))
    cli.show(report.results_table(paths))
    try:
        pictures = [report.learning_curve([path], path / "report.png") for path in paths]
        if len(paths) > 1:
            together = paths[0].parent / f"report-{paths[0].name.partition('-')[2]}.png"
            pictures = [report.learning_curve(paths, together)]
        cli.say(f"Time: {seconds / 60:.1f} min. Picture: {pictures[0]}")
    except deflow.errors.ReportError as error:  # interrupted before the first row, or the folder is gone
        cli.say(f"Time: {seconds / 60:.1f} min. No picture: {error}")
    if not session.interrupted:
        imports = session.group.runs[0].config["options"].get("import_", ())
        flags = ["--import", *imports] if imports else []
        cli.say(f"Next: {cli.command('evaluate', paths[0], '--episodes', 100, *flags)}")


if __name__ == "__main__":
    cli.run(main, defaults, program="recipes/offline.py", description=__doc__)

"""Train an agent on logged data and evaluate it in the real environment.

    python recipes/offline.py --budget quickstart
    python recipes/offline.py deflow --env puzzle-3x3-play-singletask-task4-v0 --seeds 0 1 solver:heun --solver.steps 5

ALGORITHM is one of the names that --help lists. It comes with settings for the task, and flags override them.
"""

import deflow.workers.early_interrupt  # isort: split

import dataclasses
import math
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import jax
import tyro

import deflow
from deflow import cli, runs
from deflow.agent import resolve_bound_with_reason, with_placeholder_bound
from deflow.behaviour import HeldOutLoss
from deflow.evaluation import SharedEvaluator
from deflow.keys import check_seeds
from deflow.progress import working
from deflow.session import OnNonfinite, Schedule, Session, TrainingState
from deflow.training import Precision
from deflow.workers import Interrupt, graceful_interrupts


@dataclasses.dataclass(frozen=True)
class Offline(cli.DataOptions):
    """Options of the recipe. The agent's parts are chosen separately."""

    budget: Literal["paper", "quickstart"] = "paper"
    """paper: the published sizes and lengths; quickstart: collected data, small networks, minutes on two cores."""

    seeds: tuple[int, ...] = (0,)
    """Seeds, trained together in one program; each gets its own run directory."""

    output_dir: Path = Path("runs")
    """Folder for the run directories."""

    steps: int = 1_000_000
    """Gradient updates."""

    batch_size: int = 256
    """Transitions per update."""

    learning_rate: float = 3e-4
    """Adam's learning rate, for everything that is trained."""

    schedule: Literal["constant", "cosine"] = "constant"
    """cosine: the learning rate falls to 0 at the last update, along half a cosine."""

    eval_every: int = 100_000
    """Updates between evaluations. The last update is always evaluated."""

    episodes: int = 50
    """Episodes per evaluation and seed."""

    estimate_steps: int = 5_000
    """With --env none: updates of the critics that judge the policy from data at each evaluation; 0 does without."""

    log_every: int = 1_000
    """Updates between rows of train.csv."""

    log: tuple[str, ...] = ()
    """Loggers that get the rows besides train.csv and eval.csv: tensorboard, wandb, or one of your own."""

    save_every: int = 10_000
    """Updates between checkpoints, written while training continues. The last update is always saved."""

    keep: int = 3
    """Number of checkpoints to keep; the best by success is kept separately."""

    on_nonfinite: OnNonfinite = "stop"
    """If a loss or parameter is not finite: stop that seed, or return to its last intact checkpoint (rollback)."""

    rollbacks: int = 3
    """How often a seed may go back before it stops."""

    proposals: int = 0
    """Actions of the behaviour flow to draw for each state, once it is trained: then training needs no ODE solve.
    0 trains the flow along with everything else, as the paper does."""

    field_steps: int = 500_000
    """With --proposals: updates of the flow alone, before anything else is trained."""

    field_learning_rate: float = 1e-3
    """Adam's learning rate there; it falls to 0 along half a cosine."""

    behaviour: Annotated[tuple[Path, ...], tyro.conf.arg(metavar="RUN", help_behavior_hint="")] = ()
    """Finished runs whose flow to use, frozen, instead of training one: one for all seeds, or one for each."""

    precision: Precision = "float32"
    """Precision of the networks' matrix products."""

    seed_devices: Literal["auto", "all"] | int = "auto"
    """Devices among which the seeds are divided, offline; auto: all if they are accelerators, else 1."""

    batch_devices: Literal["all"] | int = 1
    """Devices among which each batch is divided, offline; for large batches."""

    join: str | None = None
    """Several processes: 0/2@HOST:PORT in the first of two, whose address it is, and 1/2@HOST:PORT in the other."""

    success_timing: Literal["pre", "post"] = "pre"
    """When OGBench judges success: before the step (its default), or after it (as in the published numbers)."""

    workers: int | None = None
    """Processes for evaluation and collection (default: one per core)."""

    import_: cli.Import = ()
    """Python files with your own parts, which are run first."""

    resume: Path | None = None
    """A run to continue, with its own options; steps, intervals, workers and folders may be changed."""

    def __post_init__(self):
        super().__post_init__()
        for name in ["steps", "field_steps", "batch_size", "eval_every", "episodes", "log_every", "save_every", "keep"]:
            if getattr(self, name) < 1:
                raise ValueError(f"--{name.replace('_', '-')} must be at least 1, got {getattr(self, name)}.")
        for name in ("proposals", "estimate_steps"):
            if getattr(self, name) < 0:
                raise ValueError(f"--{name.replace('_', '-')} must be at least 0, got {getattr(self, name)}.")
        for name in ("learning_rate", "field_learning_rate"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"--{name.replace('_', '-')} must be positive and finite, got {getattr(self, name)}.")
        if self.workers is not None and self.workers < 1:
            raise ValueError(f"--workers must be at least 1, got {self.workers}.")
        check_seeds("--seeds", *self.seeds)
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"--seeds must be different numbers, got {' '.join(map(str, self.seeds))}.")


QUICKSTART = Offline(
    budget="quickstart",
    data="collected",
    rows=200_000,
    steps=10_000,
    proposals=8,
    field_steps=60_000,
    eval_every=5_000,
    episodes=50,
    log_every=200,
    save_every=2_000,
)

MAY_CHANGE = {
    *("steps", "eval_every", "episodes", "estimate_steps", "log_every", "save_every", "keep", "resume", "import_"),
    *("log", "on_nonfinite", "rollbacks", "seed_devices", "batch_devices", "workers", "data", "data_dir", "output_dir"),
}
"""Options that may change when a run is continued."""


def defaults(arguments: list[str]) -> tuple[Offline, deflow.AgentConfig, str]:
    """The defaults that follow from the algorithm, the task and the budget, or from the run to be continued."""
    return cli.suggested(arguments, Offline, "offline", paper=Offline(), quickstart=QUICKSTART)


def main(options: Offline, config: deflow.AgentConfig, algorithm: str) -> None:
    """Load data, build agent, train, evaluate, report."""
    started = time.perf_counter()
    runs.check_loggers(options.log)
    cli.check_unchanged(options, config, MAY_CHANGE)
    with cli.early_evaluator(options) as evaluator:
        cli.devices_of(options)  # too many are refused before any work
        task = load(options, config)
        judge = evaluator or cli.estimator(options, task)
        config, bound = resolve_bound_with_reason(config, task, workers=options.workers)
        behaviours = cli.open_behaviours(options, config, task)
        start = TrainingState(*fresh_learner(options, config, task))
        record = behaviours.record if behaviours else {}
        group = cli.open_runs(options, config, algorithm, task, start.learner, recipe="offline", **record)
        facts = cli.first_screen(options, task, start.learner, config, algorithm, group, bound, behaviours)
        cli.print_facts("DeFlow, offline", facts)
        cli.end_with(group.runs[0])
        with runs.locked(group), graceful_interrupts() as interrupt:
            if evaluator is not None:
                with working("making the environment"):
                    evaluator.check(interrupt)
            if behaviours is not None:
                start = learn_behaviour(options, task, behaviours, start, group.runs[0], judge, interrupt)
            with Session(group, schedule(options), judge, interrupt, held_out=held_out(task, config)) as session:
                state = session.begin(start)
                proposals = cli.propose(options, task, behaviours, session, state, interrupt, last=options.steps)
                train(options, task, session, state, proposals)
    cli.finish(session, seconds=time.perf_counter() - started)
    sys.exit(interrupt.code or session.code)


# --- the steps of the story


@working("reading the data")
def load(options: Offline, config: deflow.AgentConfig) -> deflow.Task:
    """The task and its data. Unfit parts and unwritable folders are reported before any long work."""
    source = None if options.resume else options.source  # a missing file is refused before anything is made

    def check(spec: deflow.Spec) -> None:
        with_placeholder_bound(config).check(spec)
        cli.check_staged(options, config, spec)
        if options.resume is None:
            runs.writable_directory(options.output_dir)

    def find() -> deflow.Task:
        continued = None if options.resume is None else cli.continued_task(options, check=check)
        made = {**options.loading, "success_timing": options.success_timing, "workers": options.workers, "check": check}
        return continued or deflow.load_task(options.env, source or options.source, **made)

    return cli.loaded(find)


@working("making the networks")
def fresh_learner(options: Offline, config: deflow.AgentConfig, task: deflow.Task) -> tuple[deflow.Learner, jax.Array]:
    """A learner at its first update, and the key of its updates."""
    keys = [jax.random.key(seed) for seed in options.seeds]
    key = keys[0] if len(keys) == 1 else jax.numpy.stack(keys)
    decay = options.steps if options.schedule == "cosine" else None
    rate = {"learning_rate": options.learning_rate, "decay_steps": decay}
    return deflow.Learner.create(config, task.spec, task.train, **rate, key=key), key


def schedule(options: Offline) -> Schedule:
    """When rows, evaluations and checkpoints are due."""
    return Schedule(**{field.name: getattr(options, field.name) for field in dataclasses.fields(Schedule)})


def held_out(task: deflow.Task, config: deflow.AgentConfig) -> HeldOutLoss | None:
    """The flow's loss on the task's validation data, if there is any."""
    return None if task.validation is None else HeldOutLoss(task.validation, chunk=config.chunk)


def learn_behaviour(
    options: Offline,
    task: deflow.Task,
    behaviours: cli.Behaviours,
    start: TrainingState,
    run: deflow.Run,
    judge: deflow.Evaluator | SharedEvaluator | deflow.estimation.Estimator | None,
    interrupt: Interrupt,
) -> TrainingState:
    """The start with the behaviour's flow, which is trained first unless it is given. `run` waits for it."""
    if behaviours.own:
        group = runs.runs_together(lambda: runs.RunGroup(behaviours.runs, keep=options.keep, loggers=options.log))
        own = cli.behaviour_options(options)
        own = dataclasses.replace(own, seeds=tuple(each.seed for each in behaviours.runs))  # one, if seeds share it
        config = deflow.agent.restore_agent(group.runs[0].config["agent"])
        alone = TrainingState(*fresh_learner(own, config, task))
        with Session(
            group, schedule(own), judge, interrupt, held_out=held_out(task, config), continued_by=run
        ) as session:
            train(own, task, session, session.begin(alone), phase="behaviour")
        if session.interrupted:
            sys.exit(interrupt.code or session.code)
        if group.stopped or not group.has_saved(session.step):
            cli.fail(" ".join(session.failures), 1)
    return dataclasses.replace(start, learner=start.learner.with_behaviour(behaviours.agents))


def train(
    options: Offline,
    task: deflow.Task,
    session: Session,
    state: TrainingState,
    proposals: list[deflow.Proposals] | None = None,
    *,
    phase: str = "training",
) -> TrainingState:
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
            proposals=proposals,
            devices=cli.devices_of(options),
        )

    return session.follow(
        lambda state: updates(state, session.schedule.dispatch_size),
        state,
        last=options.steps,
        phase=phase,
        one_by_one=lambda state: updates(state, 1),
    )


if __name__ == "__main__":
    cli.run(main, defaults, description=__doc__)

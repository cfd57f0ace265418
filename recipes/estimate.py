"""Estimate what policies are worth before they run, from logged data alone, and rank them.

    python recipes/estimate.py runs/none/deflow/seed0-20260101-120000
    python recipes/estimate.py runs --step all

Fits critics to the data of each run with the policy's own next actions (fitted Q evaluation), and says what else speaks
for or against it. Every result is written at once to estimates.csv; the same command goes on where it was.
"""

import deflow.workers.early_interrupt  # isort: split

import dataclasses
import os
import time
from collections import Counter
from pathlib import Path
from typing import Annotated, Literal

import tyro

import deflow
from deflow import cli, report
from deflow.errors import (
    DataError,
    EstimationError,
    EvaluationInterrupted,
    ReportError,
    RunError,
    SerializationError,
)
from deflow.estimation import judging_critic
from deflow.estimation.estimate import MEMBERS, ROWS, STEPS
from deflow.keys import check_seeds
from deflow.runs import recorded_task
from deflow.runs.atomic_files import write_text
from deflow.workers import graceful_interrupts


@dataclasses.dataclass(frozen=True)
class Estimate:
    """Options of the recipe."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Directories of runs, or folders with runs."""

    step: int | Literal["newest", "best", "all"] = "newest"
    """Which checkpoints of each: the newest intact one, that of a step, the best, or all that were kept."""

    critic: str = "ensemble"
    """The critic that is fitted, by its name in the registry."""

    members: int = MEMBERS
    """Number of critics that are fitted independently."""

    steps: int = STEPS
    """Updates of each."""

    rows: int = ROWS
    """Most transitions they are fitted to; of more data, whole trajectories are drawn."""

    actions: int = 2
    """Actions of the policy that are drawn in each state."""

    seed: int = 0
    """What is random follows from this."""

    output: Path = Path("estimates.csv")
    """Where the numbers go, a row for each policy; the picture goes beside it. What is there already stays."""

    data_dir: Path | None = None
    """Data directory, if the runs' data has moved (default: where it lay)."""

    import_: cli.Import = ()
    """Python files with your own parts that the runs were trained with, which are run first."""

    def __post_init__(self):
        for name, least in {"members": 1, "steps": 1, "rows": 1, "actions": 1}.items():
            if getattr(self, name) < least:
                raise ValueError(f"--{name} must be at least {least}, got {getattr(self, name)}.")
        check_seeds("--seed", self.seed)


def main(options: Estimate) -> None:
    """Find the policies, estimate those that are not in the table yet, and rank all of them."""
    cli.import_files(options.import_)
    critic = judging_critic(options.critic)
    every = runs_in(options.runs)
    check_comparable(every)
    wanted = [(run, step) for run in every for step in steps_of(run, options.step)]
    if not wanted:
        raise ValueError("There is no checkpoint to estimate: train a run first.")
    there = report.Estimates.read(options.output) if options.output.exists() else report.Estimates(())
    write(options.output, there)  # a folder that cannot be written is known before the work
    known = {(policy.run, policy.step, policy.settings) for policy in there.policies}
    todo = [(run, step) for run, step in wanted if (place(run, options), step, settings(options)) not in known]
    names = names_of(every)
    cli.print_facts("Estimates from data alone", facts(options, wanted, todo))
    tasks: dict[str, deflow.Task] = {}
    failed, said = False, set()
    with graceful_interrupts() as interrupt:
        for number, (run, step) in enumerate(todo, 1):
            began = time.perf_counter()
            try:
                task = task_of(run, options, tasks)
                found = deflow.estimate(
                    policy_of(run, step),
                    task,
                    critic=critic,
                    **{name: getattr(options, name) for name in ("members", "steps", "rows", "actions", "seed")},
                    interrupt=interrupt,
                )
            except EvaluationInterrupted:
                cli.say(f"Interrupted: {number - 1} of {len(todo)} are in {options.output}; the same command goes on.")
                raise SystemExit(interrupt.code) from None
            except (DataError, RunError, SerializationError, EstimationError) as error:  # of this one alone
                cli.say(f"Left out: {run.path}, at step {step:,}: {error}")
                failed = True
                continue
            numbers = {**found.metrics(), **measured(run, step)}
            policy = report.EstimatedPolicy(place(run, options), names[run.path], step, settings(options), numbers)
            there = there.with_policies([policy])
            write(options.output, there)
            left = (time.perf_counter() - began) * (len(todo) - number)
            cli.say(f"{run.path}, at step {step:,}: {found}", *(each for each in found.warnings if each not in said))
            said.update(found.warnings)
            if number < len(todo):
                cli.say(f"{len(todo) - number} to go, about {max(round(left / 60), 1)} min.")
    keys = {(place(run, options), step) for run, step in wanted}
    ranked = report.Estimates(
        tuple(
            policy
            for policy in there.policies
            if (policy.run, policy.step) in keys and policy.settings == settings(options)
        )
    )
    if not ranked.policies:
        if not there.policies:
            options.output.unlink(missing_ok=True)
        raise SystemExit(1)
    cli.show(ranked.table())
    picture = report.estimates_figure(ranked, options.output.with_suffix(".png"))
    cli.say(*ranked.notes(), f"Table: {options.output}", f"Picture: {picture}")
    if failed:
        raise SystemExit(1)


# --- what is estimated


def policy_of(run: deflow.Run, step: int) -> deflow.Policy:
    """The policy of a step, which may only be kept as the best."""
    return deflow.load(run, step=step if step in run.checkpoints.steps() else "best")


def runs_in(paths: tuple[Path, ...]) -> list[deflow.Run]:
    """The runs in these folders.

    Raises:
        ReportError: If one has none, or only what was archived of some.
    """
    found = [path for path in report.find_runs(paths, to="estimate") if path.is_dir()]
    if not found:
        raise ReportError("There are archives only, which have no policies: give run directories.")
    return [deflow.Run.open(path.absolute()) for path in found]


def check_comparable(runs: list[deflow.Run]) -> None:
    """Refuses runs whose values would be of different things.

    Raises:
        ValueError: If their tasks, data or discounts differ.
    """
    first = kind_of(runs[0])
    for run in runs:
        for what, value in kind_of(run).items():
            if value != first[what]:
                raise ValueError(
                    f"Values compare only on one task, its data and its discount, and the {what} of {run.path} is "
                    f"{value}, of {runs[0].path} {first[what]}: estimate them one after the other."
                )


def kind_of(run: deflow.Run) -> dict[str, object]:
    """What two runs must share for their values to compare."""
    if not {"agent", "data"} <= run.config.keys():
        raise RunError(f"{run.path} holds no agent and no data: give runs that a recipe or deflow.create_run made.")
    discount = run.config["agent"]["discount"]
    return {"task": run.environment, "data": run.config["data"]["sha256"][:12], "discount": discount}


def steps_of(run: deflow.Run, step: int | str) -> list[int]:
    """The steps of the checkpoints that were asked for; none, and a word about it, if the run has none yet."""
    kept = sorted({*run.checkpoints.steps(), *run.best.steps()})
    if not kept:
        cli.say(f"Left out, since it has no checkpoint yet: {run.path}")
        return []
    if step == "all":
        return kept
    if isinstance(step, int):
        if step not in kept:
            raise ValueError(f"{run.path} has no checkpoint of step {step:,}, but of {', '.join(map(str, kept))}.")
        return [step]
    some = run.best.steps() if step == "best" else run.checkpoints.steps()
    if not some:
        raise ValueError(f"{run.path} has no best checkpoint, since it was never evaluated: leave --step out.")
    return [max(some)]


def task_of(run: deflow.Run, options: Estimate, tasks: dict[str, deflow.Task]) -> deflow.Task:
    """The run's task and data. Only the last one stays in memory."""
    same = str([run.config.get(name) for name in ("data", "environment", "rewards", "action_bounds")])
    if same not in tasks:
        tasks.clear()
        tasks[same] = recorded_task(run, data_dir=options.data_dir)
    return tasks[same]


def measured(run: deflow.Run, step: int) -> dict[str, float]:
    """What the environment said of the policy at this step, if it was asked."""
    rows = run.read("eval")
    at = rows["step"] == step
    return {name: float(rows[name][at][-1]) for name in report.MEASURED if name in rows and at.any()}


# --- what is said


def settings(options: Estimate) -> str:
    """What an estimate was made with."""
    return " ".join(
        f"{name}={getattr(options, name)}" for name in ("critic", "members", "steps", "rows", "actions", "seed")
    )


def place(run: deflow.Run, options: Estimate) -> str:
    """The run's directory, from the table's folder, so that both can be moved."""
    return Path(os.path.relpath(run.path, options.output.absolute().parent)).as_posix()


def names_of(runs: list[deflow.Run]) -> dict[Path, str]:
    """A name for each run in tables: algorithm and seed, and its directory's where that is not unique."""
    names = {run.path: f"{run.algorithm} {run.seed}" for run in runs}
    several = Counter(names.values())
    return {path: name if several[name] == 1 else f"{name} {path.name}" for path, name in names.items()}


def facts(options: Estimate, wanted: list, todo: list) -> dict[str, str]:
    """The first screen."""
    there = f", {len(wanted) - len(todo)} of them in {options.output} already" if len(todo) < len(wanted) else ""
    return {
        "policies": f"{len(wanted)}{there}",
        "by": f"fitted Q evaluation: {cli.counted(options.members, 'critic')} ({options.critic}), {options.steps:,} "
        f"updates, at most {options.rows:,} transitions, {options.actions} actions of the policy in each state",
        "files": str(options.output),
    }


def write(path: Path, estimates: report.Estimates) -> None:
    """The table, whole or not at all."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, estimates.csv())
    except OSError as error:
        raise ReportError(f"Cannot write {path}: {error.strerror or error}; choose another --output.") from error


if __name__ == "__main__":
    cli.run_plain(main, Estimate, description=__doc__)

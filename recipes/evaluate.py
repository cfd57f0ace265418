"""Evaluate a finished run again; the same seed gives the same numbers.

python recipes/evaluate.py runs/cube-single-play-singletask-task2-v0/deflow/seed0-20260101-120000 --episodes 100
"""

import deflow.workers.early_interrupt  # isort: split

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

import tyro

import deflow
from deflow import cli
from deflow.runs import load_learner


@dataclasses.dataclass(frozen=True)
class Evaluate:
    """Options of the recipe."""

    run: Annotated[Path, tyro.conf.Positional]
    """The run's directory."""

    episodes: int | None = None
    """Number of episodes (default: that of the run's own evaluations)."""

    seed: int | None = None
    """Seed of the episodes and of the policy (default: that of the run's own evaluations)."""

    step: int | Literal["best"] | None = None
    """Which checkpoint: that of a step, or the best by success (default: the newest intact one)."""

    workers: int | None = None
    """Processes (default: one per core). The numbers do not depend on it."""

    import_: cli.Import = ()
    """Python files with your own parts that the run was trained with, which are run first."""


def main(options: Evaluate) -> None:
    """Load, evaluate, and say how it went."""
    cli.import_files(options.import_)
    run = deflow.Run.open(options.run)
    learner, step = load_learner(run, step=options.step)
    made_in = run.config.get("environment", {"name": run.environment})
    if made_in is None:
        raise ValueError(
            f"{run.path} was trained on data alone, so there is no environment to play episodes in: judge it with "
            f"{cli.command('estimate', run.path)}"
        )
    environment = deflow.Environment(**made_in)
    own = {"episodes": 50, "seed": run.seed, **run.config.get("evaluation", {})}
    episodes = own["episodes"] if options.episodes is None else options.episodes
    seed = own["seed"] if options.seed is None else options.seed
    if environment.spec() != learner.agent.spec:
        raise ValueError(
            f"The checkpoint's sizes do not fit the environment {environment.name}: it was trained for "
            f"{learner.agent.spec}, the environment has {environment.spec()}."
        )
    with deflow.Evaluator(environment, workers=options.workers) as evaluator:
        result = evaluator(learner.agent, episodes=episodes, seed=seed, progress=True)
    cli.say(f"{run.path}, at step {step:,}, seed {seed}:", str(result))


if __name__ == "__main__":
    cli.run_plain(main, Evaluate, description=__doc__)

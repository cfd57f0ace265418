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
from deflow.evaluation import check_video, write_video
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

    video: int = 0
    """How many of the episodes to show side by side in a video, the first ones, at most 16 (0: no video)."""

    output: Path | None = None
    """File of the video, ending in .mp4; the GIF beside it has the same name (default: videos/step<step>.mp4 in the
    run's directory)."""

    import_: cli.Import = ()
    """Python files with your own parts that the run was trained with, which are run first."""

    def __post_init__(self):
        if self.video < 0:
            raise ValueError(f"--video must be at least 0, got {self.video}.")
        if self.output is not None and not self.video:
            raise ValueError("--output is the file of a video: ask for one, such as --video 4, or leave it out.")


def main(options: Evaluate) -> None:
    """Load, evaluate, and say how it went."""
    run = cli.open_run(options.run, options.import_)
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
    output = options.output or run.path / "videos" / f"step{step}.mp4"
    if options.video:
        if options.video > episodes:
            raise ValueError(f"--video {options.video} shows more than the {episodes} episodes that are played.")
        check_video(output, options.video)
    with deflow.Evaluator(environment, workers=options.workers, renders=options.video > 0) as evaluator:
        result = evaluator(learner.agent, episodes=episodes, seed=seed, progress=True)
        cli.say(f"{run.path}, at step {step:,}, seed {seed}:", str(result))
        if options.video:
            films = evaluator.film(learner.agent, episodes=options.video, seed=seed, progress=True)
            title = f"{environment.name}, {run.algorithm} at step {step:,}, seed {seed}"
            video = write_video(films, output, title=title)
            cli.say(f"The first {cli.counted(options.video, 'episode')}: {video.mp4} and {video.gif.name}")


if __name__ == "__main__":
    cli.run_plain(main, Evaluate, description=__doc__)

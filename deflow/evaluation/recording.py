"""Recording a policy: the first episodes of an evaluation as a video."""

import os
from collections.abc import Callable
from typing import Any

from ..environments import EnvironmentLike
from .evaluator import Evaluator, in_unit_box, workers_for
from .video import Video, check_video, write_video


def record(
    policy: Callable[..., Any],
    environment: EnvironmentLike,
    *,
    path: str | os.PathLike[str],
    episodes: int = 4,
    seed: int = 0,
    title: str = "",
    every: int | None = None,
    workers: int | None = None,
    progress: bool = False,
) -> Video:
    """Write a video of the first episodes of the evaluation with this seed, side by side, and a GIF beside it.

    Below each are its number, its return so far and its step, and a green frame says that it is solved.

    Args:
        policy: What is evaluated, `policy(observation, *, key) -> action`.
        environment: A task, an environment's id, or any picklable with `make()`. The pictures are those of its
            `render()`, so what `make()` returns must draw, as with `render_mode="rgb_array"`.
        path: The video's file, which ends in `.mp4`. The GIF has the same name.
        episodes: How many of the evaluation's episodes are shown, at most 16.
        seed: Seed of the evaluation.
        title: A line above the episodes.
        every: Steps from one picture to the next; by default as few as give the longest episode 200 pictures.
        workers: Processes (default: one per core).
        progress: Whether to show a progress bar.

    Returns:
        The paths of both files.

    Raises:
        TypeError: If the policy cannot be called.
        DataError: If imageio with its ffmpeg is not installed, before any episode is played.
        FolderError: If the file's folder cannot be made or written to, before any episode is played.
        EvaluationError: If the environment does not draw, before any episode is played; or if an episode fails, a
            worker dies, or a file cannot be written.
        ValueError: For a number that cannot be used, or a name that does not end in `.mp4`.
    """
    policy = in_unit_box(policy)
    path = check_video(path, episodes)
    workers = workers_for(episodes) if workers is None else workers
    with Evaluator(environment, workers=workers, renders=True) as evaluator:
        films = evaluator.film(policy, episodes=episodes, seed=seed, every=every, progress=progress)
        return write_video(films, path, title=title)

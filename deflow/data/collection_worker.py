"""The worker process of a collection: it plays one episode and saves it."""

import functools
import pathlib

from ..environments import Behaviour, behaviour_of, parse_task_name, quiet_imports, quiet_spaces
from ..errors import CollectionError
from .episodes import play_episode, write_episode


def collect_episode(task_name: str, path: str, seed: int, split: str, index: int, steps: int) -> int:
    """Play one episode in a worker and save it. Returns its number of transitions."""
    write_episode(
        pathlib.Path(path), play_episode(_behaviour(task_name), seed=seed, split=split, index=index, steps=steps)
    )
    return steps


@functools.lru_cache(maxsize=1)
def _behaviour(task_name: str) -> Behaviour:
    task = parse_task_name(task_name)
    if task is None:
        raise CollectionError(f"{task_name} is not an OGBench task, so it has no oracle to collect data with.")
    with quiet_imports(), quiet_spaces():
        return behaviour_of(task)(task.of_states.base_id)

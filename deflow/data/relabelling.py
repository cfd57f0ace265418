"""Relabelling: a task's rewards and masks, by OGBench's own rules, for data that was collected without a task."""

import contextlib
import pathlib
from collections.abc import Iterator

import gymnasium
import numpy as np
from ogbench.relabel_utils import relabel_dataset

from ..environments import Environment, quiet_spaces, task_names
from ..errors import DataError
from .npz import read_columns

STATE_COLUMNS = ("qpos", "button_states")
"""The columns that OGBench's rules use."""


def state_widths(environment: gymnasium.Env) -> dict[str, int]:
    """Numbers per row of the columns that OGBench's rules use, in this environment (which is reset)."""
    with unchanged_global_generator(), quiet_spaces():
        environment.reset(seed=0)
    bare = environment.unwrapped
    widths = {"qpos": int(bare.model.nq)}  # pyright: ignore[reportAttributeAccessIssue]
    if hasattr(bare, "_num_buttons"):
        widths["button_states"] = int(bare._num_buttons)  # pyright: ignore[reportAttributeAccessIssue]
    return widths


def relabel(
    identifier: str, environment: gymnasium.Env, states: dict[str, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Rewards and masks (float32, shape (N,)) of the environment's task for N states of the simulator.

    The goal of a single task is fixed, so the result is always the same; the generators are seeded nevertheless.
    """
    columns = dict(states)
    with unchanged_global_generator(), quiet_spaces():
        environment.reset(seed=0)
        relabel_dataset(identifier, environment, columns)
    return columns["rewards"], columns["masks"]


def task_successes(name: str, path: pathlib.Path) -> dict[str, int]:
    """For every task of this task's environment: the number of transitions of the file in a solved state."""
    task = Environment(name).task
    if task is None:
        raise DataError(f"{name} is not an OGBench task, and only these share a file between tasks: give one of them.")
    columns = read_columns(path, ("terminals", *STATE_COLUMNS))
    keep = ~columns.pop("terminals").astype(bool)
    states = {column: values[keep] for column, values in columns.items()}
    prefix = task.dataset.removesuffix("-v0") + "-singletask-task"
    counts = {}
    for sibling in (other for other in task_names(pixels=True) if other.startswith(prefix)):
        environment = Environment(sibling).of_states
        made = environment.make()
        assert environment.task is not None
        _, masks = relabel(environment.task.environment_id, made, states)
        made.close()
        counts[sibling.removeprefix(prefix[: -len("task")]).split("-")[0]] = int(np.sum(masks == 0))
    return counts


@contextlib.contextmanager
def unchanged_global_generator() -> Iterator[None]:
    """A context with a seeded global generator of NumPy, which mazes use. Its state is restored afterwards."""
    state = np.random.get_state()
    np.random.seed(0)
    try:
        yield
    finally:
        np.random.set_state(state)

"""The worker process that draws an episode of a visual set: it puts the simulator into each of its states."""

import functools
import pathlib
from typing import Any

import numpy as np

from ..environments import Environment, quiet_spaces
from ..errors import CollectionError
from .episodes import read_episode, write_episode
from .relabelling import unchanged_global_generator

STATES = ("qpos", "qvel", "button_states")
"""The columns that a picture depends on, as far as an episode has them."""


def draw_episode(task_name: str, played: str, path: str) -> int:
    """Draw an episode that was played and save its images, with the name of what drew them. Returns their number.

    An image is that of the recorded state. What an environment shows after a step is a substep of its simulator (2 ms)
    older.
    """
    episode = read_episode(pathlib.Path(played))
    if episode is None:
        raise CollectionError(f"{played} is damaged: run the same command again to replace it.")
    simulator = _simulator(task_name)
    images = []
    for state in zip(*(episode[name].astype(np.float64) for name in STATES if name in episode), strict=True):
        simulator.set_state(*state[:2], *(buttons.astype(np.int64) for buttons in state[2:]))
        images.append(simulator.get_pixel_observation())
    write_episode(pathlib.Path(path), {"images": np.asarray(images), "drawn_by": np.asarray(graphics())})
    return len(images)


@functools.lru_cache(maxsize=1)
def _simulator(task_name: str) -> Any:
    made = Environment(task_name, frame_stack=1, picture_effects=False).make()
    with quiet_spaces(), unchanged_global_generator():
        made.reset(seed=0)
    return made.unwrapped


def graphics() -> str:
    """What draws in this process, once it has drawn: the renderer and the version of OpenGL."""
    from OpenGL import GL

    GL.glGetError()  # MuJoCo leaves one, which the next call would raise
    return b", ".join(GL.glGetString(name) or b"?" for name in (GL.GL_RENDERER, GL.GL_VERSION)).decode()

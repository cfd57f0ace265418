"""A filmed episode: its pictures in a file, and what was true when each was taken."""

from pathlib import Path
from typing import NamedTuple

import gymnasium
import numpy as np

from ..environments import why_nothing_is_drawn, without_slow_effects
from ..errors import EvaluationError, first_line
from .outcome import Moment, Outcome
from .pictures import as_picture


class Film(NamedTuple):
    """One episode in F pictures."""

    episode: int
    """Its number among the evaluation's episodes."""

    outcome: Outcome
    """How it ended, as in an evaluation."""

    moments: tuple[Moment, ...]
    """What was true when each picture was taken. The last is that of the episode's end."""

    path: str
    """File of the pictures, which exists as long as the evaluator that made it, or until it films again."""

    height: int
    """Height of a picture in pixels."""

    width: int
    """Width of a picture in pixels."""

    def pictures(self) -> np.ndarray:
        """The pictures, bytes of shape (F, H, W, 3), which stay in the file."""
        return np.memmap(self.path, np.uint8, "r", shape=(len(self.moments), self.height, self.width, 3))


class Camera:
    """Takes a picture of an environment at the start of an episode, then after every `every` steps and at the end."""

    def __init__(self, environment: gymnasium.Env, path: Path, every: int):
        self._environment, self._every = environment, every
        self._path = path
        self._moments: list[Moment] = []
        self._shape: tuple[int, ...] = ()
        self._file = open(path, "wb")  # noqa: SIM115 (open until the episode ends)

    def __call__(self, moment: Moment) -> None:
        """Look at the episode at one of its moments."""
        if moment.step % self._every and not moment.done:
            return
        picture = taken(self._environment)
        if self._moments and picture.shape != self._shape:
            raise EvaluationError(
                f"Its pictures changed their size from {self._shape[:2]} to {picture.shape[:2]} within the episode: "
                "let render() return pictures of one size."
            )
        self._shape = picture.shape
        self._moments.append(moment)
        try:
            self._file.write(picture.tobytes())
            self._file.flush()  # its length tells how far the film is
        except OSError as error:
            raise EvaluationError(
                f"The pictures cannot be written to {self._path.parent} ({error.strerror}): free some space, or set "
                "TMPDIR to another folder."
            ) from error

    def film(self, episode: int, outcome: Outcome) -> Film:
        """What was filmed, once the episode has ended."""
        return Film(episode, outcome, tuple(self._moments), str(self._path), *self._shape[:2])

    def __enter__(self) -> "Camera":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def taken(environment: gymnasium.Env) -> np.ndarray:
    """A picture of the environment as it is, of shape (H, W, 3) in bytes.

    Raises:
        EvaluationError: If it draws none.
    """
    without_slow_effects(environment)
    try:
        rendered = environment.render()
    except Exception as error:
        advice = why_nothing_is_drawn() or "Look at what it does."
        raise EvaluationError(f"Its render() raised {type(error).__name__} ({first_line(error)}). {advice}") from error
    return as_picture(rendered)

"""The best of each run, kept apart from the checkpoints that training goes on from."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from jaxtyping import PyTree

from deflow.runs.background import Background
from deflow.runs.checkpoints import Checkpoints
from deflow.runs.errors import CheckpointError, RunWarning, first_of
from deflow.runs.manifest import DamagedError
from deflow.runs.snapshot import Snapshot


class Best:
    """Keeps in each folder the one checkpoint of the highest score, written in a thread; failures are as `Saver`'s."""

    def __init__(self, folders: Sequence[Checkpoints]):
        self.folders = tuple(folders)
        self.scores = [_best_score(folder) for folder in self.folders]
        """The score of what is there for each folder; minus infinity for nothing."""
        self._background = Background(lambda: "the best one before is kept")

    @property
    def failures(self) -> list[str]:
        """What could not be saved, in a sentence each."""
        return self._background.failures

    def save(
        self, step: int, scores: Sequence[float], states: Sequence[PyTree | None], notes: Sequence[Mapping[str, Any]]
    ) -> None:
        """Save the states whose score is strictly higher than what is there, with the score among their notes.

        `None` is left out. The one before goes when the new one is whole.
        """
        what = f"Cannot save the best of step {step}"
        self.wait()  # now the scores are those of what is there
        every = zip(range(len(self.folders)), scores, states, notes, strict=True)
        better = [each for each in every if each[2] is not None and each[1] > self.scores[each[0]]]
        with self._background.guard(what):
            snapshots = {
                index: Snapshot.of(state, {**said, "score": float(score)}).copy()
                for index, score, state, said in better
            }
            self._background.start(what, lambda: self._write(step, snapshots))

    def wait(self) -> None:
        """Wait until what was given to `save` is written, or has failed."""
        self._background.wait()

    def _write(self, step: int, snapshots: Mapping[int, Snapshot]) -> None:
        errors: list[Exception] = []
        for index, snapshot in snapshots.items():
            folder = self.folders[index]
            try:
                folder.write(step, snapshot)
                self.scores[index] = snapshot.notes["score"]
                for other in folder.steps():
                    if other != step:
                        folder.remove(other)
            except (CheckpointError, OSError) as error:
                errors.append(error)
        if errors:
            self._background.fail(first_of(errors))


def _best_score(folder: Checkpoints) -> float:
    scores = [float("-inf")]
    for step in folder.steps():
        try:
            scores.append(folder.notes(step).get("score", scores[0]))
        except DamagedError as error:
            where = folder.directory / str(step)
            warnings.warn(f"{where} is damaged ({error}); the next evaluation replaces it.", RunWarning, stacklevel=2)
    return max(scores)

"""A session follows a training loop: it logs rows, evaluates, saves checkpoints, and decides when to stop."""

import contextlib
import dataclasses
import threading
from collections.abc import Callable
from typing import Any

import jax

from .. import hosts
from ..agent import Agent
from ..errors import EstimationError, EvaluationError, EvaluationInterrupted, InteractionError
from ..estimation import Estimator
from ..evaluation import Evaluator, SharedEvaluator
from ..keys import named_key
from ..runs import HostsGroup, Run, RunGroup, resume_command
from ..runs.scores import scores_of
from ..training.faults import Fault, first_faults, parameter_faults
from .ending import farewell, show_runs
from .metrics import PendingMetrics
from .phase import Capture, Loop, Phase
from .progress import Progress
from .schedule import Schedule
from .state import Online, TrainingState, blank, sizes, with_key


class Session:
    """Runs that are trained together, from `begin` to `close`."""

    def __init__(
        self,
        group: RunGroup | HostsGroup,
        schedule: Schedule,
        evaluator: Evaluator | SharedEvaluator | Estimator | None,
        interrupt: threading.Event,
        *,
        held_out: Callable[[Agent], float] | None = None,
        continued_by: Run | None = None,
    ):
        """Without an `evaluator`, policies are not judged. `held_out` gives the flow's loss on held-out data, for
        train.csv. `continued_by` is a run that waits for all of these: it is the one to continue after an interrupt,
        and no seed may stop before the others."""
        self.group = group
        self.schedule = schedule
        self.step = 0
        """The current step: updates made offline, then environment steps."""
        self.interrupted = False
        self._evaluator = evaluator
        self._continued_by = continued_by
        self._interrupt = interrupt
        self._seeds = [run.seed for run in group.runs]
        self._rollbacks = [0] * len(self._seeds)
        self._metrics = PendingMetrics(len(self._seeds), held_out)
        self._saved = -1
        self._owes_evaluation = False
        self._start: tuple[int, TrainingState]

    def begin(self, fresh: TrainingState, step: int = 0) -> TrainingState:
        """The state in the newest intact checkpoint, or `fresh` at `step`. Later rows are removed from the logs.

        Raises:
            CheckpointError: If there are checkpoints but none is intact, or they are of another agent.
        """
        self._start = step, fresh
        return self._restore()

    def follow(
        self,
        loop: Loop,
        state: TrainingState,
        *,
        last: int,
        phase: str,
        capture: Capture = tuple,
        one_by_one: Loop | None = None,
    ) -> TrainingState:
        """Runs the loop until step `last`, an interrupt, or until all seeds have stopped.

        `capture` returns what else belongs in a checkpoint. `one_by_one` is the same loop with one update per dispatch,
        which finds the first bad update of a dispatch. If the loop raises an error, what was computed is saved first.

        Raises:
            FloatingPointError: If all seeds have stopped because of numbers that are not finite, or one that is needed.
        """
        if self.step >= last and not self._owes_evaluation:
            return state
        stretch = Phase(loop, last, capture, one_by_one)
        with Progress(phase, self.step, last) as bar:
            if self._owes_evaluation and not self._ends():  # a start, or it was due when training was interrupted
                self._evaluate(state, bar)
                self._save(state, state.online)
            finished = self.step >= last
            while not (finished or self._ends()):
                try:
                    state, finished = self._train(stretch, state, bar), True
                except _WentBack as back:
                    state = back.state
                    bar.back(self.step)
            if self.interrupted:
                bar.write(farewell(self.group, self.step, last, self._continued_by))
        return state

    @property
    def failures(self) -> list[str]:
        """What could not be saved, one sentence each."""
        return self.group.failures

    @property
    def code(self) -> int:
        """Exit code: 1 if something could not be saved, or a seed or another process stopped early, else 0."""
        return int(bool(self.failures or self.group.stopped or (self.interrupted and not self._interrupt.is_set())))

    def __enter__(self) -> "Session":
        self.group.lock()
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        if error is None:
            show_runs(self.group, self.step)
        self.group.close()  # waits for the last checkpoint

    # --- one stretch of the loop

    def _train(self, phase: Phase, state: TrainingState, bar: Progress) -> TrainingState:
        """Follows the loop to its end, or to an interrupt.

        Raises:
            _WentBack: If training returns to an earlier state.
        """
        before = state
        bar.begin()
        try:
            for step, learner, metrics in phase.loop(state):
                due = self.schedule.due(self.step, step, phase.last, plays=self._evaluator is not None)
                ends = self._ends()  # once for all below, before anything changes: it fails if another process is gone
                self.step, state = step, TrainingState(learner, state.key)
                self._metrics.add(step, metrics)
                bar.show(step)
                look = ends or any(due)
                if look or phase.one_by_one:
                    self._check(phase, before, state, bar, parameters=look)
                bar.tell(step)
                if due.log:
                    self.group.log(step, rows := self._metrics.rows(state.learner))
                    bar.logged(rows)
                self._owes_evaluation |= due.evaluation
                if due.save or ends:  # before an evaluation, which may take long or fail
                    self._save(state, phase.capture())
                if due.evaluation and not ends:
                    self._evaluate(state, bar)
                    if ends := self._ends():
                        self._save(state, phase.capture())
                if ends:
                    break
                before = state
            else:  # the loop may end before `last`
                self._check(phase, before, state, bar, parameters=True)
                self._save(state, phase.capture())
        except (_WentBack, FloatingPointError):  # nothing that is worth keeping
            raise
        except Exception as error:
            with contextlib.suppress(FloatingPointError, InteractionError, _WentBack):
                self._check(dataclasses.replace(phase, one_by_one=None), before, state, bar, parameters=True)
                self._save(state, phase.capture())
            if isinstance(error, InteractionError) and self._ends():  # an environment that hung when it was to end
                bar.write(str(error))
                return state
            raise
        return state

    def _ends(self) -> bool:
        self.interrupted = self.interrupted or hosts.any_of(self._interrupt.is_set())
        return self.interrupted

    # --- numbers that are not finite

    def _check(
        self, phase: Phase, before: TrainingState, state: TrainingState, bar: Progress, *, parameters: bool
    ) -> None:
        """Looks for numbers that are not finite in the metrics since the last call and, with `parameters`, in all
        parameters."""
        faults = self._metrics.take()
        if parameters or faults:
            faults = parameter_faults(self.step, state.learner) | faults
        faults = {seed: fault for seed, fault in faults.items() if seed not in self.group.stopped}
        if faults and phase.one_by_one is not None:  # which of the dispatch's updates was the first?
            again = first_faults(phase.one_by_one(before), len(self._seeds), last=self.step)
            faults |= {seed: fault for seed, fault in again.items() if seed in faults}
        if faults:
            self._answer(faults, bar)

    def _answer(self, faults: dict[int, Fault], bar: Progress) -> None:
        """Goes back, or stops the seeds with numbers that are not finite."""
        back = self.schedule.on_nonfinite == "rollback"
        if back and all(self._rollbacks[seed] < self.schedule.rollbacks for seed in faults):
            self.group.wait()
            for seed, fault in faults.items():
                self._rollbacks[seed] += 1
                bar.write(f"Seed {self._seeds[seed]}: {fault}: back to the last intact checkpoint, with a new key.")
            raise _WentBack(self._restore())
        for seed, fault in faults.items():
            self.group.stop(seed, self.step, str(fault))
            at = self.group.stopped[seed].checkpoint
            anew = "train anew with a smaller learning rate."
            if at is None:
                remedy = f"there is no checkpoint, so {anew}"
            else:
                run = self._continued_by or self.group.runs[seed]
                remedy = (
                    f"the last intact checkpoint is of step {at:,}. Go on with "
                    f"{resume_command(run, '--on-nonfinite', 'rollback')}, or {anew}"
                )
            sentence = f"Seed {self._seeds[seed]} stopped: {fault}; {remedy}"
            if self._continued_by or len(self.group.stopped) == len(self._seeds):
                raise FloatingPointError(sentence)
            bar.write(sentence)

    # --- what is kept

    def _evaluate(self, state: TrainingState, bar: Progress) -> None:
        """A row of eval.csv per seed, all of them or none. Every evaluation of a run plays the same episodes."""
        assert self._evaluator is not None  # else none is due
        rows: list[dict[str, float]] = []
        for index, seed in enumerate(self._seeds):
            if index in self.group.stopped:
                rows.append({})
                continue
            try:
                agent = state.learner.seed(index).agent
                result = self._evaluator(
                    agent, episodes=self.schedule.episodes, seed=seed, progress=True, interrupt=self._interrupt
                )
            except EvaluationInterrupted:
                return
            except EvaluationError:
                if self._interrupt.is_set():  # the signal may have reached the workers too
                    return
                raise
            except EstimationError as error:  # training is none the worse for it
                bar.write(f"Seed {seed}: {error}")
                rows.append({})
                continue
            rows.append(result.metrics())
        _, scores = scores_of(rows)
        self.group.log_evaluation(self.step, rows)
        self._owes_evaluation = False
        self.group.save_best(self.step, scores, TrainingState(state.learner, state.key).split(), self._notes(()))
        bar.judged(rows)

    def _save(self, state: TrainingState, online: tuple[Online, ...]) -> None:
        if self.step == self._saved:
            return
        whole = TrainingState(state.learner, state.key, online)
        self.group.save(self.step, whole.split(), self._notes(online))
        self._saved = self.step

    def _notes(self, online: tuple[Online, ...]) -> list[dict[str, Any]]:
        notes = {
            "window": self._metrics.to_json(),
            "owes_evaluation": self._owes_evaluation,
            "rollbacks": self._rollbacks,
        }
        return [{**notes, "online": sizes(online[index : index + 1])} for index in range(len(self._seeds))]

    def _restore(self) -> TrainingState:
        """The newest state that is intact for all seeds, with new keys for those that went back."""
        step, fresh = self._start
        like = fresh.split()[0]
        spec = fresh.learner.agent.spec
        found = self.group.restore(lambda notes: TrainingState(like.learner, like.key, blank(notes["online"], spec)))
        state = fresh
        self._metrics.restore(None)
        self._owes_evaluation, self._saved = step > 0, -1
        if found is not None:
            states, every, step = found
            state = TrainingState.join(states, together=fresh.learner.seeds is not None)
            notes = next(notes for index, notes in enumerate(every) if index not in self.group.stopped)
            self._metrics.restore(notes["window"])
            self._owes_evaluation = notes["owes_evaluation"]
            self._rollbacks = [max(pair) for pair in zip(self._rollbacks, notes["rollbacks"], strict=True)]
            self._saved = step
        self.step = step
        self.group.rewind(step)
        if step in self.group.evaluated() and self.group.has_best(step):  # after the checkpoint was saved
            self._owes_evaluation = False
        for index, count in enumerate(self._rollbacks):
            if count:
                key = jax.random.key(self._seeds[index])
                state = with_key(state, index, named_key(key, f"rollback {count}"))
        return state


class _WentBack(Exception):  # noqa: N818 - no error
    """Training returns to an earlier state."""

    def __init__(self, state: TrainingState):
        super().__init__()
        self.state = state

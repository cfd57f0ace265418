"""Environments and worker processes that one recipe after another uses: a test of training is no test of their start.

They are the real ones. What they save is the start of Python, its imports and the making of an environment, which
takes longer than such a test trains. Those that failed, died or still work are ended, and the next recipe starts
others.
"""

import contextlib
import functools
import pickle
import tempfile
from multiprocessing import util
from pathlib import Path
from typing import NamedTuple

import pytest

from deflow.environments import Environment
from deflow.evaluation import evaluator, pool
from deflow.interaction import serving, worker_group

MOST = 4
"""Idle pools and idle actors that wait for the next recipe: that many environments fit into memory."""

_idle = {"pools": [], "actors": []}


@contextlib.contextmanager
def kept_workers():
    """A context in which evaluators and actors take the idle workers of their environment, if there are any, and this
    process makes each of OGBench's environments once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Environment, "make", _make)
        patch.setattr(evaluator, "EvaluationPool", _pool)
        patch.setattr(worker_group, "Actor", _actor)
        yield


_original = Environment.make
_once = functools.cache(_original)


def _make(environment):
    return _once(environment) if environment.task is not None else _original(environment)


def _taken(kind, key):
    for kept in _idle[kind]:
        if kept.key == key:
            _idle[kind].remove(kept)
            return kept
    return None


def _keep(kind, kept):
    _idle[kind].append(kept)
    if len(_idle[kind]) > MOST:
        _idle[kind].pop(0).end_for_good()


def _end_all():
    for kept in [*_idle["pools"], *_idle["actors"]]:
        kept.end_for_good()


util.Finalize(None, _end_all, exitpriority=0)  # before multiprocessing waits for them


# --- evaluation


class KeptPool(pool.EvaluationPool):
    """Processes with a folder of their own, since an evaluator removes its folder."""

    def __init__(self, environment, name, *, workers, renders):
        self.key = (environment, workers)
        self._asked = []
        self._folder = tempfile.TemporaryDirectory(prefix="deflow-kept-")
        super().__init__(environment, name, workers=workers, directory=Path(self._folder.name), renders=renders)

    def submit(self, method, *arguments):
        self._asked.append(super().submit(method, *arguments))
        return self._asked[-1]

    def kill(self):
        asked, self._asked = self._asked, []
        if all(map(_succeeded, asked)):
            _keep("pools", self)
        else:
            self.end_for_good()

    def end_for_good(self):
        super().kill()
        self._folder.cleanup()


def _succeeded(future):
    done = future.done() and not future.cancelled() and future.exception() is None
    return done and not isinstance(future.result(), pool.Failure)


def _pool(environment, name, *, workers, directory, renders):
    return _taken("pools", (environment, workers)) or KeptPool(environment, name, workers=workers, renders=renders)


# --- interaction


class MadeOnce(NamedTuple):
    """A pickled environment, of which a process makes one."""

    environment: bytes

    def make(self):
        return _made(self.environment)


@functools.cache
def _made(environment):
    return pickle.loads(environment).make()


class KeptPlayer(serving.Player):
    def renew(self, seed, index):
        """Play for another seed, from its first episode."""
        super().__init__(self._pickled, seed, index)


def _serve(*arguments):
    serving.Player = KeptPlayer
    serving.serve(*arguments)


class KeptActor(worker_group.Actor):
    def __init__(self, environment, name, *, seed, index, variables):
        self.key = environment
        self._waits = False
        self._folder = tempfile.TemporaryDirectory(prefix="deflow-kept-")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(worker_group, "serve", _serve)
            made_once = pickle.dumps(MadeOnce(environment))
            where = {"scratch": Path(self._folder.name), "variables": variables}
            super().__init__(made_once, name, seed=seed, index=index, **where)

    def ask(self, method, *arguments):
        super().ask(method, *arguments)
        self._waits = True

    def answer(self, *, interrupt, patience):
        answer = super().answer(interrupt=interrupt, patience=patience)
        self._waits = False
        return answer

    def end(self):
        if self._waits:
            self.end_for_good()
        else:
            _keep("actors", self)

    def end_for_good(self):
        super().end()
        self._folder.cleanup()

    def renewed(self, name, *, seed, index):
        """This process as a new actor of another seed."""
        self.name = f"environment {index} of seed {seed} of {name}"
        self.episode, self.actions = 0, []
        self.ask("renew", seed, index)
        self.answer(interrupt=None, patience=60)
        return self


def _actor(environment, name, *, seed, index, scratch, variables):
    kept = _taken("actors", environment)
    if kept is not None:
        return kept.renewed(name, seed=seed, index=index)
    return KeptActor(environment, name, seed=seed, index=index, variables=variables)

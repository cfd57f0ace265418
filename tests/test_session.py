"""Sessions: what is kept of a training, how it ends, and that one that was broken off ends like one that was not."""

import dataclasses
import math
import shutil
import threading
import warnings

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import deflow
from deflow import Learner, agent_config, solvers, train_offline
from deflow.errors import EstimationError, RunWarning
from deflow.replay import Dataset
from deflow.runs import RunGroup, storage
from deflow.runs.scores import scores_of
from deflow.session import Schedule, Session, TrainingState
from deflow.testing import example_data
from deflow.training.updates import batch_key

ENVIRONMENT = deflow.Environment("pointmaze-medium-navigate-singletask-task1-v0")
SPEC = ENVIRONMENT.spec()
DATA = example_data(SPEC, 4000)
SCHEDULE = Schedule(log_every=10, eval_every=40, save_every=20, episodes=1)


@pytest.fixture(scope="module")
def evaluator():
    with deflow.Evaluator(ENVIRONMENT, workers=1) as evaluator:
        yield evaluator


def fresh(seeds=(0,)):
    keys = [jax.random.key(seed) for seed in seeds]
    key = keys[0] if len(keys) == 1 else jnp.stack(keys)
    config = agent_config(width=8, depth=1, solver=solvers.Euler(steps=2))
    return TrainingState(Learner.create(config, SPEC, key=key), key)


def group(path, seeds=(0,)):
    return RunGroup.create(path, environment="e", algorithm="a", seeds=seeds, config={"recipe": "offline"})


def loop(data=DATA, per_dispatch=5, steps=80, spoil=None):
    """An offline training as a loop; `spoil(step, learner)` may do something to the learner on its way."""

    def made(state):
        for step, learner, metrics in train_offline(
            state.learner, data, steps=steps, key=state.key, batch_size=4, updates_per_dispatch=per_dispatch
        ):
            yield step, spoil(step, learner) if spoil else learner, metrics

    return made


def follow(runs, evaluator, *, state=None, schedule=SCHEDULE, interrupt=None, one_by_one=None, steps=80, **settings):
    """One process's part of a training: the session and the state it ended with."""
    start = state or fresh([run.seed for run in runs.runs])
    with Session(runs, schedule, evaluator, interrupt or threading.Event()) as session:
        end = session.follow(
            loop(steps=steps, **settings), session.begin(start), last=steps, phase="test", one_by_one=one_by_one
        )
    return session, end


def files(run):
    return {name: (run.path / name).read_text() for name in ("train.csv", "eval.csv") if (run.path / name).exists()}


def assert_same(one, other):
    for left, right in zip(*(jax.tree.leaves(eqx.filter(tree, eqx.is_array)) for tree in (one, other)), strict=True):
        left, right = (jax.random.key_data(x) if _is_key(x) else x for x in (left, right))
        np.testing.assert_array_equal(left, right)


def _is_key(leaf):
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


@pytest.fixture(scope="module")
def whole(tmp_path_factory, evaluator):
    """Two seeds, trained without a break."""
    runs = group(tmp_path_factory.mktemp("whole"), (0, 1))
    return runs, *follow(runs, evaluator)


def test_what_is_kept(whole):
    runs, session, end = whole
    assert session.code == 0
    assert end.learner.step.tolist() == [80, 80]
    for index, run in enumerate(runs.runs):
        assert run.read("train")["step"].tolist() == list(range(10, 81, 10))
        assert run.read("eval")["step"].tolist() == [40, 80]
        assert run.checkpoints.steps() == [40, 60, 80]
        assert run.best.steps() == [40]
        (state, _, step) = run.restore(fresh([run.seed]))
        assert step == 80
        assert_same(state.learner, end.learner.seed(index))
    rows = runs.runs[0].read("train")["training/critic_loss"]
    means = [np.mean(np.asarray(m["critic_loss"])[0]) for _, _, m in loop(per_dispatch=10)(fresh((0, 1)))]
    np.testing.assert_allclose(rows, means, rtol=1e-5)


def test_an_estimate_that_fails_does_not_end_training(tmp_path, capfd):
    def diverges(agent, **_):
        raise EstimationError("The fitted critics have diverged.")

    runs = group(tmp_path)
    session, end = follow(runs, diverges)
    assert (int(end.learner.step), session.code) == (80, 0)
    assert "Seed 0: The fitted critics have diverged." in "".join(capfd.readouterr())
    assert runs.runs[0].checkpoints.steps() == [40, 60, 80]
    assert runs.runs[0].best.steps() == []


def test_what_counts_in_a_row_of_an_evaluation():
    success, returned = (
        {"evaluation/success": 0.5, "evaluation/episode.return": 3.0},
        {"evaluation/episode.return": 3.0},
    )
    unknown = {**returned, "evaluation/success": math.nan}
    assert scores_of([success, unknown])[0] == "success"
    assert scores_of([unknown, returned]) == ("return", [3.0, 3.0])
    estimates = [
        {"estimate/value": -3.0, "estimate/supported": 1.0},
        {"estimate/value": 9.0, "estimate/supported": 0.0},
    ]
    name, scores = scores_of(estimates)
    assert (name, scores[0], math.isnan(scores[1])) == ("value", -3.0, True)
    assert scores_of(estimates[1:])[0] == "value"
    assert math.isnan(scores_of([{}])[1][0])


class InterruptAt:
    """Asked to end once it has been asked so often."""

    def __init__(self, count):
        self.count = count

    def is_set(self):
        self.count -= 1
        return self.count < 0


@pytest.mark.parametrize("count", [2, 5, 9, 12])
def test_a_training_that_is_interrupted_ends_like_one_that_is_not(whole, evaluator, tmp_path, count):
    """Between rows too: the next row is the mean over both parts. Another process would open the runs anew."""
    runs = group(tmp_path, (0, 1))
    session, _ = follow(runs, evaluator, interrupt=InterruptAt(count))
    assert session.interrupted
    assert 0 < session.step < 80
    assert max(runs.runs[0].checkpoints.steps()) == session.step
    again = RunGroup.open(runs.runs[1].path)
    session, end = follow(again, evaluator)
    assert not session.interrupted
    assert_same(end, whole[2])
    assert [files(run) for run in again.runs] == [files(run) for run in whole[0].runs]


def test_an_evaluation_that_is_interrupted_is_made_up_for(whole, evaluator, tmp_path):
    """Nothing of it is logged before; afterwards it is there once."""
    runs = group(tmp_path, (0, 1))
    event = threading.Event()

    class Interrupting:
        def __call__(self, *arguments, **settings):
            event.set()
            return evaluator(*arguments, **settings)

    session, _ = follow(runs, Interrupting(), interrupt=event)
    assert (session.step, session.interrupted) == (40, True)
    assert "eval.csv" not in files(runs.runs[0])
    session, end = follow(RunGroup.open(runs.runs[0].path), evaluator)
    assert_same(end, whole[2])
    assert [files(run) for run in runs.runs] == [files(run) for run in whole[0].runs]


def test_a_best_checkpoint_that_was_being_written_when_training_was_killed_is_made_up_for(whole, evaluator, tmp_path):
    """The evaluation is logged by then; it is not logged again."""
    runs = group(tmp_path, (0, 1))
    follow(runs, evaluator, steps=40)
    for run in runs.runs:
        shutil.rmtree(run.best.directory / "40")
    follow(RunGroup.open(runs.runs[0].path), evaluator, steps=40)
    for run in runs.runs:
        assert run.best.steps() == [40]
        assert run.read("eval")["step"].tolist() == [40]


def test_an_interrupt_says_what_could_not_be_saved(evaluator, tmp_path, monkeypatch, capfd):
    runs = group(tmp_path)
    monkeypatch.setattr(storage, "write", full_disk)
    with pytest.warns(RunWarning):
        follow(runs, evaluator, interrupt=InterruptAt(9))
    assert "it could not be saved in" in capfd.readouterr().out


def full_disk(*_):
    raise OSError(28, "No space left on device")


def test_a_run_that_is_over_stays_as_it_is_and_can_be_longer(whole, evaluator):
    runs = RunGroup.open(whole[0].runs[0].path)
    before = files(runs.runs[0])
    session, end = follow(runs, evaluator)
    assert session.step == 80
    assert_same(end, whole[2])
    assert files(runs.runs[0]) == before


def first_drawn_in(update, key):
    """A row of the data that is drawn in this update for the first time."""
    numbered = Dataset(dataclasses.replace(DATA, reward=np.arange(len(DATA), dtype=np.float32)).on_device())
    draw = jax.jit(lambda update: numbered.sample(4, update, key=batch_key(key, update)).reward)
    draws = [set(np.asarray(draw(jnp.asarray(index))).astype(int)) for index in range(update + 1)]
    return next(iter(draws[update] - set().union(*draws[:update])))


@pytest.fixture(scope="module")
def poisoned():
    """Data of which update 53 of seed 0 is the first to draw what is not a number."""
    reward = np.array(DATA.reward)
    reward[first_drawn_in(52, jax.random.key(0))] = np.nan
    return dataclasses.replace(DATA, reward=reward)


def test_a_loss_that_is_not_finite_ends_a_lone_seed(evaluator, tmp_path, poisoned):
    """The update and the term are named, and the last intact checkpoint."""
    runs = group(tmp_path)
    expected = (
        r"Seed 0 stopped: critic_loss is not finite \(nan\) at update 53; the last intact checkpoint is of step 40"
        r".* deflow resume .*seed0-.* --on-nonfinite rollback"
    )
    with pytest.raises(FloatingPointError, match=expected):
        follow(runs, evaluator, data=poisoned, one_by_one=loop(data=poisoned, per_dispatch=1))
    (run,) = runs.runs
    assert run.checkpoints.steps() == [20, 40]
    assert run.read("train")["step"].tolist() == [10, 20, 30, 40, 50]
    assert RunGroup.open(run.path).stopped[0].checkpoint == 40


def test_rollback_goes_on_with_another_key(evaluator, tmp_path, poisoned):
    schedule = dataclasses.replace(SCHEDULE, on_nonfinite="rollback")
    runs = group(tmp_path)
    session, end = follow(runs, evaluator, schedule=schedule, data=poisoned)
    assert session.code == 0
    assert session.step == 80
    (run,) = runs.runs
    train = run.read("train")
    assert train["step"].tolist() == list(range(10, 81, 10))
    assert np.isfinite(train["training/critic_loss"]).all()
    _, notes, _ = run.restore(fresh())
    assert notes["rollbacks"] == [1]
    assert not np.array_equal(jax.random.key_data(end.key), jax.random.key_data(jax.random.key(0)))


def test_rollbacks_are_limited(evaluator, tmp_path):
    """Data that spoils every batch: back so often, then the end."""
    hopeless = dataclasses.replace(DATA, reward=np.full(len(DATA), np.nan, np.float32))
    schedule = dataclasses.replace(SCHEDULE, on_nonfinite="rollback", rollbacks=2)
    runs = group(tmp_path)
    with pytest.raises(FloatingPointError, match=r"critic_loss is not finite .*; there is no checkpoint"):
        follow(runs, evaluator, schedule=schedule, data=hopeless)
    assert runs.runs[0].checkpoints.steps() == []


def spoil_first(step, learner):
    if step != 50:
        return learner
    return eqx.tree_at(
        lambda learner: learner.agent.field.network.layers[0].bias, learner, replace_fn=lambda b: b.at[0].set(jnp.nan)
    )


def test_of_several_seeds_only_the_one_stops(whole, evaluator, tmp_path, capfd):
    """Its sibling ends as it would have, also when the training is broken off and continued meanwhile."""
    runs = group(tmp_path, (0, 1))
    follow(runs, evaluator, interrupt=InterruptAt(27), spoil=spoil_first)
    session, end = follow(RunGroup.open(runs.runs[0].path), evaluator, spoil=spoil_first)
    assert session.code == 1
    assert "Seed 0 stopped: " in capfd.readouterr().out
    first, second = runs.runs
    assert first.read("train")["step"].max() <= 50
    assert first.checkpoints.steps()[-1] == 40
    assert files(second) == files(whole[0].runs[1])
    assert_same(end.learner.seed(1), whole[2].learner.seed(1))


def test_an_error_in_the_loop_loses_nothing(evaluator, tmp_path):
    def failing(step, learner):
        if step == 35:
            raise RuntimeError("a bug of the user's")
        return learner

    runs = group(tmp_path)
    with pytest.raises(RuntimeError, match="a bug of the user's"):
        follow(runs, evaluator, spoil=failing)
    assert runs.runs[0].checkpoints.steps()[-1] == 30


def test_a_directory_that_vanishes_does_not_end_training(evaluator, tmp_path):
    """All failures are said, and the exit code is not 0."""
    runs = group(tmp_path)
    away = runs.runs[0].path.with_name("away")

    def move(step, learner):
        if step == 25:
            runs.wait()
            runs.runs[0].path.rename(away)
        return learner

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        session, end = follow(runs, evaluator, spoil=move)
    assert end.learner.step == 80
    assert session.code == 1
    assert any("training continues" in str(warning.message) for warning in caught)
    assert any("Cannot save the checkpoint of step 40" in failure for failure in session.failures)
    assert sorted(int(path.name) for path in (away / "checkpoints").iterdir() if path.name.isdigit()) == [20]

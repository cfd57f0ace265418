"""Runs of agents: creating their directories, and loading a policy or a learner from a directory."""

import contextlib
import dataclasses
import os
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import equinox as eqx
import jax

from ..agent import KINDS, Agent, AgentConfig, describe_agent, describe_spec, restore_agent, restore_spec, row_of
from ..data import Task
from ..deployment import Origin, Policy
from ..environments import ActionBounds, Environment
from ..errors import DeflowError, RunError, first_line
from ..training import Learner
from .group import RunGroup
from .run import Run

Step = int | Literal["best"] | None
"""Which checkpoint: the newest intact one (None), that of a step, or the best by success."""


def load(run: str | os.PathLike[str] | Run, *, step: Step = None) -> Policy:
    """The trained policy of a run, in its user's units: `action = load(run).act(observation)`.

    `run` is a run or its directory. Nothing in the directory is executed, so your own parts must be imported first.

    Raises:
        RunError: If there is no run.
        CheckpointError: If no checkpoint is intact, or it is of another agent.
        SerializationError: If a part is not registered here.
    """
    run = run if isinstance(run, Run) else Run.open(run)
    learner, saved = load_learner(run, step=step)
    with _recorded(run):
        made_in = run.config.get("environment", {"name": run.environment})
        environment = None if made_in is None else Environment(**made_in)
        if "action_bounds" in run.config:
            bounds = ActionBounds(**run.config["action_bounds"])
        else:  # a run from before bounds were recorded
            bounds = None if environment is None else environment.bounds()
        names = run.config.get("data", {}).get("names", {})
        keys = None if environment is None else environment.keys
    origin = Origin(run.environment, run.algorithm, saved, str(run.path))
    return Policy(learner.agent, bounds, keys=keys, names=names, origin=origin)


def load_learner(run: str | os.PathLike[str] | Run, *, step: Step = None) -> tuple[Learner, int]:
    """The learner of a run, and the step at which it was saved. A flow that was trained by a run before it is frozen.

    Raises:
        RunError: If there is no run.
        CheckpointError: If no checkpoint is intact, or it is of another agent.
        SerializationError: If a part is not registered here.
    """
    run = run if isinstance(run, Run) else Run.open(run)
    with _recorded(run):
        config, spec = restore_agent(run.config["agent"]), restore_spec(run.config["spec"])
        rate = run.config["learning_rate"]
    like = eqx.filter_eval_shape(
        lambda: Learner.create(config, spec, config.placeholder_data(spec), learning_rate=rate, key=jax.random.key(0))
    )
    # What recipes save is more than the learner: see `deflow.session.TrainingState`.
    part = "learner" if "recipe" in run.config else ""
    checkpoints, step = (run.best, None) if step == "best" else (run.checkpoints, step)
    learner, _, saved = checkpoints.restore(like, step, part=part)
    return learner.freeze_field() if "behaviour" in run.config else learner, saved


@contextlib.contextmanager
def _recorded(run: Run) -> Iterator[None]:
    """A context in which what a run's configuration says is understood, or refused in one sentence."""
    try:
        yield
    except DeflowError:
        raise
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        what = f"has no {error}" if isinstance(error, KeyError) else f"is not understood ({first_line(error)})"
        raise RunError(
            f"{run.path} holds no agent that this deflow can load: its config.json {what}. Runs of agents are made by "
            "recipes, or by deflow.create_run."
        ) from error


def create_run(
    output_dir: str | os.PathLike[str],
    task: Task,
    config: AgentConfig,
    learner: Learner,
    *,
    seed: int,
    algorithm: str | None = None,
    loggers: Sequence[str] = (),
    **more: object,
) -> Run:
    """A new run directory with what `load` and `recipes/evaluate.py` need, and the JSON values in `more`.

    Args:
        output_dir: Where the directory is created: <output_dir>/<environment>/<algorithm>/seed<k>-<time>.
        task: What is trained on.
        config: The agent's configuration.
        learner: The learner.
        seed: The seed that the learner's key was made from.
        algorithm: The algorithm's name; if not given, that of the row with these parts, or `custom`.
        loggers: Where `run.log` sends rows besides the CSV files, such as `("tensorboard",)`: see `Run.follow`.
        more: Further JSON values for config.json.

    Raises:
        RunError: If it cannot be written, or the learner has several seeds.
        UnknownNameError: For a logger that is not registered.
        ValueError: If the learner's agent is not of this configuration.
    """
    if learner.seeds is not None:
        raise RunError(
            f"A run has one seed, and this learner has {learner.seeds}: make one run for each learner.seed(index)."
        )
    described = {**_described(task, config, learner), **more}
    name = algorithm or row_of(config)
    return Run.create(output_dir, environment=task.name, algorithm=name, seed=seed, config=described, loggers=loggers)


def create_runs(
    output_dir: str | os.PathLike[str],
    task: Task,
    config: AgentConfig,
    learner: Learner,
    *,
    algorithm: str,
    seeds: Sequence[int],
    keep: int,
    loggers: Sequence[str] = (),
    **more: object,
) -> RunGroup:
    """The same for seeds that are trained together: one directory each, with `keep` checkpoints."""
    described = {**_described(task, config, learner), **more}
    return RunGroup.create(
        output_dir,
        environment=task.name,
        algorithm=algorithm,
        seeds=seeds,
        config=described,
        keep=keep,
        loggers=loggers,
    )


def _described(task: Task, config: AgentConfig, learner: Learner) -> dict[str, Any]:
    built, spec = learner.seed(0).agent, task.spec
    like = eqx.filter_eval_shape(lambda: config.build(spec, config.placeholder_data(spec), key=jax.random.key(0)))
    kinds = [type(getattr(agent, name)).__name__ for agent in (like, built) for name in KINDS if hasattr(agent, name)]
    if kinds[: len(kinds) // 2] != kinds[len(kinds) // 2 :] or _shapes(like) != _shapes(built):
        raise ValueError("The configuration is not the learner's: give the one that the learner was created with.")
    return {
        "agent": describe_agent(config),
        "spec": describe_spec(task.spec),
        "learning_rate": learner.learning_rate,
        "environment": None if task.environment is None else dataclasses.asdict(task.environment),
        "action_bounds": dataclasses.asdict(task.bounds),
        "rewards": dataclasses.asdict(task.rewards),
        "data": task.provenance.to_json(),
    }


def _shapes(agent: Agent) -> list[tuple[int, ...]]:
    return [leaf.shape for leaf in jax.tree.leaves(agent) if hasattr(leaf, "shape")]

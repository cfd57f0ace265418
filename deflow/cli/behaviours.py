"""The behaviours that a recipe trains from: learned first, by runs of their own, or those of runs that are given."""

import dataclasses
import functools
import math
import os
import sys
import threading
from pathlib import Path
from typing import Any

import jax

from .. import hosts
from ..agent import Agent, AgentConfig, agent_config, restore_agent
from ..behaviour import Proposals, States, behaviour_digest, draw_proposals, find_proposals, open_proposals
from ..data import Task
from ..errors import ProposalsInterrupted, RunError
from ..keys import named_key
from ..paths import absolute
from ..runs import Run, RunGroup, load_learner, resume_command, runs_together
from ..runs.loading import create_runs
from ..session import Session, TrainingState
from ..training import Learner
from ..workers import Interrupt
from .resuming import check_data, describe_options
from .screen import say


@dataclasses.dataclass(frozen=True)
class Behaviours:
    """The runs whose flows a training uses, frozen: one that all seeds share, or one for each."""

    runs: tuple[Run, ...]
    """Their directories."""

    own: bool
    """Whether the training learns them itself, as its first phase."""

    @property
    def record(self) -> dict[str, Any]:
        """What the runs of the training record about them: of flows that are there already, also their updates."""
        known = {} if self.own else {"steps": [max(run.checkpoints.steps(), default=0) for run in self.runs]}
        return {"behaviour": {"runs": [str(run.path) for run in self.runs], "own": self.own, **known}}

    @functools.cached_property
    def agents(self) -> list[Agent]:
        """The agents whose flows these are, of the newest checkpoints. Those of own runs must have been trained."""
        return hosts.leader_first(lambda: [load_learner(run)[0].agent for run in self.runs])

    def verify(self, task: Task, count: int) -> None:
        """Look at every byte of the proposals that are there already, before anything is made.

        Raises:
            ProposalsError: If a file is damaged.
        """
        states = States.of(task.train)
        for run, agent in zip(self.runs, self.agents, strict=True):
            where = (run.path / FOLDER, agent, states, count)
            if find_proposals(*where, key=proposals_key(run)):
                open_proposals(*where, key=proposals_key(run))

    def proposals(self, learner: Learner, task: Task, count: int, *, interrupt: threading.Event) -> list[Proposals]:
        """`count` proposals of the learner's flows for every state of the task's data: of each seed's, or of the one
        that all share. They are drawn into the behaviour's folder, unless they are there. The flow is the learner's, so
        that it goes on with what it has, whatever has become of the behaviour's run. If it is another by now, since it
        was refreshed, nobody else has it, and its proposals stay in memory.

        Raises:
            ProposalsError: If a file is damaged or cannot be written.
            ProposalsInterrupted: If `interrupt` is set before all are drawn.
        """
        states, found = States.of(task.train), dict[str, Proposals]()
        flows, refreshed = [behaviour_digest(agent) for agent in learner.agents], self.refreshed(learner)
        for seed, (agent, flow) in enumerate(zip(learner.agents, flows, strict=True)):
            if flow in found:  # a seed that stopped before its first checkpoint may have another's
                continue
            run = self.runs[seed % len(self.runs)]
            where, key = (run.path / FOLDER, agent, states, count), proposals_key(run)
            if find_proposals(*where, key=key) or not refreshed:
                found[flow] = open_proposals(*where, key=key, interrupt=interrupt)
            else:
                found[flow] = draw_proposals(agent, task.train, count, key=key)
        return [found[flow] for flow in (flows if len(found) > 1 else flows[:1])]

    def refreshed(self, learner: Learner) -> bool:
        """Whether the learner's flows are others than the behaviours' by now."""
        own = [behaviour_digest(agent) for agent in self.agents]
        flows = [behaviour_digest(agent) for agent in learner.agents]
        return any(flow != own[seed % len(own)] for seed, flow in enumerate(flows))


FOLDER = "proposals"
"""Where a behaviour's proposals lie, in its run's directory."""


def proposals_key(run: Run) -> jax.Array:
    """The key of a run's proposals: the same for whoever trains from them, so that all share the file."""
    return named_key(jax.random.key(run.seed), "proposals")


def behaviour_config(run: str | Path, config: AgentConfig) -> AgentConfig:
    """The configuration with the encoder, the field and the solver of a run."""
    described = restore_agent(Run.open(run).config["agent"])
    return dataclasses.replace(config, encoder=described.encoder, field=described.field, solver=described.solver)


def open_behaviours(options: Any, config: AgentConfig, task: Task) -> Behaviours | None:
    """The behaviours of a recipe's training: those it began with, those given by `options.behaviour`, or new runs of
    flow-bc for `options.field_steps` updates. None if the flow is trained jointly.

    Raises:
        ValueError: If a run is of other data.
        RunError: If a run is missing or cannot be made.
    """
    if options.resume is not None:
        return behaviours_of(Run.open(options.resume))
    if options.behaviour:
        given = Behaviours(tuple(Run.open(path) for path in options.behaviour), own=False)
        for run in given.runs:
            check_data(run, task)
        if options.proposals:
            given.verify(task, options.proposals)
        return given
    if options.proposals == 0:
        return None
    return Behaviours(runs_together(lambda: _new(options, config, task)).runs, own=True)


def behaviours_of(run: Run) -> Behaviours | None:
    """The behaviours that a run began with; None if its flow was trained jointly.

    Raises:
        RunError: If one is missing.
    """
    if (recorded := run.config.get("behaviour")) is None:
        return None
    runs = [_moved(run, Path(path), own=recorded["own"]) for path in recorded["runs"]]
    return Behaviours(tuple(runs), recorded["own"])


def behaviour_of(run: Run) -> Run:
    """The behaviour of one of the runs that were trained together.

    Raises:
        RunError: If it is missing, or the run's flow was trained jointly.
    """
    behaviours = behaviours_of(run)
    if behaviours is None:
        raise RunError(f"{run.path} has no behaviour of its own: its flow was trained along with everything else.")
    seeds = run.config["options"]["seeds"]
    return behaviours.runs[seeds.index(run.seed) if len(behaviours.runs) > 1 else 0]


def propose(
    options: Any,
    task: Task,
    behaviours: Behaviours | None,
    session: Session,
    state: TrainingState,
    interrupt: Interrupt,
    *,
    last: int,
) -> list[Proposals] | None:
    """The proposals to train from until step `last`, drawn unless they are there; None if none are wanted, or no
    updates are left."""
    if behaviours is None or options.proposals == 0 or session.step >= last:
        return None
    try:
        return hosts.leader_first(
            lambda: behaviours.proposals(state.learner, task, options.proposals, interrupt=interrupt)
        )
    except ProposalsInterrupted as interruption:
        say(f"{interruption} Go on with: {resume_command(session.group.runs[0])}")
        sys.exit(interrupt.code)


def behaviour_options(options: Any) -> Any:
    """The options of the behaviour's own runs."""
    once = math.ceil(options.field_steps / options.log_every) * options.log_every  # no shorter dispatches for it
    rate = {"learning_rate": options.field_learning_rate, "schedule": "cosine"}
    length = {"steps": options.field_steps, "eval_every": once}
    return dataclasses.replace(options, **rate, **length, proposals=0, behaviour=(), resume=None)


def behaviour_facts(
    options: Any, config: AgentConfig, task: Task, behaviours: Behaviours, *, states: int
) -> dict[str, str]:
    """Lines of the first screen: where the flow comes from, and its proposals for the data's `states`."""
    many = len(behaviours.runs) > 1
    if behaviours.own:
        rate = f"learning rate {options.field_learning_rate:g} falling to 0"
        learned = f"{options.field_steps:,} updates of the flow alone, {rate}"
    else:
        learned = "the frozen flow of " + " and ".join(
            f"{run.algorithm} at step {max(run.checkpoints.steps(), default=0):,}" for run in behaviours.runs
        )
    facts = {"behaviour": "\n".join([learned, *(str(run.path) for run in behaviours.runs)])}
    if options.proposals:
        numbers = options.proposals * config.chunk * task.spec.action_size
        size = 4 * states * numbers * len(behaviours.runs) / 1e6
        where = "\n".join(str(run.path / FOLDER) for run in behaviours.runs)
        megabytes = f"{size:,.0f} MB" if size >= 1 else "less than 1 MB"
        facts["proposals"] = (
            f"{options.proposals} for each of {states:,} states{' and behaviours' * many}, {megabytes}, in\n{where}"
        )
    else:
        facts["proposals"] = "none: a fresh ODE solve in every update"
    return facts


def _new(options: Any, config: AgentConfig, task: Task) -> RunGroup:
    alone = dataclasses.replace(
        agent_config("flow-bc"),
        encoder=config.encoder,
        field=config.field,
        solver=config.solver,
        augmentation=config.augmentation,
        chunk=config.chunk,
        execute=config.execute,
    )
    own = behaviour_options(options)
    learner = Learner.create(alone, task.spec, task.train, learning_rate=own.learning_rate, key=jax.random.key(0))
    return create_runs(
        options.output_dir,
        task,
        alone,
        learner,
        algorithm="flow-bc",
        seeds=options.seeds,
        keep=options.keep,
        recipe="offline",
        options=describe_options(own),
        evaluation={"episodes": options.episodes},
    )


def _moved(run: Run, path: Path, *, own: bool) -> Run:
    """A behaviour's run where it lay, or where it lies now if it moved together with the continued run; a copy of a run
    trains the copy of its own behaviour."""
    beside = run.path.parents[1] / path.parent.name / path.name
    moved = absolute(run.path.parents[2] / os.path.relpath(path, run.config["options"]["output_dir"]))
    places = [place for place in ((beside, path) if own else (path, beside, moved)) if place.is_dir()]
    if not places:
        raise RunError(f"{run.path} trains from the behaviour in {path}, which is missing: restore it from a copy.")
    return Run.open(places[0])

"""The behaviours that a recipe trains from: learned first, by runs of their own, or those of runs that are given."""

import dataclasses
import math
import sys
import threading
from pathlib import Path
from typing import Any

import equinox as eqx
import jax

from ..agent import Agent, AgentConfig, agent_config, describe_spec, restore_agent, with_placeholder_bound
from ..agent.proposing import needs_proposals
from ..behaviour import Proposals, States, behaviour_digest, draw_proposals, open_proposals
from ..data import Task
from ..errors import ProposalsInterrupted, RunError
from ..keys import named_key
from ..runs import Run, RunGroup, load_learner, resume_command
from ..runs.loading import create_runs
from ..session import Session, TrainingState
from ..training import Learner
from ..types import Spec, placeholder_data
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
        """What the runs of the training record about them."""
        return {"behaviour": {"runs": [str(run.path) for run in self.runs], "own": self.own}}

    def agents(self) -> list[Agent]:
        """The agents whose flows these are, of the newest checkpoints."""
        return [load_learner(run)[0].agent for run in self.runs]

    def proposals(
        self, learner: Learner, task: Task, count: int, *, interrupt: threading.Event, kept: bool = True
    ) -> list[Proposals]:
        """`count` proposals of the learner's flows for every state of the task's data, drawn unless they are there: of
        each seed's flow, or of the one that all share. What they are drawn from is the learner's, so that it goes on
        with the flow that it began with, whatever has become of the behaviour's run. `kept` is False for a flow
        that was refreshed since: nobody else has it, so its proposals stay in memory.

        Raises:
            ProposalsError: If a file is damaged or cannot be written.
            ProposalsInterrupted: If `interrupt` is set before all are drawn.
        """
        states, found = States.of(task.train), dict[str, Proposals]()
        if not kept:  # seeds that shared a flow do no more
            keys = [proposals_key(self.runs[seed % len(self.runs)]) for seed in range(learner.seeds or 1)]
            return [
                draw_proposals(agent, task.train, count, key=key)
                for agent, key in zip(learner.agents, keys, strict=True)
            ]
        agents = learner.agents[: len(self.runs)]
        flows = [behaviour_digest(agent) for agent in agents]
        for run, agent, flow in zip(self.runs, agents, flows, strict=True):
            if flow not in found:  # a seed that stopped before its first checkpoint may have another's
                key = proposals_key(run)
                found[flow] = open_proposals(run.path / FOLDER, agent, states, count, key=key, interrupt=interrupt)
        return [found[flow] for flow in flows]


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
        given = tuple(Run.open(path) for path in options.behaviour)
        for run in given:
            check_data(run, task)
        return Behaviours(given, own=False)
    if options.proposals == 0:
        return None
    return Behaviours(tuple(_new(options, config, task).runs), own=True)


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


def trains_from_proposals(config: AgentConfig) -> bool:
    """Whether proposals of a frozen flow are what this agent can be trained from."""
    agent = _outline(config, Spec(observation_shape=(1,), action_size=1))
    return any(needs_proposals(agent)) and not agent.gradient_enters_solver


def check_staged(options: Any, config: AgentConfig, spec: Spec) -> None:
    """Refuse what a frozen flow cannot serve, and runs whose flow does not fit, before any work.

    Raises:
        ValueError: If the agent would learn nothing, trains the flow itself, or needs more proposals; or if a given run
            is of other sizes or parts, or its flow is not a behaviour.
        RunError: If a given run is missing or not finished.
    """
    if options.behaviour and len(options.behaviour) not in (1, len(options.seeds)):
        raise ValueError(
            f"--behaviour takes one run for all seeds or one for each of the {len(options.seeds)}, got "
            f"{len(options.behaviour)}."
        )
    if not (options.proposals or options.behaviour):
        return
    what, remedy = ("--proposals", "--proposals 0") if options.proposals else ("--behaviour", "no --behaviour")
    agent = _outline(config, spec)
    if agent.gradient_enters_solver:
        raise ValueError(
            f"{what} has a frozen flow, but the refiner {type(agent.refiner).__name__} trains the flow through the "
            f"solver: choose another refiner, or give {remedy}."
        )
    if not any(needs_proposals(agent)):
        parts = (agent.refiner, agent.trust_region, agent.constraint, agent.critic)
        if not any(hasattr(leaf, "dtype") for leaf in jax.tree.leaves(parts)):
            raise ValueError(f"{what} leaves nothing to train: this agent is a flow and nothing else. Give {remedy}.")
        if options.proposals:
            raise ValueError(
                "--proposals would have no effect: neither critic nor refiner asks for proposals in training. Give "
                "--proposals 0, and --behaviour RUN to train with a flow that was learned before."
            )
    needed = agent.critic.next_actions * agent.target_candidates if needs_proposals(agent)[1] else 1
    if 0 < options.proposals < needed:
        raise ValueError(
            f"--proposals must be at least {needed}, since the critic's target needs that many different ones for a "
            f"state, got {options.proposals}."
        )
    if options.resume is None:
        for path in options.behaviour:
            _check_given(Run.open(path), config, spec)


def propose(
    options: Any,
    task: Task,
    behaviours: Behaviours | None,
    session: Session,
    state: TrainingState,
    interrupt: Interrupt,
    *,
    last: int,
    kept: bool = True,
) -> list[Proposals] | None:
    """The proposals to train from until step `last`, drawn unless they are there; None if none are wanted, or no
    updates are left. If they are not to be `kept`, they are drawn in memory."""
    if behaviours is None or options.proposals == 0 or session.step >= last:
        return None
    try:
        return behaviours.proposals(state.learner, task, options.proposals, interrupt=interrupt, kept=kept)
    except ProposalsInterrupted as interruption:
        say(f"{interruption} Go on with: {resume_command(session.group.runs[0])}")
        sys.exit(interrupt.code)


def behaviour_options(options: Any) -> Any:
    """The options of the behaviour's own runs."""
    once = math.ceil(options.field_steps / options.log_every) * options.log_every  # no shorter dispatches for it
    rate = {"learning_rate": options.field_learning_rate, "schedule": "cosine"}
    length = {"steps": options.field_steps, "eval_every": once}
    return dataclasses.replace(options, **rate, **length, proposals=0, behaviour=(), resume=None)


def behaviour_facts(options: Any, task: Task, behaviours: Behaviours) -> dict[str, str]:
    """Lines of the first screen: where the flow comes from, and its proposals."""
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
        states = len(States.of(task.train))
        size = 4 * states * options.proposals * task.spec.action_size * len(behaviours.runs) / 1e6
        where = "\n".join(str(run.path / FOLDER) for run in behaviours.runs)
        facts["proposals"] = (
            f"{options.proposals} for each of {states:,} states{' and behaviours' * many}, {size:,.0f} MB, in\n{where}"
        )
    else:
        facts["proposals"] = "none: a fresh ODE solve in every update"
    return facts


def _new(options: Any, config: AgentConfig, task: Task) -> RunGroup:
    alone = dataclasses.replace(
        agent_config("flow-bc"), encoder=config.encoder, field=config.field, solver=config.solver
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


def _check_given(run: Run, config: AgentConfig, spec: Spec) -> None:
    wanted, got = describe_spec(spec), run.config["spec"]
    for name in ("observation_shape", "action_size", "observation_dtype"):
        if _plain(got[name]) != _plain(wanted[name]):
            raise ValueError(
                f"{run.path} has {name.replace('_', ' ')} {got[name]}, and {run.environment} is not of the same "
                f"environment as this task, which has {_plain(wanted[name])}: give a run of the same environment."
            )
    described = restore_agent(run.config["agent"])
    for name in ("encoder", "field", "solver"):
        if getattr(described, name) != getattr(config, name):
            raise ValueError(
                f"The {name} of {run.path} is {getattr(described, name)}, got {getattr(config, name)}: the flow is "
                "used as it is, so leave the flags out."
            )
    if _outline(described, spec).gradient_enters_solver:
        raise ValueError(f"The flow of {run.path} was trained by its critic, so it is no behaviour: give another run.")
    steps, last = max(run.checkpoints.steps(), default=0), run.config.get("options", {}).get("steps", 1)
    if steps == 0:
        raise RunError(f"{run.path} has no checkpoint, so there is no flow yet: train it first.")
    if "recipe" in run.config and steps < last:
        raise RunError(f"{run.path} is at step {steps:,} of {last:,}: finish it first, with {resume_command(run)}")


def _moved(run: Run, path: Path, *, own: bool) -> Run:
    """A behaviour's run where it lay, or beside the continued run's folder, if both moved together; a copy of a run
    trains the copy of its own behaviour."""
    beside = run.path.parents[1] / path.parent.name / path.name
    places = [place for place in ((beside, path) if own else (path, beside)) if place.is_dir()]
    if not places:
        raise RunError(f"{run.path} trains from the behaviour in {path}, which is missing: restore it from a copy.")
    return Run.open(places[0])


def _outline(config: AgentConfig, spec: Spec) -> Agent:
    """An agent with these parts, with shapes in place of arrays: its structure is what is asked about."""
    config = with_placeholder_bound(config)
    return eqx.filter_eval_shape(lambda: config.build(spec, placeholder_data(spec), key=jax.random.key(0)))


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value

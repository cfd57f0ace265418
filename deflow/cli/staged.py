"""What a frozen flow can serve, and what is refused before any work."""

import dataclasses
from typing import Any

import equinox as eqx
import jax

from ..agent import Agent, AgentConfig, describe_spec, restore_agent, with_placeholder_bound
from ..agent.proposing import needs_proposals
from ..agent.skeleton import shared
from ..augmentations import NoAugmentation
from ..encoders import Identity
from ..errors import RunError
from ..runs import Run, resume_command
from ..types import Spec

FLOW = ("encoder", "field", "solver")
"""The parts that a behaviour has."""


def trains_from_proposals(config: AgentConfig) -> bool:
    """Whether proposals of a frozen flow are what this agent can be trained from."""
    agent = structure(config)
    return any(needs_proposals(agent)) and not agent.gradient_enters_solver


def proposals_needed(config: AgentConfig) -> int:
    """The fewest proposals for a state that this agent can be trained from."""
    return _needed(structure(config))


def _needed(agent: Agent) -> int:
    return agent.critic.next_actions * agent.target_candidates if needs_proposals(agent)[1] else 1


def check_staged(options: Any, config: AgentConfig, spec: Spec) -> None:
    """Refuse what a frozen flow cannot serve, and runs whose flow does not fit, before any work.

    Raises:
        ValueError: As `check_served`; or if a given run is of other sizes or parts, or its flow is not a behaviour.
        RunError: If a given run is missing or not finished.
    """
    check_served(options, _outline(config, spec))
    if options.resume is None:
        for path in options.behaviour:
            _check_given(Run.open(path), config, spec)


def check_served(options: Any, agent: Agent) -> None:
    """Refuse what a frozen flow cannot serve, which the options and the agent's structure say.

    Raises:
        ValueError: If the agent would learn nothing, trains the flow itself, or needs more proposals; or if there are
            neither one nor as many given runs as seeds.
    """
    if options.behaviour and len(options.behaviour) not in (1, len(options.seeds)):
        raise ValueError(
            f"--behaviour takes one run for all seeds or one for each of the {len(options.seeds)}, got "
            f"{len(options.behaviour)}."
        )
    if not (options.proposals or options.behaviour):
        return
    what, remedy = ("--proposals", "--proposals 0") if options.proposals else ("--behaviour", "no --behaviour")
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
    needed = _needed(agent)
    if 0 < options.proposals < needed:
        raise ValueError(
            f"--proposals must be at least {needed}, since the critic's target needs that many different ones for a "
            f"state, got {options.proposals}."
        )


def _check_given(run: Run, config: AgentConfig, spec: Spec) -> None:
    wanted, got = describe_spec(spec), run.config["spec"]
    if (frames := got.get("frame_stack", 1)) != spec.frame_stack:
        raise ValueError(
            f"{run.path} sees the last {frames} image(s), and this task's observations are of {spec.frame_stack}: give "
            f"--frame-stack {frames}."
        )
    for name in ("observation_shape", "action_size", "observation_dtype"):
        if _plain(got[name]) != _plain(wanted[name]):
            raise ValueError(
                f"{run.path} has {name.replace('_', ' ')} {got[name]}, and {run.environment} is not of the same "
                f"environment as this task, which has {_plain(wanted[name])}: give a run of the same environment."
            )
    described = restore_agent(run.config["agent"])
    check_flow(str(run.path), described, config)
    check_decoupled(str(run.path), _outline(described, spec))
    check_learned(run)


def check_learned(run: Run) -> None:
    """Refuse a run whose flow is not learned to its end.

    Raises:
        RunError: If it is not.
    """
    steps, last = max(run.checkpoints.steps(), default=0), run.config.get("options", {}).get("steps", 1)
    if steps == 0:
        raise RunError(f"{run.path} has no checkpoint, so there is no flow yet: train it first.")
    if "recipe" in run.config and steps < last:
        raise RunError(f"{run.path} is at step {steps:,} of {last:,}: finish it first, with {resume_command(run)}")


def check_flow(run: str, behaviour: AgentConfig, config: AgentConfig) -> None:
    """Refuse the flow of a run, by its name, whose parts are not the agent's.

    Raises:
        ValueError: If they are not, or it makes chunks of another length.
    """
    for name in FLOW:
        if getattr(behaviour, name) != getattr(config, name):
            raise ValueError(
                f"The {name} of {run} is {getattr(behaviour, name)}, got {getattr(config, name)}: the flow is used as "
                "it is, so leave the flags out."
            )
    if behaviour.chunk != config.chunk:
        raise ValueError(
            f"The flow of {run} makes chunks of {behaviour.chunk} action(s), and this agent's are of {config.chunk}: "
            f"add --chunk {behaviour.chunk}, or give a run with --chunk {config.chunk}."
        )


def check_decoupled(run: str, behaviour: Agent) -> None:
    """Refuse the flow of a run, by its name, that its critic has trained.

    Raises:
        ValueError: If it has.
    """
    if behaviour.gradient_enters_solver:
        raise ValueError(f"The flow of {run} was trained by its critic, so it is no behaviour: give another run.")


def _outline(config: AgentConfig, spec: Spec) -> Agent:
    """An agent with these parts, with shapes in place of arrays: its structure is what is asked about."""
    config = with_placeholder_bound(config)
    return eqx.filter_eval_shape(lambda: config.build(spec, config.placeholder_data(spec), key=jax.random.key(0)))


@shared
def structure(config: AgentConfig) -> Agent:
    """The structure of an agent for observations of whatever kind, with shapes in place of arrays.

    Raises:
        Exception: Whatever a part raises that needs the sizes of the task.
    """
    config = dataclasses.replace(config, encoder=Identity(), augmentation=NoAugmentation())
    return _outline(config, Spec(observation_shape=(1,), action_size=1))


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value

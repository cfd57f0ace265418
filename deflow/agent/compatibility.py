"""Checking a composition: parts that do not fit together, or would silently have no effect."""

import contextlib
import inspect
import math
import traceback
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from ..constraints import AbstractHardConstraint, NoConstraint
from ..critics import AbstractInquiringCritic
from ..errors import first_line
from ..refiners import AbstractLearnedRefiner, AbstractStillRefiner, AbstractThroughSolverRefiner
from ..trust_regions import AbstractFlowRegion, AbstractTrustRegion, FlowInquiry, NoTrustRegion
from ..types import Action, Batch, Observation, Scalar
from .agent import Agent
from .skeleton import Skeleton, shared


def check_composition(agent: Agent) -> None:
    """Check that the parts fit together and that each has an effect. Traces on shapes alone.

    Raises:
        ValueError: If they do not fit, or a part would have no effect. The message says what to choose instead.
    """
    _check_displacement(agent)
    _check_region(agent)
    if agent.target_candidates > 1 and agent.critic.next_actions == 0:
        raise ValueError(
            f"target_candidates={agent.target_candidates} has no effect: the target of {_name(agent.critic)} uses "
            "no action of the policy. Leave it at 1, or choose another critic."
        )
    _check_augmentation(agent)
    skeleton, arrays = Skeleton.of(agent)
    try:
        _trace(skeleton, tuple(jax.ShapeDtypeStruct(array.shape, array.dtype) for array in arrays))
    except TypeError as error:  # JAX's errors for what it cannot trace are TypeErrors
        if (where := _place_in_a_part(error, agent)) is None:
            raise
        raise ValueError(
            f"{where} cannot be traced by JAX ({type(error).__name__}): use jnp in place of NumPy, and jnp.where, "
            "jnp.maximum or jax.lax.cond in place of if, max and while."
        ) from error


@shared
def _trace(skeleton: Skeleton, shapes: tuple[jax.ShapeDtypeStruct, ...]) -> None:
    """Traces acting and the loss, once for all agents of one structure and size: a recipe builds many of them."""

    def act_and_loss(arrays: tuple[Any, ...]) -> Any:
        agent: Agent = skeleton.fill(list(arrays))
        spec, key = agent.spec, jax.random.key(0)
        observation = jnp.zeros((2, *spec.observation_shape), spec.observation_dtype)
        row = jnp.zeros(2)
        batch = Batch(observation, jnp.zeros((2, agent.action_size)), row, row, observation)
        return agent.act(observation[0], key=key), agent.loss(batch, key=key)

    eqx.filter_eval_shape(act_and_loss, shapes)


def _check_augmentation(agent: Agent) -> None:
    """Check that a batch has its shapes and types still when it was augmented."""

    def batch() -> Batch:
        observation = jnp.zeros((2, *agent.spec.observation_shape), agent.spec.observation_dtype)
        return Batch(observation, jnp.zeros((2, agent.action_size)), jnp.zeros(2), jnp.zeros(2), observation)

    name, given = _name(agent.augmentation), eqx.filter_eval_shape(batch)
    try:
        made = eqx.filter_eval_shape(lambda key: agent.augmentation.of_batch(batch(), key=key), jax.random.key(0))
    except Exception as error:
        raise ValueError(f"The augmentation {name} failed on a batch: {first_line(error)}") from error
    for column in ("observation", "action", "reward", "mask", "next_observation"):
        got, wanted = getattr(made, column), getattr(given, column)
        if (got.shape, got.dtype) != (wanted.shape, wanted.dtype):
            raise ValueError(
                f"The augmentation {name} makes {got.dtype} of shape {got.shape} of a batch's {column}, which is "
                f"{wanted.dtype} of shape {wanted.shape}: keep types and shapes."
            )


def _place_in_a_part(error: BaseException, agent: Agent) -> str | None:
    """The line of a part that is not deflow's own at which an error arose; None if it arose elsewhere."""
    own = {}
    for part in (agent.field, agent.solver, agent.refiner, agent.trust_region, agent.constraint, agent.critic):
        if not type(part).__module__.startswith("deflow."):
            with contextlib.suppress(TypeError, OSError):  # defined where there is no file
                own[inspect.getfile(type(part))] = _name(part)
    found = None
    for frame in traceback.extract_tb(error.__traceback__):
        if frame.filename in own:
            found = f"{own[frame.filename]} (line {frame.lineno} of {frame.filename}: {frame.line})"
    return found


def _check_displacement(agent: Agent) -> None:
    """Check that a refiner without displacements has no trust region and no constraint."""
    if not isinstance(agent.refiner, AbstractStillRefiner | AbstractThroughSolverRefiner):
        return
    idle = [
        f"the {what} {_name(part)}"
        for what, part, none in (
            ("trust region", agent.trust_region, NoTrustRegion),
            ("constraint", agent.constraint, NoConstraint),
        )
        if not isinstance(part, none) and not _measured_for_the_critic(part, agent)
    ]
    if idle:
        raise ValueError(
            f"The refiner {_name(agent.refiner)} displaces nothing, so {' and '.join(idle)} would have no effect: "
            "choose 'none' for both, or another refiner."
        )


def _check_region(agent: Agent) -> None:
    """Check that a constraint has a trust region with a bound, and that a trust region is used."""
    region, constraint = agent.trust_region, agent.constraint
    if not isinstance(constraint, NoConstraint):
        if isinstance(constraint, AbstractHardConstraint) and isinstance(region, AbstractFlowRegion):
            raise ValueError(
                f"The constraint {_name(constraint)} projects, and the trust region {_name(region)}, which asks the "
                "flow about actions, has no projection: choose a constraint such as 'penalty' or 'dual', or a trust "
                "region that measures displacements."
            )
        needs_bound = isinstance(constraint, AbstractHardConstraint) and math.isinf(region.limit)
        if isinstance(region, NoTrustRegion) or needs_bound:
            raise ValueError(
                f"The constraint {_name(constraint)} would have no effect with the trust region {_name(region)}, which "
                "contains every displacement: choose a trust region with a bound, or the constraint 'none'."
            )
        if not isinstance(constraint, AbstractHardConstraint) and not isinstance(agent.refiner, AbstractLearnedRefiner):
            raise ValueError(
                f"The constraint {_name(constraint)} would have no effect: it acts on what the refiner learns, and "
                f"{_name(agent.refiner)} learns nothing. Choose the constraint 'projection' or 'none'."
            )
        return
    still = isinstance(agent.refiner, AbstractStillRefiner | AbstractThroughSolverRefiner)
    idle = not (still or isinstance(region, NoTrustRegion) or isinstance(agent.critic, AbstractInquiringCritic))
    if idle and not _is_asked(agent):
        raise ValueError(
            f"The trust region {_name(region)} would have no effect: the constraint 'none' does not enforce it, and "
            f"the refiner {_name(agent.refiner)} does not use it. Choose a constraint, or the trust region 'none'."
        )


def _measured_for_the_critic(part: Any, agent: Agent) -> bool:
    """Whether this is a region in which proposals that are not displaced have sizes, and the critic asks for them."""
    return isinstance(part, AbstractFlowRegion) and isinstance(agent.critic, AbstractInquiringCritic)


class _Noted(AbstractTrustRegion):
    """A trust region that records whether it is used."""

    region: AbstractTrustRegion
    asked: list[str] = eqx.field(static=True)

    @property
    def bound(self) -> Any:
        return self.region.bound

    def size(self, displacement: Action, observation: Observation) -> Scalar:
        self.asked.append("size")
        return self.region.size(displacement, observation)

    def project(self, displacement: Action, observation: Observation) -> Action:
        self.asked.append("project")
        return self.region.project(displacement, observation)


class _NotedFlow(AbstractFlowRegion):
    """The same of a flow region."""

    region: AbstractFlowRegion
    asked: list[str] = eqx.field(static=True)

    @property
    def bound(self) -> Any:
        return self.region.bound

    def size(self, action: Action, observation: Observation, inquiry: FlowInquiry) -> Scalar:
        self.asked.append("size")
        return self.region.size(action, observation, inquiry)


def _is_asked(agent: Agent) -> bool:
    """Whether acting uses the trust region."""
    asked: list[str] = []
    region = agent.trust_region
    noting = _NotedFlow(region, asked) if isinstance(region, AbstractFlowRegion) else _Noted(region, asked)
    noted = eqx.tree_at(lambda tree: tree.trust_region, agent, noting)
    observation = jnp.zeros(agent.spec.observation_shape, agent.spec.observation_dtype)
    eqx.filter_eval_shape(lambda: noted.act(observation, key=jax.random.key(0)))
    return bool(asked)


def _name(part: object) -> str:
    """The name of a part's class, since built parts have no registered name."""
    return repr(type(part).__name__)

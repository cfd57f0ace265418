"""What a map over bounds needs to know of an agent: whether its bound matters, and the published one in its unit."""

import dataclasses
import functools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..constraints import AbstractSoftConstraint, NoConstraint
from ..constraints import registry as constraints
from ..data import Task
from ..data.action_variance import task_action_variance
from ..trust_regions import NoTrustRegion
from ..trust_regions import registry as trust_regions
from ..types import Context, Spec, build, placeholder_data
from .automatic_bounds import suggested_bound, variance_factor
from .configuration import AgentConfig
from .settings import task_settings

_SIZES = (0.05, 0.5, 5.0)  # inside both of the bounds below, between them, outside both
_BOUNDS = (0.1, 1.0)


def check_varied_bound(config: AgentConfig, algorithm: str) -> None:
    """Refuse an agent whose training does not depend on one number, the trust region's bound.

    Raises:
        ValueError: If there is no trust region, its bound is not one number, or the constraint ignores it.
    """
    region = config.trust_region
    fields = {field.name for field in dataclasses.fields(region) if field.init}
    if isinstance(region, NoTrustRegion) or "bound" not in fields:
        raise ValueError(
            f"{algorithm} has no trust region with a bound (it is {trust_regions.name_of(region)}), so there is "
            "nothing to vary: choose an algorithm that has one, such as deflow or deflow-projected."
        )
    bound: Any = getattr(region, "bound")  # noqa: B009 - configurations of other packages have it, too
    if bound != "auto" and (isinstance(bound, bool) or not isinstance(bound, int | float)):
        raise ValueError(
            f"The bound of trust-region:{trust_regions.name_of(region)} is {bound!r}, and only a bound that is one "
            "number can be varied: choose another trust region."
        )
    if _ignores_bound(config):
        raise ValueError(
            f"constraint:{constraints.name_of(config.constraint)} ignores the bound, so all bounds would train the "
            f"same agent: choose another algorithm than {algorithm}, or another constraint, such as constraint:dual."
        )


def published_bound(config: AgentConfig, task: Task) -> float | None:
    """The bound published for the task or its nearest family, in the unit of the configuration's trust region; None for
    one that measures no displacements.

    The published numbers m are mean squares per dimension. For another shape it is the size of displacements whose
    coordinates are all sqrt(m) or -sqrt(m), as for automatic bounds.
    """
    try:
        return suggested_bound(config, task, task_settings(task.name).bound / variance_factor(task.name))
    except ValueError:
        return None


def automatic_bound(config: AgentConfig, task: Task, *, workers: int | None = None) -> float | None:
    """The bound `auto`, from the task's data; None where the data gives none, as if similar states have the same
    actions. The first call may take minutes: see `resolve_bound`."""
    try:
        return suggested_bound(config, task, task_action_variance(task, workers=workers).value)
    except ValueError:
        return None


def _ignores_bound(config: AgentConfig) -> bool:
    """Whether neither the constraint's loss, nor a gradient of it, nor its next state changes with the bound."""
    spec = Spec(observation_shape=(1,), action_size=1)
    context = Context(spec, placeholder_data(spec), config.encoder, config.solver, config.discount)
    constraint = build(config.constraint, context, key=jax.random.key(0))
    if isinstance(constraint, NoConstraint) or not isinstance(constraint, AbstractSoftConstraint):
        return False  # what projects uses the region itself

    def outcome(bound: float, size: jax.Array) -> list[np.ndarray]:
        loss = eqx.filter_value_and_grad(lambda both: both[0].loss(both[1], bound))((constraint, size))
        found = loss, constraint.advance(size, bound)
        return [np.asarray(leaf) for leaf in jax.tree.leaves(found) if eqx.is_array(leaf)]

    one, other = (functools.partial(outcome, bound) for bound in _BOUNDS)
    sizes = [jnp.asarray(size) for size in _SIZES]
    return all(np.array_equal(a, b) for size in sizes for a, b in zip(one(size), other(size), strict=True))

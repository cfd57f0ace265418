"""Bounds computed from data: `auto` becomes a number, by one rule for every shape of trust region.

The intrinsic action variance V (`deflow.data.action_variance`) times a factor, 1 for navigation and 0.1 for fine
manipulation (arXiv 2601.10471: "about"), is the mean square m that a displacement may have per dimension. The bound is
the size of a displacement whose coordinates are all sqrt(m) or -sqrt(m): m itself for mean-square, sqrt(A m) for a
ball, sqrt(m) for a box, and the mean over the data's states for others.
"""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..data import Task
from ..data.action_variance import task_action_variance
from ..trust_regions import AbstractFlowRegion, registry
from ..types import build
from .configuration import AgentConfig

_STATES = 1_000  # evenly spaced rows of the data that a size is averaged over

_NAVIGATION = ("antmaze", "humanoidmaze", "antsoccer", "pointmaze")


def resolve_bound(config: AgentConfig, task: Task, *, workers: int | None = None, progress: bool = True) -> AgentConfig:
    """Replaces the bound `auto` by a number computed from the task's data. Other configurations are returned unchanged.

    The intrinsic action variance is read from the file beside the task's data. If there is none, it is computed (a
    million states take minutes) and saved there.

    Raises:
        DataError: If the variance cannot be computed.
    """
    return resolve_bound_with_reason(config, task, workers=workers, progress=progress)[0]


def resolve_bound_with_reason(
    config: AgentConfig, task: Task, *, workers: int | None = None, progress: bool = True
) -> tuple[AgentConfig, str | None]:
    """The same, and how: `mean-square, bound 0.0011 (auto: 0.1 x IAV 0.011)`; None if the bound was a number."""
    if not has_automatic_bound(config):
        return config, None
    variance = task_action_variance(task, workers=workers, progress=progress).value
    factor = variance_factor(task.name)
    bound = suggested_bound(config, task, variance)
    name = registry.name_of(config.trust_region)
    reason = f"{name}, bound {bound:g} (auto: {factor:g} x IAV {variance:.4g})"
    return with_bound(config, bound), reason


def suggested_bound(config: AgentConfig, task: Task, variance: float) -> float:
    """The bound for the configuration's trust region at this intrinsic action variance, rounded to four digits."""
    square = variance_factor(task.name) * variance
    if not square > 0:
        raise ValueError(
            f"The intrinsic action variance is {variance}, since similar states have the same actions, so no bound can "
            "be computed: give the trust region's bound as a number."
        )
    choice = with_placeholder_bound(config).trust_region
    context = config.context(task.spec, task.train)
    region = build(choice, context, key=jax.random.key(0))
    if isinstance(region, AbstractFlowRegion):
        raise ValueError(
            f"The trust region {registry.name_of(choice)} measures no displacements, so neither the data nor another "
            "region's published bound gives one for it: give the bound as a number."
        )
    rows = np.linspace(0, len(task.train) - 1, min(len(task.train), _STATES)).astype(int)
    signs = np.random.default_rng(0).choice([-1.0, 1.0], (len(rows), context.spec.action_size))
    displacements = jnp.asarray(math.sqrt(square) * signs, jnp.float32)
    sizes = jax.jit(jax.vmap(region.size))(displacements, jnp.asarray(task.train.observation[rows]))
    return float(f"{float(np.mean(sizes)):.4g}")


def variance_factor(task: str) -> float:
    """The factor for a task, by its name: 1 for navigation (mazes, ant soccer), else 0.1."""
    return 1.0 if task.removeprefix("visual-").removeprefix("D4RL/").startswith(_NAVIGATION) else 0.1


def has_automatic_bound(config: AgentConfig) -> bool:
    """Whether the trust region's bound is still `auto`."""
    return getattr(config.trust_region, "bound", None) == "auto"


def with_placeholder_bound(config: AgentConfig) -> AgentConfig:
    """The configuration with the bound 1 instead of `auto`, to build an agent before the data is loaded."""
    return with_bound(config, 1.0) if has_automatic_bound(config) else config


def with_bound(config: AgentConfig, bound: float) -> AgentConfig:
    """The configuration with this bound. Its trust region must have a field for it."""
    region: Any = config.trust_region
    return dataclasses.replace(config, trust_region=dataclasses.replace(region, bound=bound))

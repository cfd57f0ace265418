"""The algorithms, as rows of one table: which part each takes, and what changes from task to task."""

import dataclasses
from collections.abc import Callable
from typing import Any

from . import constraints, critics, encoders, fields, refiners, solvers, trust_regions
from .composition import AgentConfig
from .registry import UnknownNameError, suggestion
from .settings import TaskSettings


def deflow() -> AgentConfig:
    """A residual refiner inside a mean-square trust region, held by a multiplier (arXiv 2601.10471)."""
    return AgentConfig(
        encoder=encoders.Identity(),
        field=fields.MLPFieldConfig(),
        solver=solvers.Euler(),
        refiner=refiners.ResidualRefinerConfig(),
        trust_region=trust_regions.MeanSquare(),
        constraint=constraints.DualConstraintConfig(),
        critic=critics.EnsembleCriticConfig(),
    )


def flow_bc() -> AgentConfig:
    """The behaviour flow alone: it imitates the data and knows nothing of reward (arXiv 2502.02538, baseline)."""
    return dataclasses.replace(
        deflow(),
        refiner=refiners.NoRefiner(),
        trust_region=trust_regions.NoTrustRegion(),  # pyright: ignore[reportCallIssue]
        constraint=constraints.NoConstraint(),
        critic=critics.NoCritic(),  # pyright: ignore[reportCallIssue]
    )


ALGORITHMS: dict[str, Callable[[], AgentConfig]] = {"deflow": deflow, "flow-bc": flow_bc}
"""Name -> the row's parts, at the paper's sizes."""


def agent_config(
    algorithm: str = "deflow",
    *,
    settings: TaskSettings | None = None,
    width: int | None = None,
    depth: int | None = None,
    **parts: Any,
) -> AgentConfig:
    """A row of the table, with a task's settings, other network sizes, and any part or number of one's own.

    `parts` are fields of `AgentConfig`, such as `solver=deflow.solvers.Heun(steps=5)`; what is given wins.

    **Raises:** `UnknownNameError` for a name that is no row.
    """
    if algorithm not in ALGORITHMS:
        raise UnknownNameError(suggestion("algorithm", algorithm, ALGORITHMS))
    config = ALGORITHMS[algorithm]()
    if settings is not None:
        config = dataclasses.replace(
            config,
            discount=settings.discount,
            critic=_with(config.critic, aggregation=settings.aggregation),
            trust_region=_with(config.trust_region, bound=settings.bound, only=trust_regions.MeanSquare),
        )
    for name in ("field", "refiner", "critic"):
        config = dataclasses.replace(config, **{name: _with(getattr(config, name), width=width, depth=depth)})
    return dataclasses.replace(config, **parts)


def _with(part: Any, only: type = object, **values: Any) -> Any:
    """The part with those of the values that are given and that it has fields for."""
    names = {field.name for field in dataclasses.fields(part)} if isinstance(part, only) else set()
    return dataclasses.replace(part, **{k: v for k, v in values.items() if v is not None and k in names})

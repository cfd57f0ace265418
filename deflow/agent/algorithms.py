"""The algorithms as rows of one table: the parts of each, with the settings of a task."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Unpack, cast

from .. import augmentations, constraints, critics, encoders, fields, refiners, solvers, trust_regions
from ..errors import UnknownNameError
from ..registry import Registry, suggestion
from ..types import check_number
from .choices import AgentParts, AlgorithmName
from .configuration import KINDS, AgentConfig
from .settings import TaskSettings, task_settings


def deflow(settings: TaskSettings) -> AgentConfig:
    """A residual refiner inside a mean-square trust region, held by a multiplier (arXiv 2601.10471)."""
    return AgentConfig(
        encoder=encoders.registry.member(settings.encoder),
        field=fields.MLPFieldConfig(),
        solver=solvers.Euler(),
        refiner=refiners.ResidualRefinerConfig(),
        trust_region=trust_regions.MeanSquare(settings.bound),
        constraint=constraints.DualConstraintConfig(),
        critic=critics.EnsembleCriticConfig(aggregation=settings.aggregation),
        augmentation=augmentations.registry.member(settings.augmentation),
        discount=settings.discount,
    )


def deflow_best(settings: TaskSettings) -> AgentConfig:
    """DeFlow with a categorical critic (arXiv 2403.03950) and 3-step returns."""
    critic = critics.CategoricalCriticConfig(reward_min=settings.reward_min, aggregation=settings.aggregation)
    return dataclasses.replace(deflow(settings), critic=critic, n_step=3)


def deflow_flow_critic(settings: TaskSettings) -> AgentConfig:
    """DeFlow with a critic that is also a flow (floq, arXiv 2509.06863)."""
    critic = critics.FlowCriticConfig(
        reward_min=settings.reward_min, aggregation=settings.flow_aggregation, depth=settings.flow_depth
    )
    return dataclasses.replace(deflow(settings), critic=critic)


def deflow_projected(settings: TaskSettings) -> AgentConfig:
    """DeFlow with each displacement projected into the region, a ball, instead of a multiplier that bounds their mean
    size."""
    return dataclasses.replace(deflow(settings), constraint=constraints.Projection())


def deflow_pessimistic(settings: TaskSettings) -> AgentConfig:
    """DeFlow with ten critics, of which the target takes the mean minus half a standard deviation (as in QAM,
    arXiv 2601.14234)."""
    critic = critics.EnsembleCriticConfig(members=10, aggregation="mean-std", deviations=0.5)
    return dataclasses.replace(deflow(settings), critic=critic)


def fql(settings: TaskSettings) -> AgentConfig:
    """A one-step policy, distilled from the flow with a fixed weight (FQL, arXiv 2502.02538)."""
    return dataclasses.replace(
        deflow(settings),
        refiner=refiners.OneStepRefinerConfig(),
        constraint=constraints.Penalty(settings.fql_weight),
        normalize_value=False,
    )


def fbrac(settings: TaskSettings) -> AgentConfig:
    """The value's gradient trains the flow through the solver, besides its matching loss (arXiv 2502.02538, baseline).

    The matching loss has FQL's weight for the task.
    """
    return dataclasses.replace(
        _bare(settings),
        refiner=refiners.ThroughSolver(),
        critic=critics.EnsembleCriticConfig(aggregation=settings.aggregation),
        normalize_value=False,
        flow_weight=settings.fql_weight,
    )


def ifql(settings: TaskSettings) -> AgentConfig:
    """The behaviour flow's best of 32 by the values of implicit Q-learning (arXiv 2502.02538, baseline)."""
    return dataclasses.replace(_bare(settings), critic=critics.ExpectileCriticConfig(), candidates=32)


def bfn(settings: TaskSettings) -> AgentConfig:
    """The behaviour flow's best of 4, in acting and in the critic's target (arXiv 2507.07969, baseline)."""
    critic = critics.EnsembleCriticConfig(aggregation=settings.aggregation)
    return dataclasses.replace(_bare(settings), critic=critic, candidates=4, target_candidates=4)


def deflow_chunked(settings: TaskSettings) -> AgentConfig:
    """DeFlow on chunks of five actions (arXiv 2507.07969)."""
    return dataclasses.replace(deflow(settings), chunk=5)


def qc(settings: TaskSettings) -> AgentConfig:
    """Q-chunking: the behaviour flow's best of 32 chunks of five actions, in acting and in the critic's target
    (QC, arXiv 2507.07969)."""
    return dataclasses.replace(bfn(settings), chunk=5, candidates=32, target_candidates=32)


def qc_fql(settings: TaskSettings) -> AgentConfig:
    """FQL on chunks of five actions, with the weight 100 (QC-FQL, arXiv 2507.07969)."""
    return dataclasses.replace(fql(settings), constraint=constraints.Penalty(100.0), chunk=5)


def fan(settings: TaskSettings) -> AgentConfig:
    """A one-step policy held near the flow without ever solving it, and a critic that sees its noise
    (FAN, arXiv 2605.01663)."""
    return dataclasses.replace(
        fql(settings),
        trust_region=trust_regions.Anchored(),
        constraint=constraints.Penalty(settings.fan_weight),
        critic=critics.NoiseConditionedCriticConfig(penalty=settings.fan_penalty),
        discount=0.995,
    )


def flow_bc(settings: TaskSettings) -> AgentConfig:
    """The behaviour flow alone: it imitates the data without using rewards (arXiv 2502.02538, baseline)."""
    return dataclasses.replace(_bare(settings), critic=critics.NoCritic())


ALGORITHMS: dict[AlgorithmName, Callable[[TaskSettings], AgentConfig]] = {
    "deflow": deflow,
    "deflow-best": deflow_best,
    "deflow-flow-critic": deflow_flow_critic,
    "deflow-projected": deflow_projected,
    "deflow-pessimistic": deflow_pessimistic,
    "deflow-chunked": deflow_chunked,
    "fql": fql,
    "fbrac": fbrac,
    "ifql": ifql,
    "bfn": bfn,
    "qc": qc,
    "qc-fql": qc_fql,
    "fan": fan,
    "flow-bc": flow_bc,
}
"""Name -> function from a task's settings to the algorithm's parts, at the paper's sizes."""


def algorithm_name(name: str) -> AlgorithmName:
    """The name of an algorithm, for names known only at run time: `agent_config(algorithm_name(sys.argv[1]))`.

    Raises:
        UnknownNameError: For a name that is no row of the table.
    """
    if name not in ALGORITHMS:
        raise UnknownNameError(suggestion("algorithm", str(name), ALGORITHMS))
    return cast(AlgorithmName, name)


def agent_config(
    algorithm: AlgorithmName = "deflow",
    *,
    settings: TaskSettings | None = None,
    width: int | None = None,
    depth: int | None = None,
    **parts: Unpack[AgentParts],
) -> AgentConfig:
    """An algorithm's configuration, with a task's settings (default: those of cube-single), network sizes, and any part
    or number replaced.

    `parts` are fields of `AgentConfig`: a part as an object (`solver=deflow.solvers.Heun(steps=5)`), as a class, or as
    its registered name. The settings also apply to these parts: to fields that are None, and, if a class or a name is
    given, to the fields in the part's `task_settings`. The sizes apply to parts whose own sizes are the defaults.
    Explicit values always win.

    Raises:
        TypeError: If a part is of another kind.
        UnknownNameError: If a name is neither an algorithm nor a part.
        ValueError: If a number is invalid.
    """
    if settings is not None and not isinstance(settings, TaskSettings):
        raise TypeError(f"settings must be deflow.task_settings(name), got {settings!r}.")
    settings = settings or task_settings("cube-single-play-singletask-v0")
    config = ALGORITHMS[algorithm_name(algorithm)](settings)
    known = [field.name for field in dataclasses.fields(AgentConfig)]
    for name in parts:
        if name not in known:
            raise TypeError(suggestion("argument of agent_config", name, ["settings", "width", "depth", *known]))
    sizes = {name: size for name, size in (("width", width), ("depth", depth)) if size is not None}
    for name, size in sizes.items():
        check_number("agent_config", name, size, int)
    own = {name: resized(getattr(config, name), sizes) for name in KINDS if name not in parts}
    given = {name: _given(KINDS[name], choice, settings, sizes) for name, choice in parts.items() if name in KINDS}
    return dataclasses.replace(config, **{**parts, **own, **given})


def _given(registry: Registry, choice: Any, settings: TaskSettings, sizes: dict[str, int]) -> Any:
    """A given part with the task's settings and the sizes that apply to it."""
    return resized(
        with_settings(registry.member(choice), settings, fresh=isinstance(choice, str | type)), sizes, given=True
    )


def with_settings(part: Any, settings: TaskSettings, *, fresh: bool) -> Any:
    """The part, and the parts that it wraps, with each of the task's settings for which they have a field.

    These are fields that are None and have a setting's name or are named in the part's `task_settings`; and all of the
    latter, where the part is `fresh`: no field of it was given.
    """
    values = {field.name: getattr(part, field.name) for field in dataclasses.fields(part)}
    named: Mapping[str, str] = getattr(type(part), "task_settings", {})
    found = {}
    for name, value in values.items():
        setting = named.get(name, name if value is None else "")
        if dataclasses.is_dataclass(value):
            found[name] = with_settings(value, settings, fresh=fresh)
        elif hasattr(settings, setting) and (value is None or fresh):
            found[name] = getattr(settings, setting)
    return dataclasses.replace(part, **found) if found else part


def row_of(config: AgentConfig) -> str:
    """The algorithm's name: of the row with the same refiner, trust region, constraint and critic and the same numbers
    of candidates and steps, whatever else differs; `custom` if there is none. Of two such rows, it is the one with the
    same choice for or against mean-std."""

    def signature(config: AgentConfig) -> tuple[Any, ...]:
        parts = (config.refiner, config.trust_region, config.constraint, config.critic)
        numbers = (config.n_step, config.chunk, config.candidates, config.target_candidates, config.normalize_value)
        return (*(type(part) for part in parts), *numbers)

    def pessimistic(config: AgentConfig) -> bool:
        return getattr(config.critic, "aggregation", None) == "mean-std"

    rows = {name: row(task_settings("")) for name, row in ALGORITHMS.items()}
    found = [name for name, row in rows.items() if signature(row) == signature(config)]
    chosen = [name for name in found if pessimistic(rows[name]) == pessimistic(config)]
    return (chosen or found or ["custom"])[0]


def resized(part: Any, sizes: dict[str, int], *, given: bool = False) -> Any:
    """The part, and the parts that it wraps, with each of the sizes for which they have a field; where they were
    `given`, only in place of default sizes."""
    fields = {field.name: field for field in dataclasses.fields(part)}
    values = {name: getattr(part, name) for name in fields}
    new = {
        name: resized(value, sizes, given=given) for name, value in values.items() if dataclasses.is_dataclass(value)
    }
    for name, size in sizes.items():
        if name in fields and not (given and values[name] != fields[name].default):
            new[name] = size
    return dataclasses.replace(part, **new)


def _bare(settings: TaskSettings) -> AgentConfig:
    """No displacement, and hence no trust region and no constraint."""
    return dataclasses.replace(
        deflow(settings),
        refiner=refiners.NoRefiner(),
        trust_region=trust_regions.NoTrustRegion(),
        constraint=constraints.NoConstraint(),
    )

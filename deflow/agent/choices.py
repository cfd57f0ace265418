"""What `agent_config` takes, as types: a type checker knows the names, and which part fits which field.

The names are those that deflow itself registers. A part of your own is given as an object: `solver=OneJump()`.
"""

from typing import Literal, TypedDict

from .. import constraints, critics, encoders, fields, refiners, solvers, trust_regions

AlgorithmName = Literal[
    "deflow", "deflow-best", "deflow-flow-critic", "deflow-projected", "fql", "fbrac", "ifql", "bfn", "flow-bc"
]
"""The rows of `ALGORITHMS`."""

EncoderName = Literal["identity"]
FieldName = Literal["mlp"]
SolverName = Literal["euler", "midpoint", "heun", "ralston", "bosh3", "dopri5", "tsit5"]
RefinerName = Literal["residual", "one-step", "through-solver", "value-gradient", "iterated", "none"]
TrustRegionName = Literal["mean-square", "ball", "box", "ellipsoid", "per-state", "none"]
ConstraintName = Literal["dual", "pid", "penalty", "projection", "none"]
CriticName = Literal["ensemble", "categorical", "expectile", "flow", "none"]


class AgentParts(TypedDict, total=False):
    """The fields of `AgentConfig`: each part as an object, or as the name that it is registered under."""

    encoder: EncoderName | encoders.AbstractEncoder | encoders.AbstractEncoderConfig
    field: FieldName | fields.AbstractFieldConfig
    solver: SolverName | solvers.AbstractSolver
    refiner: RefinerName | refiners.AbstractRefiner | refiners.AbstractRefinerConfig
    trust_region: TrustRegionName | trust_regions.AbstractTrustRegion | trust_regions.AbstractTrustRegionConfig
    constraint: ConstraintName | constraints.AbstractConstraint | constraints.AbstractConstraintConfig
    critic: CriticName | critics.AbstractCritic | critics.AbstractCriticConfig
    discount: float
    n_step: int
    candidates: int
    target_candidates: int
    normalize_value: bool
    flow_weight: float

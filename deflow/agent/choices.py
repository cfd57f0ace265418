"""Types of the arguments of `agent_config`, so that type checkers know the names and which part fits which field.

The names are those that deflow registers itself. Give your own part as an object: `solver=OneJump()`.
"""

from typing import Literal, TypedDict

from .. import constraints, critics, encoders, fields, refiners, solvers, trust_regions

AlgorithmName = Literal[
    "deflow", "deflow-best", "deflow-flow-critic", "deflow-projected", "fql", "fbrac", "ifql", "bfn", "flow-bc"
]
"""The names in `ALGORITHMS`."""

EncoderName = Literal["identity"]
FieldName = Literal["mlp"]
SolverName = Literal["euler", "midpoint", "heun", "ralston", "bosh3", "dopri5", "tsit5"]
RefinerName = Literal["residual", "one-step", "through-solver", "value-gradient", "iterated", "none"]
TrustRegionName = Literal["mean-square", "ball", "box", "ellipsoid", "per-state", "none"]
ConstraintName = Literal["dual", "pid", "penalty", "projection", "none"]
CriticName = Literal["ensemble", "categorical", "expectile", "flow", "none"]


class AgentParts(TypedDict, total=False):
    """The fields of `AgentConfig`, in which each part is an object or its registered name."""

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

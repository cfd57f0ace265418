"""Types of the arguments of `agent_config`, so that type checkers know the names and which part fits which field.

The names are those that deflow registers itself. Give your own part as an object: `solver=OneJump()`.
"""

from typing import Literal, TypedDict

from .. import augmentations, constraints, critics, encoders, fields, refiners, solvers, trust_regions

AlgorithmName = Literal[
    "deflow",
    "deflow-best",
    "deflow-flow-critic",
    "deflow-projected",
    "deflow-pessimistic",
    "deflow-chunked",
    "fql",
    "fbrac",
    "ifql",
    "bfn",
    "qc",
    "qc-fql",
    "fan",
    "flow-bc",
]
"""The names in `ALGORITHMS`."""

EncoderName = Literal["identity", "standardize", "impala-small", "impala"]
FieldName = Literal["mlp"]
SolverName = Literal["euler", "midpoint", "heun", "ralston", "bosh3", "dopri5", "tsit5"]
RefinerName = Literal["residual", "one-step", "through-solver", "value-gradient", "iterated", "none"]
TrustRegionName = Literal["mean-square", "ball", "box", "ellipsoid", "per-state", "anchored", "none"]
ConstraintName = Literal["dual", "pid", "penalty", "projection", "none"]
CriticName = Literal["ensemble", "categorical", "expectile", "flow", "noise-conditioned", "none"]
AugmentationName = Literal["none", "random-crop"]


Encoder = encoders.AbstractEncoder | encoders.AbstractEncoderConfig
Refiner = refiners.AbstractRefiner | refiners.AbstractRefinerConfig
TrustRegion = (
    trust_regions.AbstractTrustRegion | trust_regions.AbstractFlowRegion | trust_regions.AbstractTrustRegionConfig
)
Constraint = constraints.AbstractConstraint | constraints.AbstractConstraintConfig
Critic = critics.AbstractCritic | critics.AbstractCriticConfig


class AgentParts(TypedDict, total=False):
    """The fields of `AgentConfig`, in which each part is an object, a class or a registered name."""

    encoder: EncoderName | Encoder | type[Encoder]
    field: FieldName | fields.AbstractFieldConfig | type[fields.AbstractFieldConfig]
    solver: SolverName | solvers.AbstractSolver | type[solvers.AbstractSolver]
    refiner: RefinerName | Refiner | type[Refiner]
    trust_region: TrustRegionName | TrustRegion | type[TrustRegion]
    constraint: ConstraintName | Constraint | type[Constraint]
    critic: CriticName | Critic | type[Critic]
    augmentation: AugmentationName | augmentations.AbstractAugmentation | type[augmentations.AbstractAugmentation]
    discount: float
    n_step: int
    chunk: int
    execute: int | None
    candidates: int
    target_candidates: int
    normalize_value: bool
    flow_weight: float

"""Critics: the value of an action, and its loss."""

from .aggregation import Aggregation, aggregate, check_aggregation
from .base import (
    AbstractCritic,
    AbstractCriticConfig,
    AbstractInquiringCritic,
    AbstractStochasticCritic,
    Origin,
    register,
    registry,
)
from .categorical import CategoricalCritic, CategoricalCriticConfig
from .ensemble import EnsembleCritic, EnsembleCriticConfig
from .expectile import ExpectileCritic, ExpectileCriticConfig
from .flow import FlowCritic, FlowCriticConfig
from .members import Members, build_members, each, follow, target_of
from .noise_conditioned import NoiseConditionedCritic, NoiseConditionedCriticConfig
from .none import NoCritic

__all__ = [
    "AbstractCritic",
    "AbstractCriticConfig",
    "AbstractInquiringCritic",
    "AbstractStochasticCritic",
    "Aggregation",
    "CategoricalCritic",
    "CategoricalCriticConfig",
    "EnsembleCritic",
    "EnsembleCriticConfig",
    "ExpectileCritic",
    "ExpectileCriticConfig",
    "FlowCritic",
    "FlowCriticConfig",
    "Members",
    "NoCritic",
    "NoiseConditionedCritic",
    "NoiseConditionedCriticConfig",
    "Origin",
    "aggregate",
    "build_members",
    "check_aggregation",
    "each",
    "follow",
    "register",
    "registry",
    "target_of",
]

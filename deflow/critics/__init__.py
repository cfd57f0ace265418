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
    "NoCritic",
    "NoiseConditionedCritic",
    "NoiseConditionedCriticConfig",
    "Origin",
    "aggregate",
    "check_aggregation",
    "register",
    "registry",
]

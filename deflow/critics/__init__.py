"""Critics: the value of an action, and its loss."""

from .aggregation import Aggregation, aggregate, check_aggregation
from .base import AbstractCritic, AbstractCriticConfig, register, registry
from .categorical import CategoricalCritic, CategoricalCriticConfig
from .ensemble import EnsembleCritic, EnsembleCriticConfig
from .expectile import ExpectileCritic, ExpectileCriticConfig
from .flow import FlowCritic, FlowCriticConfig
from .none import NoCritic

__all__ = [
    "AbstractCritic",
    "AbstractCriticConfig",
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
    "aggregate",
    "check_aggregation",
    "register",
    "registry",
]

"""Critics: the value of an action, and its loss."""

from .aggregation import Aggregation, aggregate, check_aggregation
from .base import AbstractCritic, AbstractCriticConfig, register, registry
from .ensemble import EnsembleCritic, EnsembleCriticConfig
from .none import NoCritic

__all__ = [
    "AbstractCritic",
    "AbstractCriticConfig",
    "Aggregation",
    "EnsembleCritic",
    "EnsembleCriticConfig",
    "NoCritic",
    "aggregate",
    "check_aggregation",
    "register",
    "registry",
]

"""Refiners: proposal -> displacement."""

from .base import (
    AbstractDirectRefiner,
    AbstractLearnedRefiner,
    AbstractRefiner,
    AbstractRefinerConfig,
    AbstractThroughSolverRefiner,
    Inquiry,
    register,
    registry,
)
from .none import NoRefiner
from .residual import ResidualRefiner, ResidualRefinerConfig

__all__ = [
    "AbstractDirectRefiner",
    "AbstractLearnedRefiner",
    "AbstractRefiner",
    "AbstractRefinerConfig",
    "AbstractThroughSolverRefiner",
    "Inquiry",
    "NoRefiner",
    "ResidualRefiner",
    "ResidualRefinerConfig",
    "register",
    "registry",
]

"""Refiners: proposal -> displacement."""

from .base import (
    AbstractDirectRefiner,
    AbstractLearnedRefiner,
    AbstractRefiner,
    AbstractRefinerConfig,
    AbstractStillRefiner,
    AbstractThroughSolverRefiner,
    Inquiry,
    register,
    registry,
)
from .iterated import Iterated, IteratedConfig, LearnedIterated
from .none import NoRefiner
from .one_step import OneStepRefiner, OneStepRefinerConfig
from .residual import ResidualRefiner, ResidualRefinerConfig
from .through_solver import ThroughSolver
from .value_gradient import ValueGradient

__all__ = [
    "AbstractDirectRefiner",
    "AbstractLearnedRefiner",
    "AbstractRefiner",
    "AbstractRefinerConfig",
    "AbstractStillRefiner",
    "AbstractThroughSolverRefiner",
    "Inquiry",
    "Iterated",
    "IteratedConfig",
    "LearnedIterated",
    "NoRefiner",
    "OneStepRefiner",
    "OneStepRefinerConfig",
    "ResidualRefiner",
    "ResidualRefinerConfig",
    "ThroughSolver",
    "ValueGradient",
    "register",
    "registry",
]

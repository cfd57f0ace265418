"""Constraints: how a displacement's size is kept within the trust region's bound."""

from .base import (
    AbstractConstraint,
    AbstractConstraintConfig,
    AbstractHardConstraint,
    AbstractSoftConstraint,
    check_bounded,
    register,
    registry,
)
from .dual import DualConstraint, DualConstraintConfig
from .none import NoConstraint
from .penalty import Penalty
from .pid import PIDConstraint, PIDConstraintConfig
from .projection import Projection

__all__ = [
    "AbstractConstraint",
    "AbstractConstraintConfig",
    "AbstractHardConstraint",
    "AbstractSoftConstraint",
    "DualConstraint",
    "DualConstraintConfig",
    "NoConstraint",
    "PIDConstraint",
    "PIDConstraintConfig",
    "Penalty",
    "Projection",
    "check_bounded",
    "register",
    "registry",
]

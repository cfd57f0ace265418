"""Encoders: observation -> features."""

from .base import (
    AbstractEncoder,
    AbstractEncoderConfig,
    AbstractImageEncoder,
    AbstractImageEncoderConfig,
    register,
    registry,
)
from .identity import Identity
from .impala import AbstractImpalaConfig, Impala, ImpalaConfig, ImpalaSmallConfig
from .standardize import Standardize, StandardizeConfig

__all__ = [
    "AbstractEncoder",
    "AbstractEncoderConfig",
    "AbstractImageEncoder",
    "AbstractImageEncoderConfig",
    "AbstractImpalaConfig",
    "Identity",
    "Impala",
    "ImpalaConfig",
    "ImpalaSmallConfig",
    "Standardize",
    "StandardizeConfig",
    "register",
    "registry",
]

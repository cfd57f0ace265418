"""Encoders: observation -> features."""

from .base import AbstractEncoder, AbstractEncoderConfig, register, registry
from .identity import Identity
from .standardize import Standardize, StandardizeConfig

__all__ = [
    "AbstractEncoder",
    "AbstractEncoderConfig",
    "Identity",
    "Standardize",
    "StandardizeConfig",
    "register",
    "registry",
]

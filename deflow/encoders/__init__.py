"""Encoders: observation -> features."""

from .base import AbstractEncoder, AbstractEncoderConfig, register, registry
from .identity import Identity

__all__ = ["AbstractEncoder", "AbstractEncoderConfig", "Identity", "register", "registry"]

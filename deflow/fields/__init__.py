"""Fields: the velocity v(o, a_t, t) of the behaviour flow."""

from .base import AbstractField, AbstractFieldConfig, register, registry
from .mlp import MLPField, MLPFieldConfig

__all__ = ["AbstractField", "AbstractFieldConfig", "MLPField", "MLPFieldConfig", "register", "registry"]

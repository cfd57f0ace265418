"""The vector field that carries noise to actions: dx/dt = v(o, x, t), from noise at t = 0 to data at t = 1.

A complete member is `mlp.py`: a frozen configuration with `build`, and the field it builds.
"""

import abc

from ..registry import Registry
from ..types import AbstractConfig, AbstractPart, Action, Features, Observation, Scalar


class AbstractField(AbstractPart):
    """A velocity field over actions, given the observation. It is trained by flow matching alone."""

    @abc.abstractmethod
    def encode(self, observation: Observation) -> Features:
        """The features of an observation, computed once per ODE solve and not once per step."""

    @abc.abstractmethod
    def __call__(self, features: Features, action: Action, time: Scalar) -> Action:
        """Velocity of shape (A,) at the point `action` of the path and the time in [0, 1]."""


class AbstractFieldConfig(AbstractConfig):
    """The frozen configuration of a field."""


registry: Registry[AbstractFieldConfig] = Registry("field", "fields", (AbstractFieldConfig,))
"""The fields, by name."""
register = registry.register
"""Class decorator: adds a field under a name, see `deflow.registry.Registry.register`."""

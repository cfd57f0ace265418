"""Turning observations into features, in front of every network that reads observations.

A complete member:

    @deflow.encoders.register("tanh")
    class Tanh(deflow.encoders.AbstractEncoder):
        def __call__(self, observation):
            return jnp.tanh(jnp.ravel(observation))
"""

import abc

from ..registry import Registry
from ..types import AbstractConfig, AbstractPart, Features, Observation


class AbstractEncoder(AbstractPart):
    """Turns one observation into features.

    The field, the refiner and the critic have one each, trained by their own losses. A critic's members share theirs.
    """

    @abc.abstractmethod
    def __call__(self, observation: Observation) -> Features:
        """Features of one observation, a float32 vector."""


class AbstractEncoderConfig(AbstractConfig):
    """The frozen configuration of an encoder with arrays."""


def check_states(name: str, shape: tuple[int, ...]) -> None:
    """Raises a `ValueError` if observations of this shape are pixels."""
    if len(shape) == 3:
        raise ValueError(
            f"The encoder {name!r} is for states, got pixels of shape {shape}: choose or register an encoder for "
            "images, or a task without 'visual' in its name."
        )


registry: Registry[AbstractEncoder | AbstractEncoderConfig] = Registry(
    "encoder", "encoders", (AbstractEncoder, AbstractEncoderConfig)
)
"""The encoders, by name."""
register = registry.register
"""Class decorator: adds an encoder under a name, see `deflow.registry.Registry.register`."""

"""Turning observations into features, in front of every network that reads observations.

A complete member:

    @deflow.encoders.register("tanh")
    class Tanh(deflow.encoders.AbstractEncoder):
        def __call__(self, observation):
            return jnp.tanh(jnp.ravel(observation))
"""

import abc

from ..registry import Registry
from ..types import AbstractConfig, AbstractPart, Features, Observation, Spec


class AbstractEncoder(AbstractPart):
    """Turns one observation into features.

    The field, the refiner and the critic have one each, trained by their own losses. A critic's members share theirs.
    """

    @abc.abstractmethod
    def __call__(self, observation: Observation) -> Features:
        """Features of one observation, a float32 vector."""


class AbstractImageEncoder(AbstractEncoder):
    """An encoder with convolutions. On CPUs each update is a dispatch of its own then: in a loop, XLA computes
    convolutions twenty times as slowly."""


class AbstractEncoderConfig(AbstractConfig):
    """The frozen configuration of an encoder with arrays."""


class AbstractImageEncoderConfig(AbstractEncoderConfig):
    """The configuration of an encoder for images of bytes, of shape (height, width, channels)."""


def check_states(name: str, shape: tuple[int, ...]) -> None:
    """Raises a `ValueError` if observations of this shape are pixels."""
    if len(shape) == 3:
        raise ValueError(
            f"The encoder {name!r} is for states, got pixels of shape {shape}: choose an encoder for images, such as "
            "'impala-small'."
        )


def check_images(name: str, spec: Spec, *, smallest: int) -> None:
    """Raises a `ValueError` if observations are not images of bytes with at least `smallest` rows and columns."""
    shape, dtype = spec.observation_shape, spec.observation_dtype
    if len(shape) != 3:
        remedy = "choose an encoder for states, such as 'identity'"
        if len(shape) == 2 and dtype == "uint8":
            remedy = "give grey images an axis of one channel, as image[..., None] does"
        raise ValueError(
            f"The encoder {name!r} is for images of shape (height, width, channels), got observations of shape "
            f"{shape}: {remedy}."
        )
    if dtype != "uint8":
        raise ValueError(
            f"The encoder {name!r} is for images of bytes (uint8, 0 to 255), got {dtype}: convert them, as in "
            "np.round(255 * image).astype(np.uint8) for entries from 0 to 1."
        )
    if min(shape[:2]) < smallest:
        raise ValueError(
            f"The encoder {name!r} needs images of at least {smallest} x {smallest} pixels, got the shape {shape} "
            "(height, width, channels): give larger ones, or fewer stacks; if channels come first, move them to the "
            "end, as in np.moveaxis(images, -3, -1)."
        )


registry: Registry[AbstractEncoder | AbstractEncoderConfig] = Registry(
    "encoder", "encoders", (AbstractEncoder, AbstractEncoderConfig)
)
"""The encoders, by name."""
register = registry.register
"""Class decorator: adds an encoder under a name, see `deflow.registry.Registry.register`."""

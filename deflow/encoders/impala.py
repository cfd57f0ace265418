"""Images: the residual network of IMPALA (arXiv 1802.01561, figure 3), in the two sizes that OGBench's agents use."""

from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from ..networks import Dense
from ..types import Context, Features, Observation
from .base import AbstractImageEncoder, AbstractImageEncoderConfig, check_images, register


class Convolution(eqx.Module):
    """A convolution of 3 x 3 that keeps height and width. Weights as a dense layer's, over all of their inputs."""

    weight: Float[Array, "3 3 inputs outputs"]
    bias: Float[Array, " outputs"]

    def __init__(self, inputs: int, outputs: int, *, key: Key[Array, ""]):
        initialise = jax.nn.initializers.variance_scaling(1.0, "fan_avg", "uniform")
        self.weight = initialise(key, (3, 3, inputs, outputs), jnp.float32)
        self.bias = jnp.zeros(outputs)

    def __call__(self, image: Float[Array, "height width inputs"]) -> Float[Array, "height width outputs"]:
        order = ("NHWC", "HWIO", "NHWC")
        images = jax.lax.conv_general_dilated(image[None], self.weight, (1, 1), "SAME", dimension_numbers=order)
        return images[0] + self.bias[None, None]


class Block(eqx.Module):
    """x + conv(relu(conv(relu(x))))."""

    first: Convolution
    second: Convolution

    def __call__(self, image: Float[Array, "height width channels"]) -> Float[Array, "height width channels"]:
        return image + self.second(jax.nn.relu(self.first(jax.nn.relu(image))))


class Stack(eqx.Module):
    """A convolution, the maximum over 3 x 3 with stride 2, which halves height and width (rounding up), and blocks."""

    convolution: Convolution
    blocks: tuple[Block, ...]

    def __init__(self, inputs: int, outputs: int, *, blocks: int, key: Key[Array, ""]):
        keys = jax.random.split(key, 2 * blocks + 1)
        pairs = zip(keys[1::2], keys[2::2], strict=True)
        self.convolution = Convolution(inputs, outputs, key=keys[0])
        self.blocks = tuple(Block(*(Convolution(outputs, outputs, key=key) for key in pair)) for pair in pairs)

    def __call__(self, image: Float[Array, "height width inputs"]) -> Float[Array, "rows columns outputs"]:
        image = self.convolution(image)
        for axis in (0, 1):
            image = _largest_of_three(image, axis)
        for block in self.blocks:
            image = block(image)
        return image


def _largest_of_three(image: Float[Array, "height width channels"], axis: int) -> Float[Array, "rows columns channels"]:
    """The maximum over 3 neighbours with stride 2 along an axis; beyond the image's edges there is nothing.

    Slices, since the gradient of `jax.lax.reduce_window` takes a quarter longer on CPUs.
    """
    length, kept = image.shape[axis], (image.shape[axis] + 1) // 2
    before = length % 2
    edges = [(0, 0)] * 3
    edges[axis] = (before, 2 * kept + 1 - length - before)
    padded = jnp.pad(image, edges, constant_values=-jnp.inf)
    first, second, third = (
        jax.lax.slice_in_dim(padded, start, start + 2 * kept - 1, stride=2, axis=axis) for start in range(3)
    )
    return jnp.maximum(jnp.maximum(first, second), third)


class Impala(AbstractImageEncoder):
    """features = gelu(dense(relu(stacks(image / 255)))), the last stack's image flattened for the dense layer."""

    stacks: tuple[Stack, ...]
    dense: Dense

    def __call__(self, observation: Observation) -> Features:
        image = jnp.asarray(observation).astype(jnp.float32) / 255.0
        for stack in self.stacks:
            image = stack(image)
        return jax.nn.gelu(self.dense(jnp.ravel(jax.nn.relu(image))), approximate=True)


class AbstractImpalaConfig(AbstractImageEncoderConfig):
    """The sizes of the network."""

    stacks: eqx.AbstractVar[tuple[int, ...]]
    """Channels of each stack. A stack halves the image's height and width."""

    blocks: eqx.AbstractVar[int]
    """Residual blocks of each stack."""

    features: eqx.AbstractVar[int]
    """Number of features."""

    name: ClassVar[str] = "impala"
    """What errors call it."""

    def __check_init__(self) -> None:
        if not self.stacks or any(not isinstance(size, int) or size < 1 for size in self.stacks):
            raise ValueError(
                f"encoder {self.name}: stacks must be numbers of channels such as 16 32 32, got {self.stacks}."
            )
        if self.blocks < 0:
            raise ValueError(f"encoder {self.name}: blocks must not be negative, got {self.blocks}.")
        if self.features < 1:
            raise ValueError(f"encoder {self.name}: features must be at least 1, got {self.features}.")

    def build(self, context: Context, *, key: Key[Array, ""]) -> Impala:
        """The network for the context's images.

        Raises:
            ValueError: If observations are no images of bytes, or if the images are too small for the stacks.
        """
        check_images(self.name, context.spec, smallest=2 ** len(self.stacks))
        height, width, channels = context.spec.observation_shape
        *keys, dense_key = jax.random.split(key, len(self.stacks) + 1)
        pairs = zip((channels, *self.stacks), self.stacks, keys, strict=False)
        stacks = tuple(Stack(inputs, outputs, blocks=self.blocks, key=key) for inputs, outputs, key in pairs)
        for _ in self.stacks:
            height, width = -(-height // 2), -(-width // 2)
        return Impala(stacks, Dense(height * width * self.stacks[-1], self.features, key=dense_key))


@register("impala-small")
class ImpalaSmallConfig(AbstractImpalaConfig):
    """IMPALA's network with one residual block a stack: the published visual agents' encoder."""

    name: ClassVar[str] = "impala-small"

    stacks: tuple[int, ...] = (16, 32, 32)
    """Channels of each stack. A stack halves the image's height and width."""

    blocks: int = 1
    """Residual blocks of each stack."""

    features: int = 512
    """Number of features."""


@register("impala")
class ImpalaConfig(AbstractImpalaConfig):
    """IMPALA's network, with two residual blocks a stack: about 1.8 times the cost of `impala-small`."""

    stacks: tuple[int, ...] = (16, 32, 32)
    """Channels of each stack. A stack halves the image's height and width."""

    blocks: int = 2
    """Residual blocks of each stack."""

    features: int = 512
    """Number of features."""

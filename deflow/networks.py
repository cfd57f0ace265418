"""What learned parts share: the multilayer perceptron and its initialisation."""

from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from .keys import named_key
from .types import Context, Encoder, build

Tree = TypeVar("Tree")


class MLP(eqx.Module):
    """A multilayer perceptron: `depth` hidden layers of `width`, GELU (tanh approximation), a linear output.

    Dense weights are drawn by variance scaling (1.0, fan_avg, uniform) and biases are zero. With `normalize`, every
    hidden layer's GELU is followed by a LayerNorm (eps 1e-6) with scale and offset (arXiv 2601.10471, section 5).
    """

    layers: tuple["Dense | TransposedDense", ...]
    norms: tuple[eqx.nn.LayerNorm, ...]

    def __init__(
        self,
        in_size: int,
        out_size: int,
        *,
        width: int,
        depth: int,
        normalize: bool = False,
        key: Key[Array, ""],
    ):
        sizes = (in_size, *[width] * depth, out_size)
        keys = jax.random.split(key, depth + 1)
        pairs = zip(sizes[:-1], sizes[1:], keys, strict=True)
        self.layers = tuple(Dense(inputs, outputs, key=layer_key) for inputs, outputs, layer_key in pairs)
        self.norms = tuple(eqx.nn.LayerNorm(width, eps=1e-6) for _ in range(depth)) if normalize else ()

    def __call__(self, x: Float[Array, " inputs"]) -> Float[Array, " outputs"]:
        """One input vector to one output vector."""
        for index, layer in enumerate(self.layers[:-1]):
            x = jax.nn.gelu(layer(x), approximate=True)
            if self.norms:
                x = self.norms[index](x)
        return self.layers[-1](x)


class Dense(eqx.Module):
    """x @ weight.T + bias, the product in the precision of `jax.default_matmul_precision`.

    Written `weight @ x`, batches of it come out with the units first, and XLA puts a transpose around every product: a
    fifth of an update's time.
    """

    weight: Float[Array, "outputs inputs"]
    bias: Float[Array, " outputs"]

    def __init__(self, inputs: int, outputs: int, *, key: Key[Array, ""]):
        initialise = jax.nn.initializers.variance_scaling(1.0, "fan_avg", "uniform")
        self.weight = initialise(key, (outputs, inputs), jnp.float32)
        self.bias = jnp.zeros(outputs)

    def __call__(self, x: Float[Array, " inputs"]) -> Float[Array, " outputs"]:
        return _product(x, self.weight.T) + self.bias


class TransposedDense(eqx.Module):
    """A `Dense` that stores the transpose of its weight: x @ transposed + bias.

    For one input, XLA's CPU back end takes more than twice as long to multiply by a transposed matrix.
    """

    transposed: Float[Array, "*members inputs outputs"]
    bias: Float[Array, "*members outputs"]

    @property
    def weight(self) -> Float[Array, "*members outputs inputs"]:
        """The weight as `Dense` has it."""
        return jnp.swapaxes(self.transposed, -1, -2)

    def __call__(self, x: Float[Array, " inputs"]) -> Float[Array, " outputs"]:
        return _product(x, self.transposed) + self.bias


def for_acting(tree: Tree) -> Tree:
    """The tree with every `Dense` as a `TransposedDense`: the same functions to rounding, quicker for one input.

    Stacked layers, such as a critic's members, keep their first axes. What is not a `Dense` stays as it is.
    """

    def is_dense(node: Any) -> bool:
        return type(node) is Dense

    def transpose(node: Any) -> Any:
        return TransposedDense(jnp.swapaxes(node.weight, -1, -2), node.bias) if is_dense(node) else node

    return jax.tree.map(transpose, tree, is_leaf=is_dense)


def _product(x: Float[Array, " inputs"], matrix: Float[Array, "inputs outputs"]) -> Float[Array, " outputs"]:
    """x @ matrix in the precision of `jax.default_matmul_precision`."""
    low = jax.config.jax_default_matmul_precision == "bfloat16"  # type: ignore[attr-defined]
    return _bfloat16_product(x, matrix) if low else x @ matrix


@jax.custom_jvp
def _bfloat16_product(x, weight):
    """x @ weight with both rounded to bfloat16 and float32 sums. (XLA's CPU back end ignores the precision setting.)"""
    return jnp.matmul(x.astype(jnp.bfloat16), weight.astype(jnp.bfloat16), preferred_element_type=jnp.float32)


@_bfloat16_product.defjvp
def _bfloat16_product_jvp(primals, tangents):
    # Products with bfloat16 results: transposed, they round the cotangents too, as in mixed precision elsewhere.
    (x, weight), (x_dot, weight_dot) = (tuple(a.astype(jnp.bfloat16) for a in pair) for pair in (primals, tangents))
    out_dot = (x_dot @ weight).astype(jnp.float32) + (x @ weight_dot).astype(jnp.float32)
    return _bfloat16_product(*primals), out_dot


def check_network(part: str, width: int, depth: int) -> None:
    """Raises a `ValueError` for an invalid width or depth."""
    if width < 1:
        raise ValueError(f"{part}: width must be at least 1 unit, got {width}.")
    if depth < 1:
        raise ValueError(f"{part}: depth must be at least 1 hidden layer, got {depth}.")


def build_encoder(context: Context, *, key: Key[Array, ""]) -> tuple[Encoder, int]:
    """A new encoder for one network, and the number of its features."""
    encoder = build(context.encoder, context, key=named_key(key, "encoder"))
    observation = jax.ShapeDtypeStruct(context.spec.observation_shape, context.spec.observation_dtype)
    features = eqx.filter_eval_shape(encoder, observation)
    if features.ndim != 1:
        raise ValueError(f"{type(encoder).__name__} must return a vector of features, got the shape {features.shape}.")
    return encoder, features.size

"""The multilayer perceptron and its initialiser, against NumPy."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from small import SPEC, cases, members, small

from deflow import agent_config, critics, encoders, fields
from deflow.agent.algorithms import ALGORITHMS
from deflow.networks import MLP, Dense, TransposedDense, build_encoder, check_network, for_acting
from deflow.testing import check_encoder, check_field, example_context, example_data
from deflow.types import AbstractConfig, Fixed, Spec, build, trainable


@pytest.mark.parametrize("normalize", [False, True])
def test_forward(normalize):
    network = MLP(5, 2, width=8, depth=3, normalize=normalize, key=jax.random.key(0))
    network = reference.perturbed(network, jax.random.key(1), 0.5)
    x = jax.random.normal(jax.random.key(2), (6, 5))
    got = jax.jit(jax.vmap(network))(x)
    np.testing.assert_allclose(got, reference.mlp(reference.arrays(network), x), rtol=1e-5, atol=1e-5)


def test_shapes():
    network = MLP(5, 2, width=8, depth=3, normalize=True, key=jax.random.key(0))
    assert [layer.weight.shape for layer in network.layers] == [(8, 5), (8, 8), (8, 8), (2, 8)]
    assert [norm.weight.shape for norm in network.norms] == [(8,)] * 3
    assert {leaf.dtype for leaf in jax.tree.leaves(eqx.filter(network, eqx.is_array))} == {jnp.dtype("float32")}


def test_initialiser():
    """Uniform on +-sqrt(3 * 1.0 / ((inputs + outputs) / 2)); biases zero; every layer with a key of its own."""
    network = MLP(100, 50, width=200, depth=2, key=jax.random.key(0))
    for layer, (inputs, outputs) in zip(network.layers, [(100, 200), (200, 200), (200, 50)], strict=True):
        limit = np.sqrt(6 / (inputs + outputs))
        weight = np.asarray(layer.weight)
        assert 0.99 * limit < np.abs(weight).max() <= limit
        assert weight.std() == pytest.approx(limit / np.sqrt(3), rel=0.02)
        assert weight.mean() == pytest.approx(0, abs=0.02 * limit)
        assert not np.any(layer.bias)
    assert not np.allclose(network.layers[0].weight[:50, :50], network.layers[1].weight[:50, :50])


def test_bfloat16_products():
    """Factors are rounded to bfloat16, sums are float32; the bias is not rounded; gradients stay near."""
    network = reference.perturbed(MLP(5, 2, width=8, depth=2, key=jax.random.key(0)), jax.random.key(1), 0.5)
    x = jax.random.normal(jax.random.key(2), (5,))

    def total(network):
        return jnp.sum(network(x))

    exact, exact_slope = jax.jit(jax.value_and_grad(total))(network)
    with jax.default_matmul_precision("bfloat16"):
        # A function of its own: a traced program is not traced again for another precision.
        rounded, slope = jax.jit(jax.value_and_grad(lambda network: total(network)))(network)
    assert rounded.dtype == jnp.float32
    assert 0 < abs(float(rounded - exact)) < 0.05 * (1 + abs(float(exact)))
    for one, other in zip(jax.tree.leaves(slope), jax.tree.leaves(exact_slope), strict=True):
        assert one.dtype == jnp.float32
        np.testing.assert_allclose(one, other, atol=0.05 * (1 + np.abs(other).max()))


def layers_of(tree):
    kinds = (Dense, TransposedDense)
    return [node for node in jax.tree.leaves(tree, is_leaf=lambda node: isinstance(node, kinds)) if type(node) in kinds]


def assert_acts_equally(policy):
    """The policy for acting has no ordinary layer left, and chooses the same actions to rounding."""
    policy = reference.perturbed(policy, jax.random.key(1), 0.1)
    quick = for_acting(policy)
    assert {type(layer) for layer in layers_of(quick)} == {TransposedDense}
    observations, keys = example_data(SPEC, 4).observation, jax.random.split(jax.random.key(2), 4)
    for observation, key in zip(jnp.asarray(observations), keys, strict=True):
        np.testing.assert_allclose(quick.act(observation, key=key), policy.act(observation, key=key), atol=1e-6)


@pytest.mark.parametrize("row", ALGORITHMS)
def test_every_row_acts_equally_with_transposed_layers(row):
    candidates = 1 if row == "flow-bc" else 3
    config = agent_config(row, width=8, depth=2, candidates=candidates)
    data = dataclasses.replace(example_data(SPEC), extras={"trajectory_end": np.zeros(len(example_data(SPEC)))})
    assert_acts_equally(config.build(SPEC, data, key=jax.random.key(0)))


NETWORKS = [(kind, name, part) for kind in ("field", "refiner", "critic") for name, part in members(kind)]


@pytest.mark.parametrize(("kind", "part"), [(k, p) for k, _, p in NETWORKS], ids=[f"{k}-{n}" for k, n, _ in NETWORKS])
def test_every_network_acts_equally_with_transposed_layers(kind, part):
    """Critics choose among three candidates, so that their stacked members are compared, too."""
    candidates = 1 if (kind, part) == ("critic", small(critics.NoCritic())) else 3
    policy = agent_config(width=8, depth=2).build(SPEC, example_data(SPEC), key=jax.random.key(0))
    built = build(part, example_context(), key=jax.random.key(3))
    assert_acts_equally(dataclasses.replace(policy, candidates=candidates, **{kind: built}))


def test_transposed_layers_keep_their_members_and_what_is_no_dense_layer():
    stacked = eqx.filter_vmap(lambda key: Dense(3, 5, key=key))(jax.random.split(jax.random.key(0), 2))
    other, plain = eqx.nn.Linear(3, 5, key=jax.random.key(1)), jnp.arange(6.0).reshape(2, 3)
    layer, same, array, function = for_acting((stacked, other, plain, jnp.tanh))
    assert layer.transposed.shape == (2, 3, 5)
    np.testing.assert_array_equal(layer.weight, stacked.weight)
    assert (same, function) == (other, jnp.tanh)
    assert array is plain
    x = jnp.asarray([0.5, -1.0, 2.0])
    outputs = [eqx.filter_vmap(lambda layer: layer(x))(one) for one in (layer, stacked)]
    np.testing.assert_allclose(*outputs, atol=1e-6)


@pytest.mark.parametrize(("width", "depth", "what"), [(0, 2, "width"), (8, 0, "depth"), (-1, 2, "width")])
def test_refuses_sizes(width, depth, what):
    with pytest.raises(ValueError, match=f"part: {what} must be at least 1"):
        check_network("part", width, depth)
    with pytest.raises(ValueError, match=f"{what} must be at least 1"):
        fields.MLPFieldConfig(width=width, depth=depth)


@pytest.mark.parametrize("encoder", **cases("encoder"))
def test_encoder_laws(encoder):
    check_encoder(encoder)


@pytest.mark.parametrize("field", **cases("field"))
def test_field_laws(field):
    check_field(field)


def test_identity():
    observation = jnp.asarray([[1, 2], [3, 250]], jnp.uint8)
    assert encoders.Identity()(observation).tolist() == [1.0, 2.0, 3.0, 250.0]
    check_encoder(encoders.Identity(), spec=Spec((2, 2), 1, "uint8"))
    with pytest.raises(ValueError, match=r"got pixels of shape \(8, 8, 3\)"):
        encoders.Identity()(jnp.zeros((8, 8, 3)))


def test_field_against_reference():
    """The order of the inputs: features, point, raw time."""
    field = reference.perturbed(small(fields.MLPFieldConfig()).build(example_context(), key=jax.random.key(0)))
    o, a = jnp.asarray([0.3, -2.0, 1.0]), jnp.asarray([0.5, -0.1])
    expected = reference.mlp(reference.arrays(field.network), np.concatenate([o, a, [0.7]])[None])[0]
    np.testing.assert_allclose(field(field.encode(o), a, jnp.asarray(0.7)), expected, rtol=1e-5)


class Matrix(encoders.AbstractEncoder):
    def __call__(self, observation):
        return observation[None]


class Stretch(encoders.AbstractEncoder):
    scale: jax.Array

    def __call__(self, observation):
        return jnp.concatenate([observation, observation]) * self.scale


class StretchConfig(encoders.AbstractEncoderConfig):
    def build(self, context, *, key):
        return Stretch(jax.random.uniform(key, ()))


def test_encoders_of_ones_own():
    context = example_context()
    features = build_encoder(dataclasses.replace(context, encoder=StretchConfig()), key=jax.random.key(0))[1]
    assert features == 6
    with pytest.raises(ValueError, match=r"Matrix must return a vector of features, got the shape \(1, 3\)"):
        build_encoder(dataclasses.replace(context, encoder=Matrix()), key=jax.random.key(0))


def test_build_and_trainable():
    """A configuration is built, a part is itself; what is Fixed, integer or no array is not trained."""

    class Made(AbstractConfig):
        def build(self, context, *, key):
            return [jnp.ones(2), Fixed({"a": jnp.ones(3)}), jnp.ones(1, jnp.int32), 0.5, "text"]

    made = build(Made(), example_context(), key=jax.random.key(0))
    assert build(encoders.Identity(), example_context(), key=jax.random.key(0)) == encoders.Identity()
    assert jax.tree.leaves(trainable(made)) == [True, False, False, False, False]
    assert sum(leaf.size for leaf in jax.tree.leaves(eqx.filter(made, trainable(made)))) == 2


@pytest.mark.parametrize(
    ("sizes", "message"),
    [(((0,), 2), "observation_shape"), (((3,), 0), "action_size"), (((3,), 2, "float32", 0), "horizon")],
)
def test_spec_refuses(sizes, message):
    with pytest.raises(ValueError, match=message):
        Spec(*sizes)
    assert SPEC.observation_size == 3
    assert Spec((4, 5, 3), 1).observation_size == 60

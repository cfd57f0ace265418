"""Refiners: the laws, and the paper's against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from small import cases, small

from deflow import refiners
from deflow.refiners import AbstractDirectRefiner, AbstractRefiner, Inquiry, ResidualRefinerConfig
from deflow.testing import LawError, check_refiner, example_context

ASK = Inquiry(value=jnp.sum, size=jnp.sum, project=jnp.negative)


@pytest.mark.parametrize("refiner", **cases("refiner"))
def test_laws(refiner):
    check_refiner(refiner)


def test_residual_against_reference():
    """f(o, proposal), which looks neither at the noise nor at the value."""
    part = reference.perturbed(small(ResidualRefinerConfig()).build(example_context(), key=jax.random.key(0)))
    o, proposal = jnp.asarray([0.3, -2.0, 1.0]), jnp.asarray([0.5, -0.1])
    expected = reference.mlp(reference.arrays(part.network), np.concatenate([o, proposal])[None])[0]
    np.testing.assert_allclose(part(o, jnp.ones(2), proposal, ASK), expected, rtol=1e-5)


def test_residual_does_not_start_at_zero():
    part = ResidualRefinerConfig(width=16, depth=2).build(example_context(), key=jax.random.key(0))
    assert np.all(np.abs(part(jnp.ones(3), jnp.ones(2), jnp.ones(2), ASK)) > 1e-3)


def test_none():
    assert refiners.NoRefiner()(jnp.ones(3), jnp.ones(2), jnp.ones(2), ASK).tolist() == [0.0, 0.0]


def test_refuses_sizes():
    with pytest.raises(ValueError, match="refiner residual: width must be at least 1 unit, got 0"):
        ResidualRefinerConfig(width=0)


def test_laws_catch():
    class Learns(AbstractRefiner):
        weight: jax.Array

        def __call__(self, observation, noise, proposal, inquiry):
            return self.weight * proposal

    class Flat(AbstractRefiner):
        def __call__(self, observation, noise, proposal, inquiry):
            return jnp.sum(proposal)

    class Root(AbstractDirectRefiner):
        def act(self, observation, noise):
            return jnp.sqrt(jnp.minimum(noise, -1.0))

    laws = {"AbstractLearnedRefiner": Learns(jnp.ones(())), "must have the shape": Flat(), "must be finite": Root()}
    for law, part in laws.items():
        with pytest.raises(LawError, match=law):
            check_refiner(part)

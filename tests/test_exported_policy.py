"""How a policy reaches the workers: traced once, exported whole, and refused when it does not fit."""

import diffrax
import equinox as eqx
import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from deflow.errors import EvaluationError
from deflow.evaluation import Evaluator, evaluate

TRACES = []


class Echo(gymnasium.Env):
    """One step that pays what it was given."""

    name = "echo"
    observation_space = gymnasium.spaces.Box(-1, 1, (2,), np.float64)
    action_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)

    def make(self):
        return self

    def reset(self, *, seed=None, options=None):
        return np.full(2, 0.25), {}

    def step(self, action):
        assert action.shape == (1,)
        assert action.dtype == np.float32
        return np.zeros(2), float(action[0]), True, False, {}


class Difference(Echo):
    """Two steps that pay the difference of their actions."""

    def reset(self, *, seed=None, options=None):
        self.first = None
        return np.zeros(2), {}

    def step(self, action):
        first, self.first = self.first, float(action[0])
        return np.zeros(2), 0.0 if first is None else self.first - first, first is not None, False, {}


@pytest.fixture(scope="module")
def evaluator():
    with Evaluator(Echo(), workers=1) as evaluator:
        yield evaluator


class Scaled(eqx.Module):
    """A weight, a number and a function: what is traced, what is compiled in, and what is neither."""

    weight: jax.Array | np.ndarray
    scale: float = 1.0
    function: object = jnp.sum
    unused: jax.Array | None = None

    def __call__(self, observation, *, key):
        TRACES.append(self)
        return jnp.atleast_1d(self.scale * self.function(self.weight * observation))


def test_weights_travel_without_tracing_again_and_anything_else_does_not(evaluator):
    def value(policy):
        return float(evaluator(policy, episodes=1, seed=0).returns[0])

    TRACES.clear()
    assert value(Scaled(jnp.array(0.5))) == 0.25
    assert value(Scaled(jnp.array(1.0))) == 0.5
    assert value(Scaled(np.full((), 1.5, np.float32))) == 0.75
    assert len(TRACES) == 1
    assert value(Scaled(jnp.array(1.0), scale=0.5)) == 0.25
    assert value(Scaled(jnp.array(1.0), function=jnp.max)) == 0.25
    assert value(Scaled(jnp.array([1.0, -1.0]))) == 0.0
    assert len(TRACES) == 4
    assert value(Scaled(jnp.array(10.0))) == 1.0  # clipped
    assert len(TRACES) == 4


def test_closures_are_traced_each_time(evaluator):
    """What a function captured may have changed."""
    captured = [0.5]

    def policy(observation, *, key):
        return jnp.full(1, captured[0])

    assert evaluator(policy, episodes=1, seed=0).returns.tolist() == [0.5]
    captured[0] = 0.25
    assert evaluator(policy, episodes=1, seed=0).returns.tolist() == [0.25]


class Keyed(eqx.Module):
    """Holds a key of its own, in another generator's form."""

    key: jax.Array
    half: jax.Array

    def __call__(self, observation, *, key):
        own = jax.random.uniform(self.key, (1,))
        return own + self.half.astype(jnp.float32) * jax.random.uniform(key, (1,))


def test_keys_and_half_precision_arrays_travel(evaluator):
    key = jax.random.key(3, impl="rbg")
    alone = evaluator(Keyed(key, jnp.zeros((), jnp.bfloat16)), episodes=1, seed=0).returns[0]
    assert alone == pytest.approx(float(jax.random.uniform(key, (1,))[0]))
    noisy = evaluator(Keyed(key, jnp.full((), 1e-2, jnp.bfloat16)), episodes=4, seed=0).returns
    assert len(set(noisy)) == 4


def test_each_step_has_its_own_key():
    def policy(observation, *, key):
        return jax.random.uniform(key, (1,))

    differences = evaluate(policy, Difference(), episodes=3, workers=1).returns
    assert len({0.0, *differences}) == 4


class Adaptive(eqx.Module):
    """dx/dt = rate x over unit time: a policy with a loop whose length depends on the values."""

    rate: jax.Array

    def __call__(self, observation, *, key):
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(lambda t, x, rate: rate * x),
            diffrax.Tsit5(),
            t0=0.0,
            t1=1.0,
            dt0=None,
            y0=observation[:1],
            args=self.rate,
            stepsize_controller=diffrax.PIDController(rtol=1e-5, atol=1e-5),
            throw=False,
        )
        return solution.ys[0]


def test_adaptive_solver_is_exported(evaluator):
    for rate in (1.0, -2.0):
        result = evaluator(Adaptive(jnp.array(rate)), episodes=1, seed=0)
        assert result.returns[0] == pytest.approx(0.25 * np.exp(rate), rel=1e-4)


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        (lambda o, *, key: jnp.zeros(3), r"action of shape \(1,\).*got float32\[3\]"),
        (lambda o, *, key: jnp.zeros(1, jnp.int32), r"got int32\[1\]"),
        (lambda o, *, key: None, "got nothing"),
        (lambda o, *, key: jnp.zeros(1) + jnp.zeros((5, 5)) @ o, r"could not be traced.*shape \(2,\) and type float32"),
        (lambda o, *, key: np.asarray(o)[:1], "uses only JAX"),
    ],
)
def test_policy_that_does_not_fit_is_refused_before_any_step(evaluator, policy, words):
    with pytest.raises(EvaluationError, match=f"(?s){words}"):
        evaluator(policy, episodes=1, seed=0)


def test_64_bit_policies_compute_in_64_bits(evaluator):
    class Precise(eqx.Module):
        weight: jax.Array

        def __call__(self, observation, *, key):
            return ((1.0 + self.weight * 1e-12) - 1.0)[None] * 1e12

    with jax.enable_x64(True):
        result = evaluator(Precise(jnp.array(0.5, jnp.float64)), episodes=1, seed=0)
    assert result.returns[0] == pytest.approx(0.5, abs=1e-3)
    assert evaluator(Scaled(jnp.array(0.5, jnp.float32)), episodes=1, seed=0).returns.tolist() == [0.25]

"""Solvers: the laws, the orders of convergence, the tolerances, and what is refused."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small import cases, small

import deflow
from deflow import solvers
from deflow.errors import LawError
from deflow.testing import SPEC, check_solver, example_data, measured_order

ORDERS = {"euler": 1, "midpoint": 2, "heun": 2, "ralston": 2, "bosh3": 3}


@pytest.mark.parametrize("solver", **cases("solver"))
def test_laws(solver):
    check_solver(small(solver, steps=3))


def fixed_step():
    return [name for name, cls in solvers.registry.items() if issubclass(cls, solvers.AbstractFixedStep)]


@pytest.mark.parametrize("name", fixed_step())
def test_order(name):
    """Measured in float64 on a nonlinear, time-dependent equation with a known solution."""
    solver = solvers.registry[name]()
    order = ORDERS[name] if name in ORDERS else solver.method.order(None)
    assert measured_order(solver) == pytest.approx(order, abs=0.15)


def adaptive():
    return [name for name, cls in solvers.registry.items() if issubclass(cls, solvers.AbstractAdaptive)]


@pytest.mark.parametrize("name", adaptive())
def test_tolerance(name):
    with jax.enable_x64(True):
        start = jnp.asarray([0.5, 0.25], jnp.float64)
        exact = 1.0 / (1.0 / np.asarray(start) - np.sin(1.0))
        for tolerance in (1e-3, 1e-7):
            solver = solvers.registry[name](rtol=tolerance, atol=tolerance)
            end = jax.jit(lambda x, solver=solver: solver(lambda t, x: jnp.square(x) * jnp.cos(t), x))(start)
            assert np.abs(end - exact).max() < 5 * tolerance


@pytest.mark.parametrize("name", adaptive())
def test_giving_up_is_visible(name):
    """A solve that runs out of steps gives no number, rather than a wrong one."""
    solver = solvers.registry[name](rtol=1e-6, atol=1e-6, max_steps=2)
    end = solver(lambda t, x: 20 * jnp.cos(30 * t) * x, jnp.ones(2))
    assert not np.isfinite(end).any()


def test_euler_by_hand():
    """dx/dt = x + t in two steps from 1: 1 + 0.5 * 1 = 1.5, then 1.5 + 0.5 * (1.5 + 0.5) = 2.5."""
    end = solvers.Euler(steps=2)(lambda t, x: x + t, jnp.asarray([1.0]))
    assert end.tolist() == [2.5]


def test_euler_times():
    """The paper's ten times: 0, 0.1, ..., 0.9, and one velocity each."""
    times = []
    solvers.Euler()(lambda t, x: (times.append(float(t)), x)[1], jnp.ones(1))
    np.testing.assert_allclose(times, np.arange(10) / 10, atol=1e-7)


@pytest.mark.parametrize(("name", "calls"), [("euler", 1), ("midpoint", 2), ("heun", 2), ("ralston", 2), ("bosh3", 3)])
def test_velocities_per_step(name, calls):
    """Each step costs the velocities that its docstring says, beside one for the start."""
    asked = []

    def velocity(time, point):
        jax.debug.callback(lambda: asked.append(1))
        return jnp.sin(point)

    jax.block_until_ready(jax.jit(lambda x: solvers.registry[name](steps=4)(velocity, x))(jnp.ones(2)))
    jax.effects_barrier()
    assert 4 * calls <= len(asked) <= 4 * calls + 1


@pytest.mark.parametrize("name", fixed_step())
@pytest.mark.parametrize("steps", [0, -3])
def test_refuses_no_steps(name, steps):
    with pytest.raises(ValueError, match=rf"steps must be at least 1, got {steps}"):
        solvers.registry[name](steps=steps)


@pytest.mark.parametrize("name", adaptive())
@pytest.mark.parametrize(
    ("values", "message"),
    [({"rtol": 0.0}, "tolerances"), ({"atol": -1.0}, "tolerances"), ({"max_steps": 0}, "max_steps")],
)
def test_refuses_bad_tolerances(name, values, message):
    with pytest.raises(ValueError, match=message):
        solvers.registry[name](**values)


def test_laws_catch():
    class Short(solvers.AbstractSolver):
        def __call__(self, velocity, noise):
            return noise + 0.9 * velocity(jnp.zeros(()), noise)

    class Held(solvers.AbstractSolver):
        def __call__(self, velocity, noise):
            return jax.lax.stop_gradient(noise + velocity(jnp.zeros(()), noise))

    class Single(solvers.AbstractSolver):
        def __call__(self, velocity, noise):
            return (noise.astype(jnp.float32) + velocity(jnp.zeros(()), noise).astype(jnp.float32)).astype(noise.dtype)

    for solver, law in ((Short(), "constant velocity"), (Held(), "gradient"), (Single(), "constant velocity must")):
        with pytest.raises(LawError, match=law):
            check_solver(solver)


class EulerMaruyama(solvers.AbstractStochasticSolver):
    """Euler's method with noise at each step."""

    steps: int = 4
    scale: float = 0.3

    def sample(self, velocity, noise, *, key):
        point, length = noise, 1.0 / self.steps
        for index, drawn in enumerate(jax.random.split(key, self.steps)):
            time = jnp.asarray(index * length, noise.dtype)
            wiener = jax.random.normal(drawn, noise.shape, noise.dtype)
            point = point + length * velocity(time, point) + self.scale * length**0.5 * wiener
        return point


def test_stochastic():
    """The key depends on every coordinate of the noise, and on nothing else."""
    check_solver(EulerMaruyama())
    with pytest.raises(LawError, match="two keys must give two samples"):
        check_solver(EulerMaruyama(scale=0.0))
    noises = jax.random.normal(jax.random.key(0), (4000, 2))
    still = jax.jit(jax.vmap(lambda noise: EulerMaruyama()(lambda time, point: 0.0 * point, noise) - noise))
    moved = still(noises)
    np.testing.assert_array_equal(moved, still(noises))
    # 4 steps of variance 0.09 / 4 are a normal of variance 0.09, unrelated to where they start.
    np.testing.assert_allclose(
        np.cov(np.concatenate([moved, noises], axis=1).T)[:2], [[0.09, 0, 0, 0], [0, 0.09, 0, 0]], atol=0.02
    )
    assert (still(noises.at[:, 1].add(1e-3)) != moved).all()


def test_an_agent_with_a_stochastic_solver():
    config = deflow.agent_config("deflow", width=8, depth=1, solver=EulerMaruyama())
    data = example_data()
    learner = deflow.Learner.create(config, SPEC, data, key=jax.random.key(0))
    _, metrics = eqx.filter_jit(lambda learner: learner.update(data.on_device(), key=jax.random.key(1)))(learner)
    assert all(jnp.isfinite(value) for value in metrics.values())
    proposals, _ = learner.agent.proposals_and_actions(data.observation[0], 3, key=jax.random.key(2))
    assert len(np.unique(proposals, axis=0)) == 3

"""Parts composed: what does not fit is refused in one sentence, and every capability the bases promise fits."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import stubs
from small import SPEC

import deflow
from deflow import AgentConfig, agent_config, constraints, critics, fields, refiners, solvers, trust_regions
from deflow.testing import check_field, example_data
from deflow.types import placeholder_data, trainable

KEY, DATA = jax.random.key(0), example_data(SPEC, 8)
STEPS = 3


def compose(algorithm="flow-bc", **parts) -> AgentConfig:
    """A row of the table with a field that counts, and these parts."""
    row = agent_config(algorithm, width=4, depth=1, solver=solvers.Euler(steps=STEPS))
    return dataclasses.replace(row, field=stubs.CountingFieldConfig(), **parts)


def traced(function, *arguments) -> dict[str, int]:
    """How often the field is traced."""
    stubs.CALLS.update(velocity=0, encode=0)
    eqx.filter_eval_shape(function, *arguments)
    return dict(stubs.CALLS)


def ensemble():
    return critics.EnsembleCriticConfig(width=4, depth=1)


def flow_critic():
    """It asks for eight next actions, and its own velocities are not the field's."""
    return critics.FlowCriticConfig(width=4, depth=1, steps=2)


PER_STATE = trust_regions.PerStateConfig(bound=0.5, prototypes=4)

COMPOSED = {
    "deflow": (lambda: compose("deflow"), {"acting": 3, "loss": 4}),
    "fql": (lambda: compose("fql"), {"acting": 0, "loss": 4}),
    "one-step, projected": (
        lambda: compose(
            refiner=refiners.OneStepRefinerConfig(width=4, depth=1),
            trust_region=trust_regions.MeanSquare(),
            constraint=constraints.Projection(),
            critic=ensemble(),
        ),
        {"acting": 3, "loss": 4},
    ),
    "fbrac": (lambda: compose("fbrac"), {"acting": 3, "loss": 7}),
    "value gradient in regions per state, eight next actions": (
        lambda: compose(
            refiner=refiners.ValueGradient(steps=2, rate=0.3),
            trust_region=PER_STATE,
            constraint=constraints.Projection(),
            critic=flow_critic(),
            target_candidates=2,
        ),
        {"acting": 3, "loss": 4},
    ),
    "residual, control law, eight next actions": (
        lambda: compose(
            refiner=refiners.ResidualRefinerConfig(width=4, depth=1),
            trust_region=PER_STATE,
            constraint=constraints.PIDConstraintConfig(),
            critic=flow_critic(),
        ),
        {"acting": 3, "loss": 4},
    ),
    "iterated": (
        lambda: compose(
            refiner=refiners.IteratedConfig(refiners.ResidualRefinerConfig(width=4, depth=1), times=2),
            trust_region=trust_regions.Ball(bound=0.5),
            constraint=constraints.Penalty(10.0),
            critic=critics.CategoricalCriticConfig(width=4, depth=1),
        ),
        {"acting": 3, "loss": 4},
    ),
    "ifql": (lambda: compose("ifql", candidates=4), {"acting": 3, "loss": 1}),
    "bfn": (lambda: compose("bfn"), {"acting": 3, "loss": 4}),
    "flow-bc": (compose, {"acting": 3, "loss": 1}),
}
"""Rows and other products of parts -> the velocities that acting and one loss trace: a solve 3, flow matching 1."""


@pytest.mark.parametrize("name", COMPOSED)
def test_solves(name):
    """Acting solves only where it must; one solve serves s and s'; observations are encoded once per solve."""
    make, expected = COMPOSED[name]
    agent, batch = make().build(SPEC, DATA, key=KEY), DATA.on_device()
    acting = traced(lambda o: agent(o, key=KEY), batch.observation[0])
    assert acting["velocity"] == expected["acting"]
    assert acting["encode"] <= 1
    loss = traced(lambda batch: agent.loss(batch, key=KEY), batch)
    assert loss["velocity"] == expected["loss"]
    assert loss["encode"] == -(-expected["loss"] // STEPS)


@pytest.mark.parametrize("name", [name for name in COMPOSED if name not in ("deflow", "flow-bc")])
def test_loss_and_gradient(name):
    """Finite; every trained array moves; where the value reaches the flow is what the refiner's type says."""
    agent = COMPOSED[name][0]().build(SPEC, DATA, key=KEY)
    arrays, rest = eqx.partition(agent, trainable(agent))
    batch = DATA.on_device()

    def terms(arrays):
        total, metrics = eqx.combine(arrays, rest).loss(batch, key=KEY)
        return jnp.stack([total, metrics.get("refiner_loss", jnp.zeros(()))]), metrics

    slopes, metrics = jax.jit(jax.jacrev(terms, has_aux=True))(arrays)
    assert all(np.isfinite(number) for name, number in metrics.items() if name != "bound")
    for leaf in jax.tree.leaves(slopes):
        assert np.isfinite(leaf).all()
        assert np.any(leaf[0] != 0)
    into_flow = any(np.any(leaf[1] != 0) for leaf in jax.tree.leaves(slopes.field))
    assert into_flow == isinstance(agent.refiner, refiners.AbstractThroughSolverRefiner)
    after = agent.advance(metrics)
    assert jax.tree.structure(after) == jax.tree.structure(agent)
    if isinstance(agent.constraint, constraints.PIDConstraint):  # it follows what the metrics say, not a gradient
        error = np.clip(metrics["size"] / 0.5 - 1, -1, 1)
        np.testing.assert_allclose(after.constraint.multiplier(), np.exp(1 + 0.11 * error), rtol=1e-5)


def test_projected_actions_obey():
    """Each executed action is within the region around its proposal, in acting, whatever the refiner wants."""
    config = COMPOSED["value gradient in regions per state, eight next actions"][0]()
    config = dataclasses.replace(config, trust_region=dataclasses.replace(PER_STATE, bound=0.3), critic=ensemble())
    agent = config.build(SPEC, DATA, key=KEY)
    bare = dataclasses.replace(agent, refiner=refiners.NoRefiner())
    keys = jax.random.split(KEY, 8)
    act = eqx.filter_jit(lambda agent: jax.vmap(lambda o, key: agent(o, key=key))(DATA.on_device().observation, keys))
    moves = np.asarray(act(agent) - act(bare))
    sizes = jax.vmap(agent.trust_region.size)(jnp.asarray(moves), DATA.on_device().observation)
    assert np.all(sizes <= 0.3 * 1.001)
    assert np.max(sizes) > 0.2


class ReadsConfig(deflow.trust_regions.AbstractTrustRegionConfig):
    """Reads the data without asking whether there is any."""

    def build(self, context, *, key):
        return deflow.trust_regions.Ball(bound=float(context.data.observation.std()))


def test_a_part_that_reads_data_that_is_not_there():
    config = deflow.agent_config("fql", critic="none", refiner="none", trust_region="none", constraint="none")
    config = dataclasses.replace(config, trust_region=ReadsConfig())
    with pytest.raises(ValueError, match=r"ReadsConfig could not be built without data \(.*observation.*\): give"):
        config.build(deflow.Spec((3,), 2), key=jax.random.key(0))


def test_regions_come_from_the_data():
    """Without it there is nothing to build; placeholders have their shapes; no optimizer sees them."""
    config = compose("deflow", trust_region=PER_STATE)
    agent, bare = config.build(SPEC, DATA, key=KEY), config.build(SPEC, placeholder_data(SPEC), key=KEY)
    assert not np.allclose(agent.trust_region.variances.value, bare.trust_region.variances.value)
    assert jax.tree.structure(agent) == jax.tree.structure(bare)
    with pytest.raises(ValueError, match="The trust region is fitted to the data, and got none: give the transitions"):
        deflow.Learner.create(config, SPEC, key=KEY)
    assert not jax.tree.leaves(eqx.filter(agent, trainable(agent)).trust_region)


def test_stubs_obey_the_laws():
    check_field(stubs.CountingFieldConfig())


# --- what does not fit


class Wide(solvers.AbstractSolver):
    def __call__(self, velocity, noise):
        return jnp.concatenate([noise, noise])


class FlatField(fields.AbstractField):
    def encode(self, observation):
        return observation

    def __call__(self, features, action, time):
        return jnp.sum(action)[None]


class FlatFieldConfig(fields.AbstractFieldConfig):
    def build(self, context, *, key):
        return FlatField()


class FlatRefiner(refiners.AbstractLearnedRefiner):
    def __call__(self, observation, noise, proposal, inquiry):
        return jnp.zeros(())


class PerDimension(trust_regions.AbstractTrustRegion):
    bound: float = 0.1

    def size(self, displacement, observation):
        return jnp.square(displacement)

    def project(self, displacement, observation):
        return displacement


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"solver": Wide()}, r"Wide must return a proposal of shape \(2,\), got \(4,\)"),
        ({"field": FlatFieldConfig()}, r"FlatField must return a velocity of shape \(2,\), got \(1,\)"),
        ({"refiner": FlatRefiner()}, r"FlatRefiner must return a displacement of shape \(2,\), got \(\)"),
        ({"trust_region": PerDimension()}, r"PerDimension must return a size of shape \(\), got \(2,\)"),
        (
            {"trust_region": trust_regions.NoTrustRegion()},
            "'DualConstraint' would have no effect",
        ),
        ({"critic": critics.NoCritic()}, "'none' has no value for a refiner to climb"),
    ],
    ids=["solver", "field", "refiner", "trust region", "dual without a bound", "refiner without a critic"],
)
def test_refuses_what_does_not_fit(parts, message):
    """Before any work: when the agent is composed."""
    config = agent_config(width=4, depth=1, solver=solvers.Euler(steps=1))
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(config, **parts).build(SPEC, key=KEY)


def test_refuses_candidates_without_a_critic():
    with pytest.raises(ValueError, match="one candidate"):
        compose(candidates=2).build(SPEC, key=KEY)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"discount": 1.5}, r"discount must be in \[0, 1\], got 1.5"),
        ({"discount": -0.1}, "discount must be in"),
        ({"candidates": 0}, "candidates must be at least 1, got 0"),
        ({"target_candidates": -1}, "target_candidates must be at least 1"),
        ({"flow_weight": 0.0}, "flow_weight must be positive"),
    ],
)
def test_refuses_numbers(values, message):
    with pytest.raises(ValueError, match=message):
        agent_config(**values)


def test_parts_draw_from_keys_of_their_own():
    """Changing one part leaves the others' arrays as they were."""
    one = agent_config(width=4, depth=1).build(SPEC, key=KEY)
    other = agent_config(width=4, depth=1, critic=critics.EnsembleCriticConfig(members=3, width=4, depth=1))
    other = other.build(SPEC, key=KEY)
    assert eqx.tree_equal(one.field, other.field)
    assert eqx.tree_equal(one.refiner, other.refiner)
    same, again = one.field.network.layers[-1].weight, one.refiner.network.layers[-1].weight
    assert same.shape == again.shape
    assert not np.allclose(same, again)


def test_a_composition_is_traced_once_for_each_structure_and_size():
    """Building it again, for example to read a checkpoint, costs no trace."""
    config = compose(solver=solvers.Heun(steps=STEPS))
    stubs.CALLS.update(velocity=0, encode=0)
    config.build(SPEC, DATA, key=KEY)
    once = dict(stubs.CALLS)
    assert once["velocity"] > 0
    config.build(SPEC, DATA, key=jax.random.key(1))
    assert dict(stubs.CALLS) == once
    dataclasses.replace(config, candidates=1, solver=solvers.Heun(steps=STEPS + 1)).build(SPEC, DATA, key=KEY)
    assert stubs.CALLS["velocity"] > once["velocity"]

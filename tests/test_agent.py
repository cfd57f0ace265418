"""The agent's loss, term by term, against NumPy; what each term trains; and what is executed."""

import copy
import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from small import SPEC
from stubs import Slope

from deflow import agent_config, constraints, critics, refiners, solvers, trust_regions
from deflow.agent import Agent
from deflow.keys import named_key
from deflow.testing import example_data
from deflow.types import Fixed, trainable

B, A, STEPS, DISCOUNT, BOUND = 6, 2, 3, 0.9, 0.02
KEY = jax.random.key(7)

CASES = {
    "the paper's": {"aggregation": "mean", "normalize": True, "candidates": 1},
    "minimum, not normalised": {"aggregation": "min", "normalize": False, "candidates": 1},
    "pessimistic best of 3": {"aggregation": "mean-std", "normalize": True, "candidates": 3},
}


def make(aggregation="mean", normalize=True, candidates=1, **parts) -> Agent:
    """A small agent whose arrays are all moved at random."""
    config = agent_config(
        width=8,
        depth=2,
        solver=solvers.Euler(steps=STEPS),
        trust_region=trust_regions.MeanSquare(bound=BOUND),
        discount=DISCOUNT,
        normalize_value=normalize,
        target_candidates=candidates,
        **parts,
    )
    critic = dataclasses.replace(config.critic, aggregation=aggregation, members=3 if candidates > 1 else 2)
    agent = dataclasses.replace(config, critic=critic).build(SPEC, key=jax.random.key(0))
    return reference.perturbed(agent)


def columns():
    batch = example_data(SPEC, B)
    return batch.observation, batch.action, batch.reward, batch.mask, batch.next_observation


def noise(candidates):
    """What the loss draws: the keys' names are part of its definition."""
    flow = named_key(KEY, "flow matching")
    return {
        "noise": np.asarray(jax.random.normal(named_key(KEY, "noise"), (B, A))),
        "next": np.asarray(jax.random.normal(named_key(KEY, "next noise"), (B, 1, candidates, A)))[:, 0],
        "start": np.asarray(jax.random.normal(named_key(flow, "noise"), (B, A))),
        "time": np.asarray(jax.random.uniform(named_key(flow, "time"), (B,))),
    }


def expected(live, held, case):
    return reference.terms(
        live,
        held,
        columns(),
        noise(case["candidates"]),
        discount=DISCOUNT,
        aggregation=case["aggregation"],
        bound=BOUND,
        steps=STEPS,
        normalize=case["normalize"],
    )


COORDINATES = {
    "field, first weight": (
        lambda slope: slope.field.network.layers[0].weight[1, 2],
        lambda p: (p["field"]["layers"][0][0], (1, 2)),
    ),
    "field, weight of the time": (
        lambda slope: slope.field.network.layers[0].weight[3, -1],
        lambda p: (p["field"]["layers"][0][0], (3, -1)),
    ),
    "field, last bias": (
        lambda slope: slope.field.network.layers[-1].bias[0],
        lambda p: (p["field"]["layers"][-1][1], (0,)),
    ),
    "refiner, weight of the proposal": (
        lambda slope: slope.refiner.network.layers[0].weight[2, -1],
        lambda p: (p["refiner"]["layers"][0][0], (2, -1)),
    ),
    "refiner, last bias": (
        lambda slope: slope.refiner.network.layers[-1].bias[1],
        lambda p: (p["refiner"]["layers"][-1][1], (1,)),
    ),
    "critic, a member's weight": (
        lambda slope: slope.critic.members.network.layers[1].weight[1, 4, 3],
        lambda p: (p["critic"][1]["layers"][1][0], (4, 3)),
    ),
    "critic, a member's norm": (
        lambda slope: slope.critic.members.network.norms[0].weight[0, 5],
        lambda p: (p["critic"][0]["norms"][0][0], (5,)),
    ),
    "multiplier": (lambda slope: slope.constraint.log_multiplier, lambda p: (p["log_alpha"], ())),
}


@pytest.mark.parametrize("name", CASES)
def test_loss_and_gradient(name):
    """Each term and the sum, then slopes of single coordinates against central differences."""
    case = CASES[name]
    agent, batch = make(**case), example_data(SPEC, B).on_device()
    parameters, rest = eqx.partition(agent, trainable(agent))

    def loss(parameters):
        return eqx.combine(parameters, rest).loss(batch, key=KEY)

    (total, metrics), slope = jax.jit(jax.value_and_grad(loss, has_aux=True))(parameters)
    live = reference.parameters(agent)
    terms = expected(live, live, case)
    assert set(metrics) == {*terms, "critic_value"}
    for term, number in terms.items():
        np.testing.assert_allclose(metrics[term], number, rtol=2e-5, atol=1e-6, err_msg=term)
    np.testing.assert_allclose(total, terms["loss"], rtol=2e-5)

    held, step = copy.deepcopy(live), 1e-5
    for what, (of_slope, of_parameters) in COORDINATES.items():
        array, index = of_parameters(live)
        start = array[index].copy()
        sides = []
        for side in (step, -step):
            array[index] = start + side
            sides.append(expected(live, held, case)["loss"])
        array[index] = start
        measured = (sides[0] - sides[1]) / (2 * step)
        np.testing.assert_allclose(of_slope(slope), measured, rtol=1e-3, atol=2e-5, err_msg=what)


def test_the_cases_are_not_trivial():
    """Proposals and executed actions are clipped here and there; masks, signs and candidates differ."""
    p, drawn = reference.parameters(make()), noise(3)
    o = columns()[0]
    base = reference.propose(p["field"], o, drawn["noise"], STEPS)
    moved = base + reference.displace(p["refiner"], o, base)
    for actions in (base, reference.clip(moved)):
        assert 0 < (np.abs(actions) == 1).mean() < 1
    assert len(set(columns()[3])) == 2
    assert not np.allclose(p["critic"][0]["layers"][0][0], p["target"][0]["layers"][0][0])


def test_what_each_term_trains():
    """The flow never sees the value, the refiner never changes the flow, and nothing moves the target."""
    agent, batch = make(), example_data(SPEC, B).on_device()
    arrays, rest = eqx.partition(agent, eqx.is_inexact_array)  # the target too

    def terms(arrays):
        metrics = eqx.combine(arrays, rest).loss(batch, key=KEY)[1]
        return jnp.stack([metrics["critic_loss"], metrics["flow_loss"], metrics["refiner_loss"]])

    slopes = jax.jit(jax.jacrev(terms))(arrays)

    def trains(index, part):
        return any(bool(np.any(leaf[index] != 0)) for leaf in jax.tree.leaves(part))

    reached = {
        term: {
            name
            for name, part in {
                "field": slopes.field,
                "refiner": slopes.refiner,
                "multiplier": slopes.constraint,
                "critic": slopes.critic.members,
                "target": slopes.critic.target,
            }.items()
            if trains(index, part)
        }
        for index, term in enumerate(("critic", "flow", "refiner"))
    }
    assert reached == {"critic": {"critic"}, "flow": {"field"}, "refiner": {"refiner", "multiplier"}}
    for part, index in ((slopes.critic.members, 0), (slopes.field, 1), (slopes.refiner, 2)):
        assert all(np.any(leaf[index] != 0) for leaf in jax.tree.leaves(part)), "every array of the part is trained"


def test_trainable_excludes_fixed():
    agent = make()
    parameters = eqx.filter(agent, trainable(agent))
    assert not jax.tree.leaves(parameters.critic.target)
    assert jax.tree.leaves(parameters.critic.members)
    assert parameters.constraint.log_multiplier is not None
    assert isinstance(agent.critic.target, Fixed)


def test_normalisation_is_guarded():
    """A critic that says 0 everywhere makes no infinite loss."""

    class Zero(critics.AbstractCritic):
        next_actions: int = 0

        def value(self, observation, action):
            return jnp.sum(action) * 0.0

        score = value

        def loss(self, transition, next_actions, *, key):
            return jnp.zeros(()), {}

        def advance(self):
            return self

    agent = dataclasses.replace(make(), critic=Zero())
    parameters, rest = eqx.partition(agent, trainable(agent))
    batch = example_data(SPEC, B).on_device()
    slope = jax.jit(jax.grad(lambda p: eqx.combine(p, rest).loss(batch, key=KEY)[0]))(parameters)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(slope))


def test_flow_weight():
    """It multiplies the flow-matching loss in the sum, and not in the metric."""
    agent, batch = make(), example_data(SPEC, B).on_device()
    agent = dataclasses.replace(agent, flow_weight=3.0, refiner=refiners.NoRefiner(), critic=Slope())
    total, metrics = eqx.filter_jit(lambda agent: agent.loss(batch, key=KEY))(agent)
    assert set(metrics) == {"loss", "critic_loss", "flow_loss"}
    np.testing.assert_allclose(total, 3 * metrics["flow_loss"], rtol=1e-6)


# --- acting


@pytest.mark.parametrize(("candidates", "aggregation"), [(1, "mean"), (5, "mean"), (5, "min")])
def test_acting(candidates, aggregation):
    """The best of N by the online critic, among the actions as they would be executed."""
    agent = make(aggregation, candidates=1)
    agent = dataclasses.replace(agent, candidates=candidates)
    p = reference.parameters(agent)
    observations, keys = columns()[0], jax.random.split(jax.random.key(3), B)
    drawn = np.stack([np.asarray(jax.random.normal(key, (candidates, A))) for key in keys])
    act = eqx.filter_jit(lambda agent, o, keys: jax.vmap(lambda o, key: agent(o, key=key))(o, keys))
    actions = act(agent, jnp.asarray(observations), keys)
    np.testing.assert_allclose(
        actions, reference.best(p, observations, drawn, STEPS, aggregation), rtol=1e-5, atol=1e-5
    )
    assert np.abs(actions).max() <= 1


def test_acting_takes_numpy():
    """A policy is given what an environment gives."""
    agent, key = make(), jax.random.key(3)
    observation = columns()[0][0]
    np.testing.assert_allclose(agent(observation, key=key), agent(jnp.asarray(observation), key=key), rtol=1e-6)


def test_no_refiner_acts_as_the_flow():
    agent = dataclasses.replace(make(), refiner=refiners.NoRefiner(), constraint=constraints.NoConstraint())
    o, key = columns()[0][0], jax.random.key(3)
    z = np.asarray(jax.random.normal(key, (1, A)))
    field = reference.arrays(agent.field.network)
    expected = reference.propose(field, o[None], z, STEPS)[0]
    np.testing.assert_allclose(eqx.filter_jit(agent)(o, key=key), expected, rtol=1e-5, atol=1e-6)

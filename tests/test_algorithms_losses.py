"""The loss of every other row of the table, term by term, against NumPy; what trains what; and how each row acts.
(The first row, `deflow`, has test_agent.py.)"""

import copy
import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
import reference_algorithms
from small import SPEC

from deflow import agent_config, constraints, solvers
from deflow.agent import Agent
from deflow.keys import named_key
from deflow.testing import example_data
from deflow.types import trainable

B, A, STEPS, DISCOUNT = 6, 2, 2, 0.9
KEY = jax.random.key(7)
REWARDS = (-1.0, 0.5)

SETTINGS = {
    "flow-bc": {},
    "fql": {"aggregation": "min", "alpha": 10.0, "bound": 0.02},
    "fbrac": {"aggregation": "mean", "flow_weight": 3.0},
    "ifql": {"expectile": 0.9, "candidates": 8},
    "fan": {"aggregation": "mean", "alpha": 10.0, "bound": 0.02, "penalty": 0.7, "expectile": 0.8},
    "bfn": {"aggregation": "min", "candidates": 2, "target_candidates": 5},
    "deflow-best": {
        "aggregation": "min", "bound": 0.02, "n_step": 2, "terminal": (0, 0, 1, 0, 0, 1), "rewards": REWARDS
    },
    "deflow-projected": {"aggregation": "min", "bound": 0.32},
    "deflow-pessimistic": {"aggregation": "mean-std", "bound": 0.02, "members": 3},
    "deflow-chunked": {"aggregation": "min", "bound": 0.02, "chunk": 2, "terminal": (0, 0, 1, 0, 0, 1)},
    "qc": {
        "aggregation": "min", "candidates": 2, "target_candidates": 5, "chunk": 3, "terminal": (0, 0, 0, 0, 1, 1)
    },
    "qc-fql": {"aggregation": "min", "alpha": 10.0, "bound": 0.02, "chunk": 2, "terminal": (0, 0, 1, 0, 0, 1)},
    "deflow-flow-critic": {
        "aggregation": "min", "bound": 0.02, "critic_steps": 3, "noises": 3, "start": 0.1, "rewards": REWARDS
    },
}  # fmt: skip
"""Row -> the numbers that differ from its own, as the reference is given them."""


def make(name) -> Agent:
    """The row with tiny networks and these numbers, all its arrays moved at random (but not the range of rewards)."""
    s = SETTINGS[name]
    config = agent_config(name, width=4, depth=1, solver=solvers.Euler(steps=STEPS), discount=DISCOUNT)
    wanted = ("flow_weight", "candidates", "target_candidates", "n_step", "chunk")
    numbers = {key: s[key] for key in wanted if key in s}
    critic = {key: s[key] for key in ("aggregation", "members") if key in s}
    if name == "deflow-flow-critic":
        critic |= {"steps": s["critic_steps"], "noises": s["noises"]}
    if name == "fan":
        critic |= {"penalty": s["penalty"], "expectile": s["expectile"]}
    if "rewards" in s:
        critic |= {"reward_min": REWARDS[0], "reward_max": REWARDS[1]}
    if "alpha" in s:
        numbers["constraint"] = constraints.Penalty(s["alpha"])
    if "bound" in s:
        numbers["trust_region"] = dataclasses.replace(config.trust_region, bound=s["bound"])
    config = dataclasses.replace(config, critic=dataclasses.replace(config.critic, **critic), **numbers)
    agent = config.build(SPEC, key=jax.random.key(0))
    moved = reference.perturbed(agent)
    if not hasattr(agent.critic, "rewards"):
        return moved
    return eqx.tree_at(lambda agent: agent.critic.rewards, moved, agent.critic.rewards)


def columns(name="deflow-best"):
    """The batch, its rewards in the range that the flow critic covers: two trajectories, as a rule of three
    transitions."""
    terminal = np.asarray(SETTINGS[name].get("terminal", (0, 0, 1, 0, 0, 1)), np.float32)
    batch = example_data(SPEC, B)
    reward = np.clip(batch.reward, *REWARDS).astype(np.float32)
    return dataclasses.replace(batch, reward=reward, extras={"trajectory_end": terminal})


def doubles():
    batch = columns()
    read = (batch.observation, batch.action, batch.reward, batch.mask, batch.next_observation)
    return [np.asarray(column, np.float64) for column in read]


def noise(agent, rows=B):
    """What the loss draws for so many transitions: the keys' names are part of its definition."""
    flow, critic, size = named_key(KEY, "flow matching"), named_key(KEY, "critic"), agent.action_size
    following = (rows, agent.critic.next_actions, agent.target_candidates, size)
    drawn = {
        "noise": jax.random.normal(named_key(KEY, "noise"), (rows, size)),
        "next": jax.random.normal(named_key(KEY, "next noise"), following),
        "start": jax.random.normal(named_key(flow, "noise"), (rows, size)),
        "time": jax.random.uniform(named_key(flow, "time"), (rows,)),
    }
    refiner, keys = named_key(KEY, "refiner"), jax.random.split(critic, rows)
    drawn |= {
        "region time": jax.random.uniform(named_key(refiner, "region time"), (rows,)),
        "next region time": jax.random.uniform(named_key(critic, "region time"), following[:2]),
        "of value": normal(jax.random.split(named_key(refiner, "value"), rows), size),
        "of data": normal(jax.vmap(lambda key: named_key(key, "noise"))(keys), size),
    }
    own = {"starts": "start", "next starts": "next start", "times": "time"}  # a flow critic's, per transition
    count = agent.critic.next_actions
    for ours, name in own.items():
        drawn[ours] = jax.vmap(lambda key, name=name: jax.random.uniform(named_key(key, name), (count,)))(keys)
    return {name: np.asarray(array, np.float64) for name, array in drawn.items()}


def normal(keys, size):
    return jax.vmap(lambda key: jax.random.normal(key, (size,)))(keys)


def settings(name):
    return {"discount": DISCOUNT, "steps": STEPS, **SETTINGS[name]}


@pytest.mark.parametrize("name", SETTINGS)
def test_loss_and_gradient(name):
    """Each term and the sum; then, array by array, the slope along a random direction against central differences.

    The differences hold what the formulas hold, so a gradient that enters a target, a proposal of another row than
    FBRAC's, or the critic that a refiner climbs would show, and so would one that is missing.
    """
    agent = make(name)
    batch = agent.with_returns(columns(name)).on_device()
    moving, rest = eqx.partition(agent, trainable(agent))

    def loss(moving):
        return eqx.combine(moving, rest).loss(batch, key=KEY)

    (total, metrics), slope = jax.jit(jax.value_and_grad(loss, has_aux=True))(moving)
    live, drawn = reference_algorithms.parameters(agent), noise(agent, len(batch))
    held, s = copy.deepcopy(live), settings(name)
    of_row = getattr(reference_algorithms, name.replace("-", "_"))

    terms = of_row(live, held, doubles(), drawn, s)
    assert set(metrics) == set(terms)
    for term, number in terms.items():
        np.testing.assert_allclose(metrics[term], number, rtol=3e-5, atol=1e-6, err_msg=term)
    np.testing.assert_allclose(total, terms["loss"], rtol=3e-5)

    random, step = np.random.default_rng(1), 1e-5
    slopes = jax.tree_util.tree_leaves_with_path(reference_algorithms.parameters(slope))
    arrays = dict(jax.tree_util.tree_leaves_with_path(live))
    parts = {"field", "refiner", "critic", "velocities", "state_value", "upper", "log_alpha"} & set(live)
    assert {path[0].key for path, _ in slopes} == parts
    for path, along in slopes:
        array, direction = arrays[path], random.standard_normal(along.shape)
        start, sides = array.copy(), []
        for side in (step, -step):
            array[...] = start + side * direction
            sides.append(of_row(live, held, doubles(), drawn, s)["loss"])
        array[...] = start
        measured = (sides[0] - sides[1]) / (2 * step)
        tolerance = 2e-5 * (1 + np.abs(along).sum())
        where = jax.tree_util.keystr(path)
        np.testing.assert_allclose((along * direction).sum(), measured, rtol=1e-3, atol=tolerance, err_msg=where)
        assert np.any(along != 0), where


def test_the_cases_are_not_trivial():
    """Moves on both sides of the bound, gaps of both signs, candidates of every rank, clipped actions."""
    o, a, _, mask, o2 = doubles()
    assert len(set(mask)) == 2
    agent, s = make("deflow-projected"), settings("deflow-projected")
    p = reference_algorithms.parameters(agent)
    base = reference.propose(p["field"], o, noise(agent)["noise"], STEPS)
    lengths = np.linalg.norm(reference.displace(p["refiner"], o, base), axis=-1)
    assert lengths.min() < s["bound"] < lengths.max()
    agent = make("ifql")
    p = reference_algorithms.parameters(agent)
    gap = reference.values(p["target"], o, a).min(0) - reference.mlp(p["state_value"], o)[:, 0]
    assert gap.min() < 0 < gap.max()
    agent = make("bfn")
    p, z = reference_algorithms.parameters(agent), noise(agent)["next"][:, 0]
    online = reference_algorithms.best_of(p, o2, z, settings("bfn"), "min")[1]
    other = reference_algorithms.best_of({**p, "critic": p["target"]}, o2, z, settings("bfn"), "min")[1]
    assert set(online) != {0}
    counts = mask > 0
    assert np.any((online != other)[counts]), "the target critic would choose otherwise"
    mean = reference_algorithms.best_of(p, o2, z, settings("bfn"), "mean")[1]
    assert np.any((online != mean)[counts]), "and so would another aggregation"
    for name in ("fql", "fan"):
        agent = make(name)
        p = reference_algorithms.parameters(agent)
        mu = reference.mlp(p["refiner"], reference.join(o, noise(agent)["noise"]))
        assert 0 < (np.abs(mu) > 1).mean() < 1
    target = reference.values(p["target"], o, reference.join(a, noise(agent)["of data"])).mean(0)
    gap = target - reference.values(p["upper"], o, a)
    assert gap.min() < 0 < gap.max()


@pytest.mark.parametrize("name", ["fql", "fan", "ifql", "deflow-projected"])
def test_acting(name):
    """FQL's and FAN's is clip(mu(o, z)), whatever the flow would say; IFQL takes the best by the minimum over its
    members."""
    agent, s, o = make(name), settings(name), doubles()[0]
    p, keys = reference_algorithms.parameters(agent), jax.random.split(jax.random.key(4), B)
    z = np.stack([np.asarray(jax.random.normal(key, (agent.candidates, A)), np.float64) for key in keys])
    if name in ("fql", "fan"):
        expected = reference.clip(reference.mlp(p["refiner"], reference.join(o, z[:, 0])))
        agent = dataclasses.replace(agent, field=jax.tree.map(lambda leaf: leaf * jnp.nan, agent.field))
    elif name == "ifql":
        expected, chosen = reference_algorithms.best_of(p, o, z, s, "min")
        assert set(chosen) != {0}
        assert np.any(chosen != reference_algorithms.best_of(p, o, z, s, "mean")[1])
    else:
        base = reference.propose(p["field"], o, z[:, 0], STEPS)
        expected = reference.clip(base + reference_algorithms.projected(p, p, o, base, np.sqrt(A * s["bound"])))
    actions = eqx.filter_jit(lambda agent, o: jax.vmap(lambda o, key: agent(o, key=key))(o, keys))(
        agent, columns().on_device().observation
    )
    np.testing.assert_allclose(actions, expected, rtol=1e-5, atol=1e-5)

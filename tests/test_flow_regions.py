"""Trust regions that ask the flow, and critics that ask how the policy made its actions, in an agent."""

import dataclasses
import warnings

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from small import SPEC

import deflow
from deflow import agent_config, constraints, critics, refiners, solvers, trust_regions
from deflow.agent.proposing import needs_proposals
from deflow.critics import AbstractInquiringCritic
from deflow.errors import LawError
from deflow.keys import named_key
from deflow.testing import check_trust_region, example_data, one_update
from deflow.trust_regions import AbstractFlowRegion, Anchored, FlowInquiry
from deflow.types import trainable

KEY, DATA = jax.random.key(0), example_data(SPEC, 8)
BATCH = DATA.on_device()


class Refuses(solvers.AbstractSolver):
    """A solver that is never to be called."""

    def __call__(self, velocity, noise):
        raise AssertionError("an ODE is solved")


class Asking(AbstractInquiringCritic):
    """Reports what it is told of its next action; ranks candidates by their first coordinate."""

    next_actions: int = 1

    def value(self, observation, action):
        return action[0]

    def score(self, observation, action):
        return action[0]

    def inquiring_loss(self, transition, next_actions, origin, *, key):
        told = {"told_action": next_actions[0, 0], "told_noise": origin.noises[0, 0], "told_size": origin.sizes[0]}
        return jnp.zeros(()), told

    def advance(self):
        return self


def build(algorithm="fan", solver=solvers.Euler(steps=2), **parts):
    return agent_config(algorithm, width=8, depth=1, solver=solver, **parts).build(SPEC, DATA, key=KEY)


def loss(agent):
    return eqx.filter_jit(lambda agent: agent.loss(BATCH, key=KEY))(agent)


# --- the region


def test_anchored_by_hand():
    """z = (0, 1), a = (0.5, -1), t = 1/4: the point (0.125, 0.5), whose velocity here is 2x + t; a - z = (0.5, -2)."""
    inquiry = FlowInquiry(jnp.asarray([0.0, 1.0]), lambda point, time: 2 * point + time, jnp.asarray(0.25))
    size = Anchored().size(jnp.asarray([0.5, -1.0]), jnp.zeros(3), inquiry)
    assert size == pytest.approx(((0.5 - 0.5) ** 2 + (-2 - 1.25) ** 2) / 2)


@pytest.mark.parametrize("bound", [0.0, -1.0, float("nan")])
def test_anchored_refuses_bounds(bound):
    with pytest.raises(ValueError, match="trust region anchored: bound must be a positive number"):
        Anchored(bound=bound)


class Deaf(AbstractFlowRegion):
    """Asks the flow nothing."""

    bound: float = 0.1
    factor: float = 1.0

    def size(self, action, observation, inquiry):
        return self.factor * jnp.mean(jnp.square(action - inquiry.noise))


class Rooted(AbstractFlowRegion):
    """Its gradient is not finite where the action is its noise and the flow stands still."""

    bound: float = 0.1

    def size(self, action, observation, inquiry):
        return jnp.linalg.norm(action - inquiry.noise) + jnp.sum(jnp.square(inquiry.velocity(action, inquiry.time)))


@pytest.mark.parametrize(
    ("region", "law"),
    [
        (Deaf(), "must depend on the flow's velocity; derive from AbstractTrustRegion"),
        (Deaf(factor=-1.0), "no size may be negative"),
        (Rooted(), "the gradient of the size must be finite"),
    ],
)
def test_laws_catch(region, law):
    with pytest.raises(LawError, match=law):
        check_trust_region(region)


# --- no ODE is solved


@pytest.mark.parametrize("parts", [{}, {"candidates": 4, "target_candidates": 3}, {"field_frozen": True}])
def test_fan_never_solves(parts):
    """Not at s, not at s', not in acting; the flow need not be trained along."""
    frozen = parts.pop("field_frozen", False)
    agent = dataclasses.replace(build(solver=Refuses(), **parts), field_frozen=frozen)
    assert needs_proposals(agent) == (False, False)
    total, metrics = loss(agent)
    assert np.isfinite(total)
    assert ("flow_loss" in metrics) != frozen
    assert np.isfinite(agent(DATA.observation[0], key=KEY)).all()


def test_fan_in_chunks():
    data = dataclasses.replace(example_data(SPEC, 32), extras={"trajectory_end": np.zeros(32)})
    config = agent_config("fan", width=8, depth=1, chunk=3, solver=Refuses())
    agent = config.build(SPEC, data, key=KEY)
    batch = agent.with_returns(data).on_device()
    assert np.isfinite(eqx.filter_jit(lambda agent: agent.loss(batch, key=KEY))(agent)[0])
    assert agent(data.observation[0], key=KEY).shape == (3, 2)


def test_a_displacement_is_measured_at_both_states():
    """One-step's action is measured from a proposal: of the critic's next action, too, if it asks."""
    assert needs_proposals(build("fql")) == (True, False)
    assert needs_proposals(build("fql", critic=critics.NoiseConditionedCriticConfig())) == (True, True)
    assert needs_proposals(build("deflow", trust_region="anchored")) == (True, True)


# --- what the actor's loss measures


def test_residual_and_dual_inside_an_anchored_region():
    """The size is that of the unclipped action; the field learns from flow matching alone."""
    agent = reference.perturbed(build("deflow", trust_region=Anchored(bound=0.4)))
    moving, rest = eqx.partition(agent, trainable(agent))
    terms = jax.jit(jax.jacrev(lambda moving: jnp.stack(of(eqx.combine(moving, rest)))))

    def of(agent):
        total, metrics = agent.loss(BATCH, key=KEY)
        return [total, metrics["refiner_loss"]]

    slopes = terms(moving)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(slopes))
    assert not any(np.any(leaf[1] != 0) for leaf in jax.tree.leaves(slopes.field))
    assert all(np.any(leaf[1] != 0) for leaf in jax.tree.leaves(slopes.refiner))
    metrics = loss(agent)[1]
    assert metrics["bound"] == pytest.approx(0.4)

    p = reference.parameters(agent)
    o, z = DATA.observation, np.asarray(jax.random.normal(named_key(KEY, "noise"), (8, 2)))
    time = np.asarray(jax.random.uniform(named_key(named_key(KEY, "refiner"), "region time"), (8,)))[:, None]
    base = reference.propose(p["field"], o, z, 2)
    a = base + reference.displace(p["refiner"], o, base)
    assert np.any(np.abs(a) > 1)
    v = reference.mlp(p["field"], reference.join(o, (1 - time) * z + time * a, time))
    assert metrics["size"] == pytest.approx(((a - z - v) ** 2).mean(), rel=1e-4)


def test_a_refiner_asks_at_half_of_the_path():
    class AskingRefiner(refiners.AbstractRefiner):
        def __call__(self, observation, noise, proposal, inquiry):
            return inquiry.size(jnp.full_like(proposal, 0.125)) * jnp.ones_like(proposal)

    class Times(AbstractFlowRegion):
        bound: float = 0.1

        def size(self, action, observation, inquiry):
            return 1e-3 * inquiry.time * (1 + 0 * jnp.sum(inquiry.velocity(action, inquiry.time)))

    agent = build("bfn", refiner=AskingRefiner(), trust_region=Times(), candidates=1)
    bare = dataclasses.replace(agent, refiner=refiners.NoRefiner())
    moved, proposals = (
        jax.jit(jax.vmap(lambda o, part=part: part.act(o, key=KEY)))(BATCH.observation) for part in (agent, bare)
    )
    inside = np.abs(proposals) < 0.99
    assert inside.any()
    np.testing.assert_allclose((moved - proposals)[inside], 0.5e-3, atol=1e-6)


# --- what the critic is told


@pytest.mark.parametrize("region", [trust_regions.MeanSquare(), Anchored()])
def test_the_critic_is_told_how_the_chosen_action_was_made(region):
    """Of five candidates: the noise that made the best one, and its size, clipped as it would be executed."""
    agent = build("fql", trust_region=region, critic=Asking(), target_candidates=5)
    agent = reference.perturbed(agent, scale=1.0)
    noises = np.asarray(jax.random.normal(named_key(KEY, "next noise"), (8, 1, 5, 2)))[:, 0]
    policy, field = reference.arrays(agent.refiner.network), reference.arrays(agent.field.network)
    o = np.repeat(DATA.next_observation[:, None], 5, axis=1)
    actions = reference.clip(reference.mlp(policy, reference.join(o, noises)))
    best = actions[..., 0].argmax(1)
    assert set(best) != {0}
    a, z, o = (array[np.arange(8), best] for array in (actions, noises, o))
    if isinstance(region, Anchored):
        time = jax.random.uniform(named_key(named_key(KEY, "critic"), "region time"), (8, 1))
        point = (1 - time) * z + time * a
        off = a - z - reference.mlp(field, reference.join(o, point, time))
    else:
        off = a - reference.propose(field, o, z, 2)
    metrics = loss(agent)[1]
    assert metrics["told_action"] == pytest.approx(a[:, 0].mean(), rel=1e-4)
    assert metrics["told_noise"] == pytest.approx(z[:, 0].mean(), rel=1e-4)
    assert metrics["told_size"] == pytest.approx((off**2).mean(), rel=1e-3)


def test_without_a_trust_region_sizes_are_0():
    agent = build("bfn", critic=Asking())
    assert loss(agent)[1]["told_size"] == 0
    anchored = build("bfn", critic=Asking(), trust_region="anchored")  # proposals have sizes there
    assert loss(anchored)[1]["told_size"] > 0


# --- what does not fit


@pytest.mark.parametrize(
    ("algorithm", "parts", "message"),
    [
        ("fan", {"constraint": "projection"}, r"'Projection' projects, and .*'Anchored'.* has no projection: choose a"),
        (
            "bfn",
            {"refiner": "value-gradient", "trust_region": "anchored"},
            "The refiner 'ValueGradient' projects onto the trust region, which asks the flow about actions and has no",
        ),
        ("bfn", {"trust_region": "anchored"}, "the trust region 'Anchored' would have no effect"),
        ("fan", {"constraint": "none", "critic": critics.EnsembleCriticConfig()}, "'Anchored' would have no effect"),
    ],
)
def test_refuses_what_does_not_fit(algorithm, parts, message):
    with pytest.raises(ValueError, match=message):
        build(algorithm, **parts)


def test_a_penalty_in_the_target_alone_is_an_effect():
    assert np.isfinite(loss(build("fan", constraint=constraints.NoConstraint()))[0])


def test_the_data_gives_no_bound(data_dir):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a tiny set holds no success is none of this test's business
        name = "cube-single-play-singletask-task2-v0"
        task = deflow.load_task(name, deflow.Collected(rows=1000), data_dir=data_dir, workers=1)
    with pytest.raises(
        ValueError, match=r"anchored measures no displacements, so neither .* give the bound as a number"
    ):
        deflow.agent.suggested_bound(agent_config("fan"), task, 0.01)


def test_one_update():
    assert {"critic_penalty", "critic_upper_loss", "size"} <= set(one_update("fan"))

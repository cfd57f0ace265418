"""Proposals drawn beforehand: the states they belong to, their values and distribution, and training from them."""

import dataclasses
import statistics

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from small import SPEC

import deflow.agent.agent
from deflow import Learner, Proposals, Spec, agent_config, draw_proposals, fields, solvers, train_offline
from deflow.agent.proposing import Proposed, _solve, chosen, held, needs_proposals
from deflow.behaviour import HeldOutLoss, States, behaviour_digest, proposal_source, proposals, states
from deflow.keys import named_key
from deflow.testing import example_data
from deflow.training.updates import batch_keys
from deflow.types import BatchProposals, proposal_noise, trainable

KEY = jax.random.key(5)
STEPS = 2
ROWS = ["deflow", "deflow-best", "deflow-projected", "deflow-flow-critic", "bfn", "fql", "ifql"]
"""The algorithms that can be trained from proposals."""


def transitions(observation, following):
    """Transitions from s to s' with random actions and rewards."""
    observation, following = np.asarray(observation), np.asarray(following)
    spec = Spec(observation.shape[1:], 2)
    return dataclasses.replace(
        example_data(spec, len(observation)), observation=observation, next_observation=following
    )


def walks(lengths=(5, 9, 10)):
    """Trajectories of these numbers of transitions; a fifth of the transitions terminate."""
    random, pairs = np.random.default_rng(1), []
    for length in lengths:
        visited = random.standard_normal((length + 1, 3)).astype(np.float32)
        pairs.append((visited[:-1], visited[1:]))
    ends = np.zeros(sum(lengths), np.float32)
    ends[np.cumsum(lengths) - 1] = 1
    data = transitions(*map(np.concatenate, zip(*pairs, strict=True)))
    return dataclasses.replace(data, extras={"trajectory_end": ends})


DATA = walks()
STATES = States.of(DATA)


def config(row="deflow", **parts):
    return agent_config(row, **{"width": 4, "depth": 1, "solver": solvers.Euler(steps=STEPS), **parts})


def build(row="deflow", seed=0, **parts):
    """A small agent whose arrays are all moved at random."""
    return reference.perturbed(config(row, **parts).build(SPEC, DATA, key=jax.random.key(seed)))


def equal(one, other):
    return all(np.array_equal(a, b) for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True))


# --- states


def test_states_by_hand():
    """A trajectory 0, 1, 2 that is cut off, and one 10, 11 whose termination stands for its own next state."""
    found = States.of(transitions(np.float32([[0], [1], [10], [11]]), np.float32([[1], [2], [11], [11]])))
    assert len(found) == 6
    np.testing.assert_array_equal(found.here, [0, 1, 3, 4])
    np.testing.assert_array_equal(found.following, [1, 2, 4, 5])
    np.testing.assert_array_equal(found.observations(0, 6)[:, 0], [0, 1, 2, 10, 11, 11])
    np.testing.assert_array_equal(found.observations(2, 5)[:, 0], [2, 10, 11])
    assert found.here.dtype == found.following.dtype == np.int32


def test_states_of_shuffled_data():
    """Where no row continues the one before it, every s and every s' is a state of its own."""
    order = np.array([6, 0, 4, 2])
    found = States.of(DATA[order])
    np.testing.assert_array_equal(found.here, [0, 2, 4, 6])
    np.testing.assert_array_equal(found.following, [1, 3, 5, 7])
    np.testing.assert_array_equal(found.observations(0, 8)[::2], DATA.observation[order])
    np.testing.assert_array_equal(found.observations(0, 8)[1::2], DATA.next_observation[order])


def test_states_of_pixels():
    """One pixel that differs by one makes another state."""
    visited = np.random.default_rng(0).integers(0, 255, (5, 2, 2, 3)).astype(np.uint8)
    following = visited[1:].copy()
    following[1, 1, 0, 2] += 1
    found = States.of(transitions(visited[:-1], following))
    np.testing.assert_array_equal(found.here, [0, 1, 3, 4])
    np.testing.assert_array_equal(found.following, [1, 2, 4, 5])
    assert found.observations(0, 6).dtype == np.uint8
    np.testing.assert_array_equal(found.observations(2, 4), [following[1], visited[2]])


@pytest.mark.parametrize("block", [1, 4, 100])
def test_states_in_blocks(block, monkeypatch):
    """However many rows are looked at together: each row's s and s' are the observations of their numbers."""
    monkeypatch.setattr(states, "BLOCK", block)
    found = States.of(DATA)
    assert len(found) == 6 + 10 + 11
    all_of_them = found.observations(0, len(found))
    np.testing.assert_array_equal(all_of_them[found.here], DATA.observation)
    np.testing.assert_array_equal(all_of_them[found.following], DATA.next_observation)
    for start, stop in [(0, 1), (5, 6), (4, 8), (26, 27), (3, 3)]:
        np.testing.assert_array_equal(found.observations(start, stop), all_of_them[start:stop])
    assert found.digest == STATES.digest


def test_digest_of_states():
    """Rewards and actions do not count; every observation, their order and their type do."""
    task = dataclasses.replace(DATA, reward=DATA.reward + 1, action=-DATA.action, mask=1 - DATA.mask, extras={})
    assert States.of(task).digest == STATES.digest
    first, last = DATA.observation.copy(), DATA.next_observation.copy()
    first[0, 1] += 1
    last[-1, 0] += 1
    others = [
        dataclasses.replace(DATA, observation=first),
        dataclasses.replace(DATA, next_observation=last),
        DATA[::-1],
        DATA[:-1],
        dataclasses.replace(
            DATA, observation=DATA.observation.view(np.int32), next_observation=DATA.next_observation.view(np.int32)
        ),
    ]
    assert len({STATES.digest, *(States.of(other).digest for other in others)}) == 6


def test_states_of_nothing():
    with pytest.raises(ValueError, match="The dataset is empty: give at least one transition"):
        States.of(DATA[:0])


# --- proposals


def encoded(count):
    """Proposals (number of the state, number of the proposal)."""
    actions = np.stack(np.meshgrid(np.arange(len(STATES)), np.arange(count), indexing="ij"), axis=-1)
    return Proposals(actions.astype(np.float32), KEY, "", STATES.digest)


def on_batch(proposed, data=DATA, found=STATES):
    """The transitions with all proposals of their states."""
    batch, table = data.on_device(), jnp.asarray(proposed.actions)
    here, after = jnp.asarray(found.here), jnp.asarray(found.following)
    return dataclasses.replace(batch, proposals=BatchProposals(table, proposed.key, here, here, after, after))


def noises(key, numbers, count, size=2):
    """The noises (numbers, count, size) that proposals are made from."""
    return np.array([[proposal_noise(key, number, which, size) for which in range(count)] for number in numbers])


@pytest.mark.parametrize("rows", [1, 12, 1000])
def test_proposals_against_numpy(rows, monkeypatch):
    """Euler's method from each proposal's own noise, in blocks of one state, of four (the last incomplete), of all."""
    monkeypatch.setattr(proposals, "ROWS", rows)
    agent, count = build(), 3
    drawn = draw_proposals(agent, DATA, count, key=KEY, progress=False)
    observations = np.repeat(STATES.observations(0, len(STATES))[:, None], count, axis=1)
    starts = noises(KEY, range(len(STATES)), count)
    expected = reference.propose(reference.arrays(agent.field.network), observations, starts, STEPS)
    np.testing.assert_allclose(drawn.actions, expected, atol=1e-5)
    assert 0 < np.mean(np.abs(expected) == 1) < 0.9
    assert drawn.actions.dtype == np.float32
    assert (drawn.count, drawn.behaviour, drawn.states) == (count, behaviour_digest(agent), STATES.digest)
    assert drawn.megabytes == 27 * 3 * 2 * 4 / 1e6
    assert repr(drawn) == "Proposals(3 actions of size 2 for each of 27 states, 0 MB)"


def test_the_first_proposals_do_not_depend_on_their_number():
    agent = build()
    three, five = (draw_proposals(agent, DATA, count, key=KEY, progress=False) for count in (3, 5))
    np.testing.assert_allclose(five.first(3).actions, three.actions, atol=1e-6)
    assert five.first(3).count == 3
    other = draw_proposals(agent, DATA, 3, key=jax.random.key(6), progress=False)
    assert np.all(np.any(other.actions != three.actions, axis=(1, 2)))


@pytest.mark.parametrize("n_step", [1, 3])
@pytest.mark.parametrize("placement", ["device", "host"])
def test_no_row_sees_another_rows_proposals(placement, n_step):
    """The table's entries say whose they are: those of s, of s' (also several steps later), and different ones."""
    agent = build(n_step=n_step, target_candidates=4)
    returns, observations, count, updates = agent.with_returns(DATA), STATES.observations(0, len(STATES)), 5, 6
    keys = batch_keys(KEY, jnp.arange(updates))
    sources = proposal_source(
        agent,
        STATES,
        [encoded(count)],
        batch_size=16,
        keys=lambda made, number: keys[made : made + number],
        placement=placement,
    )
    source, seen = sources(0, updates), []
    for index in range(updates):
        batch = source.sample(16, jnp.asarray(index), key=keys[index])
        found = chosen(agent, batch.proposals, key=keys[index])
        state, which = np.asarray(found.proposal, int).T
        np.testing.assert_array_equal(observations[state], batch.observation)
        next_state, next_which = np.moveaxis(np.asarray(found.next_proposal[:, 0], int), -1, 0)
        assert next_which.shape == (16, 4)
        np.testing.assert_array_equal(observations[next_state], np.repeat(batch.next_observation[:, None], 4, axis=1))
        assert all(len(set(row)) == 4 for row in next_which)
        for row in (0, 7):
            np.testing.assert_array_equal(found.noise[row], proposal_noise(KEY, state[row], which[row], 2))
            expected = [proposal_noise(KEY, next_state[row, 0], k, 2) for k in next_which[row]]
            np.testing.assert_array_equal(found.next_noise[row, 0], expected)
        seen += list(which), list(next_which.ravel())
        rows = [np.flatnonzero((DATA.observation == o).all(1)).item() for o in np.asarray(batch.observation)]
        for column in ("action", "reward", "mask", "next_observation"):
            np.testing.assert_array_equal(getattr(batch, column), getattr(returns, column)[rows])
    assert np.bincount(np.concatenate(seen)).min() > 0.15 * sum(map(len, seen))


# --- distribution


class TwoModes(fields.AbstractField):
    """Carries noise to 0.5 if it lies above 0.25, and to -0.5 otherwise, along straight lines."""

    def encode(self, observation):
        return observation

    def __call__(self, features, action, time):
        return (jnp.where(action > 0.25, 0.5, -0.5) - action) / (1.0 - time)


def from_many_caches(agent, caches=80, count=4):
    """What one state of each of many caches proposes: rows of shape (caches * 25, A), at s and at s'."""
    here = np.zeros((24, 3), np.float32)
    data = transitions(here, here)
    found = States.of(data)
    choose = jax.jit(lambda batch, key: chosen(agent, batch, key=key))
    for cache in range(caches):
        drawn = draw_proposals(agent, data, count, key=jax.random.key(cache), progress=False)
        one = choose(on_batch(drawn, data, found).proposals, jax.random.key(1000 + cache))
        yield np.asarray(one.proposal), np.asarray(one.next_proposal[:, 0, 0])


def test_chosen_proposals_have_the_moments_of_fresh_ones():
    """Over many caches, within four standard errors: what is chosen at s, and at s' among two candidates."""
    agent = build(target_candidates=2)
    starts = np.random.default_rng(0).standard_normal((40_000, 2))
    field = reference.arrays(agent.field.network)
    fresh = reference.propose(field, np.zeros((len(starts), 3)), starts, STEPS)
    for sample in map(np.concatenate, zip(*from_many_caches(agent), strict=True)):
        error = np.sqrt(1 / len(sample) + 1 / len(fresh))
        assert np.all(np.abs(sample.mean(0) - fresh.mean(0)) < 4 * fresh.std(0) * error)
        products = [
            (rows - fresh.mean(0))[:, [0, 0, 1]] * (rows - fresh.mean(0))[:, [0, 1, 1]] for rows in (sample, fresh)
        ]
        assert np.all(np.abs(products[0].mean(0) - products[1].mean(0)) < 4 * products[1].std(0) * error)
        assert np.all(fresh.std(0) > 0.1)


def test_each_mode_has_its_share():
    """P(z > 0.25) of the proposals lie at 0.5, the others at -0.5."""
    agent = dataclasses.replace(build(target_candidates=2), field=TwoModes())
    share = 1 - statistics.NormalDist().cdf(0.25)
    for sample in map(np.concatenate, zip(*from_many_caches(agent, caches=40), strict=True)):
        np.testing.assert_allclose(np.abs(sample), 0.5, atol=1e-6)
        assert abs(np.mean(sample > 0) - share) < 4 * np.sqrt(share * (1 - share) / sample.size)


# --- the agent


@pytest.mark.parametrize("row", ROWS)
def test_the_loss_of_every_row(row, monkeypatch):
    """From proposals it is what the agent finds if it solves for the same noises itself."""
    agent = dataclasses.replace(build(row), field_frozen=True)
    count = max(agent.critic.next_actions * agent.target_candidates, 2)
    assert count == {"deflow-flow-critic": 8, "bfn": 4}.get(row, 2)
    batch = on_batch(draw_proposals(agent, DATA, count, key=KEY, progress=False))
    found = chosen(agent, batch.proposals, key=KEY)
    wanted = needs_proposals(agent)
    assert wanted == (row not in ("bfn", "ifql"), row not in ("fql", "ifql"))
    assert (found.proposal is not None, found.next_proposal is not None) == wanted
    at_state = batch.observation, found.noise
    at_next = batch.next_observation, found.next_noise
    fresh = [
        _solve(held(agent), pair)[0] if wants else None for wants, pair in zip(wanted, (at_state, at_next), strict=True)
    ]
    for solved, proposed in zip(fresh, (found.proposal, found.next_proposal), strict=True):
        if solved is not None:
            np.testing.assert_allclose(proposed, solved, atol=1e-6)
    if wanted[1]:
        assert all(len(np.unique(row, axis=0)) == len(row) for row in found.next_noise.reshape(len(DATA), -1, 2))

    loss = eqx.filter_jit(lambda agent, batch: agent.loss(batch, key=KEY))
    total, metrics = loss(agent, batch)
    same = Proposed(found.noise, fresh[0], found.next_noise, fresh[1])
    monkeypatch.setattr(deflow.agent.agent, "solved", lambda agent, batch, *, key: same)
    expected, terms = loss(agent, dataclasses.replace(batch, proposals=None))
    assert set(metrics) == set(terms)
    assert "flow_loss" not in metrics
    np.testing.assert_allclose(total, expected, rtol=1e-5)
    for name, term in terms.items():
        np.testing.assert_allclose(metrics[name], term, rtol=1e-4, atol=1e-5, err_msg=name)


def test_fql_distils_from_the_noise_of_each_proposal():
    """The size is the mean of (mu(o, z) - ODE(v, z))^2, with z the proposal's own."""
    agent = build("fql")
    batch = on_batch(draw_proposals(agent, DATA, 3, key=KEY, progress=False))
    found = chosen(agent, batch.proposals, key=KEY)
    policy, observations = reference.arrays(agent.refiner.network), np.asarray(batch.observation)

    def size(z):
        made = reference.propose(reference.arrays(agent.field.network), observations, found.noise, STEPS)
        return np.mean((reference.mlp(policy, reference.join(observations, z)) - made) ** 2)

    _, metrics = eqx.filter_jit(lambda agent: agent.loss(batch, key=KEY))(agent)
    np.testing.assert_allclose(metrics["size"], size(np.asarray(found.noise)), rtol=1e-4)
    assert abs(size(np.roll(found.noise, 1, axis=0)) / metrics["size"] - 1) > 1e-2


# --- training


def learner(key=None, **parts):
    return Learner.create(
        config(**parts), SPEC, DATA, learning_rate=1e-2, key=jax.random.key(1) if key is None else key
    )


BEHAVIOUR = build(seed=3)
PROPOSALS = draw_proposals(BEHAVIOUR, DATA, 4, key=jax.random.key(8), progress=False)
OTHER_BEHAVIOUR = reference.perturbed(BEHAVIOUR, jax.random.key(2))
OTHER_PROPOSALS = draw_proposals(OTHER_BEHAVIOUR, DATA, 4, key=jax.random.key(9), progress=False)
SEEDS = jnp.stack([jax.random.key(1), jax.random.key(2)])
KEYS = jnp.stack([KEY, jax.random.key(6)])


def trained(start, given=PROPOSALS, steps=7, key=KEY, dispatch=7, placement="device", data=DATA):
    *_, (_, after, metrics) = train_offline(
        start,
        data,
        steps=steps,
        key=key,
        batch_size=8,
        updates_per_dispatch=dispatch,
        proposals=given,
        placement=placement,
    )
    return after, metrics


@pytest.fixture(scope="module")
def alone():
    """Seven updates of one seed in one dispatch, from proposals on the device."""
    return trained(learner().with_behaviour(BEHAVIOUR))[0]


def test_only_the_field_is_frozen(alone):
    """It stays the behaviour's, bit for bit, and every other trained array moves."""
    start = learner().with_behaviour(BEHAVIOUR)
    assert equal(alone.agent.field, BEHAVIOUR.field)
    assert alone.agent.field_frozen
    before, after = (eqx.filter(one.agent, trainable(one.agent)) for one in (start, alone))
    still = lambda agent: eqx.tree_at(lambda tree: tree.field, agent, None)  # noqa: E731
    leaves = [jax.tree.leaves(still(agent)) for agent in (before, after)]
    assert len(leaves[0]) > 10
    assert all(np.any(old != new) for old, new in zip(*leaves, strict=True))
    assert start.step == 0
    assert alone.step == 7


def test_with_behaviour_takes_the_field_and_nothing_else():
    fresh = learner()
    given = fresh.with_behaviour(BEHAVIOUR)
    assert not equal(fresh.agent.field, BEHAVIOUR.field)
    expected = dataclasses.replace(fresh.agent, field=BEHAVIOUR.field, field_frozen=True)
    assert eqx.tree_equal(given, dataclasses.replace(fresh, agent=expected))


def test_a_behaviour_of_other_chunks_is_refused():
    with pytest.raises(ValueError, match=r"chunks of 1 action\(s\), and the learner's agent of 5: .* chunk=1"):
        learner(chunk=5).with_behaviour(BEHAVIOUR)


def test_the_placement_does_not_matter(alone):
    """From the host, the same learner bit for bit; without a word, too."""
    start = learner().with_behaviour(BEHAVIOUR)
    assert equal(trained(start, placement="host")[0], alone)
    assert equal(trained(start, placement="auto")[0], alone)


@pytest.mark.parametrize("placement", ["device", "host"])
def test_the_dispatches_do_not_matter(alone, placement):
    """Three updates to a dispatch, and resumed after the third: the same bits."""
    start = learner().with_behaviour(BEHAVIOUR)
    assert equal(trained(start, dispatch=3, placement=placement)[0], alone)
    third = trained(start, steps=3, placement=placement)[0]
    assert third.step == 3
    assert equal(trained(third, dispatch=3, placement=placement)[0], alone)


@pytest.mark.parametrize("placement", ["device", "host"])
@pytest.mark.parametrize("shared", [True, False])
def test_seeds_together_agree_with_each_alone(alone, shared, placement):
    """Whether they share one behaviour and its proposals, or each has its own."""
    behaviours = [BEHAVIOUR] if shared else [BEHAVIOUR, OTHER_BEHAVIOUR]
    given = [PROPOSALS] if shared else [PROPOSALS, OTHER_PROPOSALS]
    together, metrics = trained(learner(SEEDS).with_behaviour(behaviours), given, key=KEYS, placement=placement)
    assert metrics["loss"].shape == (2,)
    second = trained(learner(SEEDS[1]).with_behaviour(behaviours[-1]), given[-1], key=KEYS[1])[0]
    for index, expected in enumerate([alone, second]):
        found = together.seed(index)
        assert equal(found.agent.field, expected.agent.field)
        ours, theirs = (jax.tree.leaves(eqx.filter(one.agent, eqx.is_inexact_array)) for one in (found, expected))
        for got, leaf in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(got, leaf, atol=1e-5)
    assert not equal(together.seed(0).agent.critic, together.seed(1).agent.critic)


def test_several_steps_in_training():
    """With 3-step returns, too, the placement does not matter."""
    start = learner(n_step=3).with_behaviour(BEHAVIOUR)
    on_device, on_host = (trained(start, steps=2, placement=placement)[0] for placement in ("device", "host"))
    assert equal(on_device, on_host)
    assert not equal(on_device, trained(learner().with_behaviour(BEHAVIOUR), steps=2)[0])


# --- refusals


def changed(agent):
    """The agent with one weight of its field changed in its last bit."""
    weight = np.array(agent.field.network.layers[-1].weight)
    weight[0, 0] = np.nextafter(weight[0, 0], np.float32(2))
    return eqx.tree_at(lambda agent: agent.field.network.layers[-1].weight, agent, jnp.asarray(weight))


@pytest.mark.parametrize(
    ("start", "given", "data", "message"),
    [
        (lambda: learner(target_candidates=5), PROPOSALS, DATA, "needs 5 different proposals .* there are 4: draw at"),
        (learner, PROPOSALS, DATA[:-1], "drawn for other data: draw them for these transitions"),
        (learner, OTHER_PROPOSALS, DATA, "of another behaviour than the agent's: give the agent that field and solver"),
        (learner, [PROPOSALS] * 2, DATA, r"1 seed\(s\) needs proposals that all share, or one set for each, got 2"),
        (learner, [], DATA, r"1 seed\(s\) needs proposals that all share, or one set for each, got 0"),
        (lambda: learner(SEEDS), [PROPOSALS] * 3, DATA, r"2 seed\(s\) needs proposals .* got 3"),
        (lambda: learner(SEEDS), [PROPOSALS, OTHER_PROPOSALS], DATA, "of another behaviour than the agent's"),
    ],
    ids=["too few", "other data", "other behaviour", "two sets", "no set", "three sets", "a seed's"],
)  # fmt: skip
def test_refuses_proposals(start, given, data, message):
    start = start().with_behaviour(BEHAVIOUR)
    key = KEYS if start.seeds else KEY
    with pytest.raises(ValueError, match=message):
        trained(start, given, key=key, data=data)


def test_refuses_proposals_of_a_field_that_differs_in_one_bit():
    start = learner().with_behaviour(changed(BEHAVIOUR))
    with pytest.raises(ValueError, match="The proposals are of another behaviour than the agent's"):
        trained(start)


def test_refuses_a_refiner_that_trains_the_flow():
    fbrac = Learner.create(config("fbrac"), SPEC, DATA, key=KEY)
    with pytest.raises(ValueError, match="The refiner ThroughSolver trains the flow through the solver, so proposals"):
        PROPOSALS.check(fbrac.agent, STATES)
    with pytest.raises(ValueError, match="field cannot be frozen: the refiner ThroughSolver trains the flow itself"):
        trained(fbrac)
    with pytest.raises(ValueError, match="field cannot be frozen: the refiner ThroughSolver trains the flow itself"):
        fbrac.with_behaviour(BEHAVIOUR)


@pytest.mark.parametrize(
    ("behaviour", "message"),
    [
        (lambda: build(width=5), r"The behaviour's field is MLPField of \(5, 6\).* create it with the"),
        (lambda: build(solver=solvers.Euler(steps=3)), r"solver is Euler\(steps=3\), and .*Euler\(steps=2\)"),
        (lambda: build(solver=solvers.Heun(steps=2)), r"solver is Heun\(steps=2\), and .*Euler\(steps=2\)"),
        (lambda: [BEHAVIOUR] * 2, r"A learner of 1 seed\(s\) needs one behaviour, or one for each seed, got 2"),
    ],
    ids=["width", "steps", "method", "two"],
)  # fmt: skip
def test_refuses_behaviours(behaviour, message):
    with pytest.raises(ValueError, match=message):
        learner().with_behaviour(behaviour())


@pytest.mark.parametrize("given", [lambda: learner(), lambda: [learner()], lambda: BEHAVIOUR.field, lambda: 3])
def test_refuses_what_is_no_agent(given):
    with pytest.raises(TypeError, match=r"with_behaviour takes agents|Type-check error"):
        learner().with_behaviour(given())


def test_refuses_to_draw():
    with pytest.raises(ValueError, match="The number of proposals must be at least 1, got 0"):
        draw_proposals(BEHAVIOUR, DATA, 0, key=KEY)
    with pytest.raises(ValueError, match=r"count must be a whole number, got 2\.5"):
        draw_proposals(BEHAVIOUR, DATA, 2.5, key=KEY)
    with pytest.raises(ValueError, match=r"observations of shape \(3,\), but the dataset's have shape \(4,\)"):
        draw_proposals(BEHAVIOUR, example_data(Spec((4,), 2)), 2, key=KEY)
    with pytest.raises(TypeError, match=r"key must be made by jax\.random\.key\(seed\), got 0"):
        draw_proposals(BEHAVIOUR, DATA, 2, key=0)


# --- the digest of a behaviour


def test_digest_of_a_behaviour():
    """The field and the solver count, and nothing else of the agent."""
    other_critic = dataclasses.replace(build("bfn", seed=4), field=BEHAVIOUR.field)
    assert behaviour_digest(other_critic) == behaviour_digest(BEHAVIOUR)
    others = [changed(BEHAVIOUR), *(dataclasses.replace(BEHAVIOUR, solver=kind(steps=3)) for kind in SOLVERS)]
    assert len({behaviour_digest(BEHAVIOUR), *map(behaviour_digest, others)}) == 4


SOLVERS = [solvers.Euler, solvers.Heun]


class Scaled(fields.AbstractField):
    """A field whose behaviour depends on a number and on a table that are no JAX arrays."""

    table: np.ndarray
    scale: float = eqx.field(static=True, default=1.0)

    def encode(self, observation):
        return observation

    def __call__(self, features, action, time):
        return self.scale * action


def test_digest_of_what_is_no_array():
    """A static number of the field, and one entry of a large NumPy array in it."""
    table = np.zeros(5000)
    other = table.copy()
    other[2500] = 1
    made = [Scaled(table), Scaled(table.copy()), Scaled(table, 2.0), Scaled(other)]
    first, same, *others = [behaviour_digest(dataclasses.replace(BEHAVIOUR, field=field)) for field in made]
    assert first == same
    assert len({first, *others}) == 3


# --- the held-out loss


def test_held_out_loss_against_numpy():
    """The mean of |v(o, x_t, t) - (x_1 - x_0)|^2 with the same noises and times, whenever it is asked."""
    agent, key = build(), jax.random.key(0)
    loss = HeldOutLoss(DATA)
    start = np.asarray(jax.random.normal(named_key(key, "noise"), DATA.action.shape), np.float64)
    time = np.asarray(jax.random.uniform(named_key(key, "time"), (len(DATA),)), np.float64)[:, None]
    inputs = reference.join(DATA.observation, (1 - time) * start + time * DATA.action, time)
    errors = reference.mlp(reference.arrays(agent.field.network), inputs) - (DATA.action - start)
    assert loss(agent) == pytest.approx(np.mean(errors**2), rel=1e-5)
    assert loss(agent) == loss(agent) == HeldOutLoss(DATA)(agent)


def test_held_out_loss_looks_at_the_same_rows(monkeypatch):
    """At most `ROWS` of them, which the validation data alone determines."""
    monkeypatch.setattr(deflow.behaviour.held_out, "ROWS", 10)
    agent = build()
    rows = np.sort(np.random.default_rng(0).permutation(len(DATA))[:10])
    assert HeldOutLoss(DATA)(agent) == HeldOutLoss(DATA)(agent) == HeldOutLoss(DATA[rows])(agent)


def test_held_out_loss_falls():
    """Where all actions are 0.3, it tends to what a perfect field leaves, far below where it was."""
    data = dataclasses.replace(DATA, action=np.full_like(DATA.action, 0.3))
    start = Learner.create(config("flow-bc", width=16), SPEC, data, learning_rate=1e-2, key=KEY)
    loss = HeldOutLoss(data)
    *_, (_, after, _) = train_offline(start, data, steps=300, key=KEY, batch_size=16, updates_per_dispatch=300)
    assert loss(after.agent) < 0.5 * loss(start.agent)

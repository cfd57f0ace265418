"""Online from proposals: which ones a transition gets, and that nothing depends on how they are kept."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest
from drifting import Drifting

import deflow
from deflow import Learner, ProposedReplay, agent_config, draw_proposals, solvers, train_online
from deflow.behaviour import States, behaviour_digest
from deflow.session import capture, resume
from deflow.testing import example_data
from deflow.training.updates import batch_key, batch_keys
from deflow.types import proposal_noise

SPEC = deflow.Spec((2,), 2, horizon=4)
DATA = dataclasses.replace(example_data(SPEC, 40), extras={"trajectory_end": np.ones(40, np.float32)})
STATES = States.of(DATA)
KEY, COUNT = jax.random.key(5), 3
SEEDS = [3, 4]
KEYS = jnp.stack([jax.random.key(seed) for seed in SEEDS])


@pytest.fixture(scope="module")
def alone():
    """One seed with two environments, and its beginning."""
    with deflow.Actors(Drifting(4), seeds=[3], environments=2) as actors:
        yield actors, actors.state()


@pytest.fixture(scope="module")
def together():
    """Two seeds with one environment each, and their beginning."""
    with deflow.Actors(Drifting(4), seeds=SEEDS) as actors:
        yield actors, actors.state()


def learner(key=KEY, algorithm="deflow", **parts):
    config = agent_config(algorithm, width=8, depth=2, solver=solvers.Euler(steps=2), **parts)
    return Learner.create(config, SPEC, DATA, key=key).freeze_field()


def proposals(begun, count=COUNT):
    drawn = [draw_proposals(agent, DATA, count, key=KEYS[0], progress=False) for agent in begun.agents]
    return drawn if begun.seeds else drawn[0]


def replay(begun, *, steps=60, **settings):
    given = settings.pop("proposals", None) or proposals(begun)
    return ProposedReplay(begun.agent, DATA, given, seeds=begun.seeds, steps=steps, **settings)


def train(actors, start, made, begun, *, steps=20, key=KEY, **settings):
    """All rounds of an online training from the actors' beginning."""
    actors.restore(start)
    return list(train_online(begun, made, actors, steps=steps, key=key, batch_size=8, **settings))


def assert_same(one, other):
    for left, right in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_array_equal(left, right)


@pytest.fixture(scope="module", params=["device", "host"])
def trained(alone, request):
    """Twenty steps, where the transitions lie on the device or on the host."""
    begun = learner()
    made = replay(begun, placement=request.param)
    return train(*alone, made, begun), made, begun


# --- which proposals a transition gets


def solved(agent, observation, number, which):
    """One proposal, by the agent's own flow, and its noise."""
    noise = proposal_noise(KEYS[0], number, which, SPEC.action_size)
    return agent.propose(agent.field.encode(jnp.asarray(observation)), noise)


def test_every_transition_has_proposals_of_its_own_two_states(trained):
    """Drawn from the dataset or online, at s and at s', they are what the flow makes of these very observations."""
    _, made, begun = trained
    keys = batch_keys(KEY, jnp.arange(100, 103))
    source, online = made.source(16, keys), 0
    for index in range(3):
        batch = source.sample(16, jnp.asarray(index), key=keys[index])
        drawn = batch.proposals
        for row in range(16):
            for observation, place, number in (
                (batch.observation[row], drawn.place[row], int(drawn.number[row])),
                (batch.next_observation[row], drawn.next_place[row], int(drawn.next_number[row])),
            ):
                online += number >= len(STATES)
                for which in range(COUNT):
                    expected = solved(begun.agent, observation, number, which)
                    np.testing.assert_allclose(drawn.actions[place, which], expected, atol=1e-5)
    assert 10 < online < 80


def test_a_state_that_goes_on_is_solved_for_once(trained):
    """s' of a transition is s of its environment's next one, unless an episode ended in between."""
    _, made, _ = trained
    stored, begun_anew = made.state(0), 0
    for environment in range(2):
        own = stored[environment::2]
        assert len(own) == 10
        for before, after in zip(range(9), range(1, 10), strict=True):
            same = np.array_equal(own.next_observation[before], own.observation[after])
            begun_anew += not same
            assert same == (own.extras["next_number"][before] == own.extras["number"][after])
            assert same == np.array_equal(own.extras["next_proposals"][before], own.extras["proposals"][after])
    assert begun_anew >= 4
    numbers = np.unique(np.concatenate([stored.extras["number"], stored.extras["next_number"]]))
    assert len(numbers) == 20 + 2 + begun_anew
    assert numbers.min() >= len(STATES)


def test_updates_solve_nothing_and_leave_the_flow(trained):
    rounds, made, begun = trained
    assert made.inserted == 20
    assert int(rounds[-1][1].step) == 20
    assert behaviour_digest(rounds[-1][1].agent) == behaviour_digest(begun.agent)
    assert all("flow_loss" not in metrics for _, _, metrics in rounds)
    assert all(np.isfinite(metrics["value"]) for _, _, metrics in rounds)


def test_the_first_update_is_that_of_its_batch(trained, alone):
    """The loop's update is the learner's own, on a batch that is put together by hand."""
    rounds, made, begun = trained
    key = batch_key(KEY, jnp.asarray(0))
    (_, first, metrics), _ = rounds[0], made
    again = replay(begun)
    actors, start = alone
    actors.restore(start)
    again.insert(made.ring.rows[:, :2])  # what the first round made: 2 updates, of which this is the first
    batch = again.source(8, key[None]).sample(8, jnp.asarray(0), key=key)
    name = deflow.keys.named_key(jax.random.fold_in(KEY, 0), "update")
    once, expected = begun.update(batch, key=name)
    second = batch_key(KEY, jnp.asarray(1))
    batch = again.source(8, second[None]).sample(8, jnp.asarray(0), key=second)
    twice, more = once.update(batch, key=deflow.keys.named_key(jax.random.fold_in(KEY, 1), "update"))
    for got, want in zip(*(jax.tree.leaves(eqx.filter(one, eqx.is_array)) for one in (first, twice)), strict=True):
        np.testing.assert_allclose(got, want, atol=1e-5)
    np.testing.assert_allclose(metrics["value"], (expected["value"] + more["value"]) / 2, rtol=1e-4)


@pytest.mark.parametrize("algorithm", ["deflow", "deflow-projected", "deflow-flow-critic", "bfn", "fql", "deflow-best"])
def test_every_row_that_asks_for_proposals_trains_online(alone, algorithm):
    begun = learner(algorithm=algorithm)
    rounds = train(*alone, replay(begun, proposals=proposals(begun, 8)), begun, steps=4)
    assert all(np.isfinite(metrics["loss"]) for _, _, metrics in rounds)


# --- what the result does not depend on


@pytest.mark.parametrize("sampling", ["uniform", "balanced"])
def test_neither_overlap_nor_placement_changes_a_thing(together, sampling):
    """Two seeds with flows of their own, a ring that is full, and two updates a step."""
    begun, ends = learner(KEYS), []
    for overlap, placement in ((False, "device"), (True, "device"), (True, "host")):
        capacity = 45 if sampling == "uniform" else 9
        made = replay(begun, capacity=capacity, sampling=sampling, placement=placement)
        rounds = train(*together, made, begun, key=KEYS, overlap=overlap, updates_per_step=2)
        ends.append((rounds[-1][1], rounds[-1][2]["value"], made.state(0), made.state(1)))
    assert_same(ends[0], ends[1])
    assert_same(ends[0], ends[2])


def test_seeds_may_share_a_flow(together):
    begun = learner(KEYS)
    shared = begun.with_behaviour(begun.seed(0).agent)
    drawn, ends = draw_proposals(shared.seed(0).agent, DATA, COUNT, key=KEYS[0], progress=False), []
    for placement in ("device", "host"):
        made = replay(shared, proposals=drawn, placement=placement)
        ends.append((train(*together, made, shared, key=KEYS)[-1][1], made.state(1)))
    assert_same(*ends)


def test_a_break_changes_nothing(trained, alone):
    """State taken in the middle, and all built anew from it."""
    rounds, whole, begun = trained
    actors, start = alone
    placement = "host" if isinstance(whole.transitions, deflow.replay.HostReplay) else "device"
    made = replay(begun, placement=placement)
    half = train(actors, start, made, begun, steps=10)
    (online,) = capture(made, actors)
    train(actors, start, replay(begun), begun, steps=6, key=jax.random.key(9))  # others use the environments meanwhile
    again = replay(begun, placement=placement)
    resume((online,), again, actors, inserted=10)
    rest = list(train_online(half[-1][1], again, actors, steps=20, key=KEY, batch_size=8))
    assert_same(rest[-1][1], rounds[-1][1])
    assert_same(again.state(0), whole.state(0))


# --- a flow that is refreshed


REFRESH = {"refresh_every": 8, "refresh_updates": 130}


@pytest.mark.parametrize("placement", ["device", "host"])
def test_a_refresh_trains_the_flow_and_draws_all_anew(alone, placement):
    begun = learner()
    made = replay(begun, placement=placement)
    rounds = train(*alone, made, begun, steps=10, **REFRESH)
    digests = [behaviour_digest(after.agent) for _, after, _ in rounds]
    assert len(set(digests)) == 2
    assert digests.index(digests[-1]) == 3  # after 8 steps
    assert ["flow_loss" in metrics for _, _, metrics in rounds] == [False] * 3 + [True, False]
    assert rounds[-1][1].agent.field_frozen
    assert int(rounds[-1][1].step) == 10  # the flow's updates are none of the learner's
    agent = rounds[-1][1].agent
    batch = made.source(32, batch_keys(KEY, jnp.arange(1))).sample(
        32, jnp.asarray(0), key=batch_key(KEY, jnp.asarray(0))
    )
    drawn = batch.proposals
    assert (drawn.number >= len(STATES)).any()
    for row in range(32):
        expected = solved(agent, batch.next_observation[row], drawn.next_number[row], 1)
        np.testing.assert_allclose(drawn.actions[drawn.next_place[row], 1], expected, atol=1e-5)


def test_the_refreshed_flow_is_better(alone):
    """It was trained by flow matching: on the data, its loss has fallen."""
    begun = learner()
    after = train(*alone, replay(begun), begun, steps=8, refresh_every=8, refresh_updates=300)[-1][1]
    batch = DATA.on_device()
    assert after.agent.flow_loss(batch, key=KEY) < 0.97 * begun.agent.flow_loss(batch, key=KEY)


def test_refreshed_seeds_are_what_each_is_alone(together):
    """Their program is one, their flows, data and keys their own."""
    begun, made = learner(KEYS), {}
    shared = begun.with_behaviour(begun.seed(0).agent)
    drawn = draw_proposals(shared.seed(0).agent, DATA, COUNT, key=KEYS[0], progress=False)
    for placement in ("device", "host"):
        made[placement] = replay(shared, proposals=drawn, placement=placement)
        ends = train(*together, made[placement], shared, steps=10, key=KEYS, **REFRESH)[-1]
        digests = {behaviour_digest(agent) for agent in ends[1].agents}
        assert len(digests) == 2
    assert_same(made["device"].state(0), made["host"].state(0))


@pytest.mark.parametrize("at", [6, 10])
def test_a_break_before_or_after_a_refresh_changes_nothing(alone, at):
    begun = learner()
    whole = replay(begun)
    expected = train(*alone, whole, begun, steps=14, **REFRESH)[-1][1]
    made = replay(begun)
    half = train(*alone, made, begun, steps=at, **REFRESH)[-1][1]
    (online,) = capture(made, alone[0])
    again = replay(half)  # with the dataset's proposals drawn from the flow as it is now
    resume((online,), again, alone[0], inserted=at)
    rest = list(train_online(half, again, alone[0], steps=14, key=KEY, batch_size=8, **REFRESH))
    assert_same(rest[-1][1], expected)
    assert_same(again.state(0), whole.state(0))


# --- what is refused


def test_refuses(alone, together):
    begun = learner()
    given, other = proposals(begun), learner(jax.random.key(8))
    with pytest.raises(ValueError, match="proposals are of another behaviour than the agent's"):
        replay(other, proposals=given)
    with pytest.raises(ValueError, match="proposals are of another behaviour than the agent's"):
        next(train_online(other, replay(begun), alone[0], steps=4, key=KEY))
    with pytest.raises(TypeError, match=r"proposals must be what deflow\.draw_proposals returns, got ndarray"):
        ProposedReplay(begun.agent, DATA, [given.actions], steps=4)
    with pytest.raises(ValueError, match=r"A learner of 1 seed\(s\) needs proposals that all share, .*, got 2"):
        ProposedReplay(begun.agent, DATA, [given, given], steps=4)
    with pytest.raises(ValueError, match="equally many proposals for a state, got 3 and 2"):
        ProposedReplay(learner(KEYS).agent, DATA, [given, given.first(2)], seeds=2, steps=4)
    with pytest.raises(ValueError, match="The proposals were drawn for other data"):
        ProposedReplay(begun.agent, DATA[:20], given, steps=4)
    with pytest.raises(ValueError, match="needs 4 different proposals for a state, and there are 3"):
        ProposedReplay(dataclasses.replace(begun.agent, target_candidates=4), DATA, given, steps=4)
    for agent, seeds in ((begun.agent, 1), (begun.agent, 2), (learner(KEYS).agent, None), (learner(KEYS).agent, 3)):
        with pytest.raises(ValueError, match=f"do not have the axis of seeds={seeds}: give learner.agent with seeds"):
            ProposedReplay(agent, DATA, given, seeds=seeds, steps=4)
    for choice in ({"sampling": "ballanced"}, {"placement": "gpu"}):
        (word,) = choice
        for make in (replay, lambda _, **choice: deflow.make_replay(DATA, SPEC, steps=4, **choice)):
            with pytest.raises((ValueError, jaxtyping.TypeCheckError), match=word):
                make(begun, **choice)
    for bare in ("ifql", "flow-bc"):
        agent = learner(algorithm=bare).agent
        drawn = draw_proposals(agent, DATA, COUNT, key=KEY, progress=False)
        with pytest.raises(ValueError, match="Neither the agent's critic nor its refiner asks for proposals"):
            ProposedReplay(agent, DATA, drawn, steps=4)
    longer = dataclasses.replace(begun, agent=dataclasses.replace(begun.agent, n_step=3))
    with pytest.raises(ValueError, match="made for an agent of 1-step returns, and this one's are of 3"):
        next(train_online(longer, replay(begun), alone[0], steps=4, key=KEY))
    with pytest.raises(ValueError, match=r"capacity of 30 transitions is smaller than the dataset's 40"):
        replay(begun, capacity=30)
    for settings, message in [
        ({"refresh_every": -1}, "refresh_every must be at least 0, got -1"),
        ({"refresh_every": 2, "refresh_updates": 0}, "refresh_updates must be at least 1, got 0"),
    ]:
        with pytest.raises(ValueError, match=message):
            next(train_online(begun, replay(begun), alone[0], steps=4, key=KEY, **settings))
    plain = deflow.make_replay(DATA, SPEC, steps=4)
    with pytest.raises(ValueError, match="refresh_every=2 draws proposals again, and this replay has none"):
        next(train_online(begun, plain, alone[0], steps=4, key=KEY, refresh_every=2))

"""Online training on real physics: what is stored and drawn; overlap, placement and breaks change nothing."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import stubs

import deflow
from deflow import Learner, agent_config, critics, solvers, train_offline, train_online
from deflow.interaction import Step
from deflow.session import TrainingState, capture, resume
from deflow.testing import example_data
from deflow.training.online import step_batch

TASK = "pointmaze-medium-navigate-singletask-task1-v0"
ENVIRONMENT = deflow.Environment(TASK)
SPEC = ENVIRONMENT.spec()
DATA = example_data(SPEC, 40)
KEY = jax.random.key(5)
SEEDS = [3, 4]
KEYS = jnp.stack([jax.random.key(seed) for seed in SEEDS])


@pytest.fixture(scope="module")
def alone():
    """One seed with two environments, and its beginning."""
    with deflow.Actors(ENVIRONMENT, seeds=[3], environments=2) as actors:
        yield actors, actors.state()


@pytest.fixture(scope="module")
def together():
    """Two seeds with one environment each, and their beginning."""
    with deflow.Actors(ENVIRONMENT, seeds=SEEDS) as actors:
        yield actors, actors.state()


def learner(key=KEY, **parts):
    config = agent_config(width=8, depth=2, solver=solvers.Euler(steps=2), **parts)
    return Learner.create(config, SPEC, DATA, key=key)


def replay(seeds=None, steps=60, **settings):
    return deflow.make_replay(DATA, SPEC, seeds=seeds, steps=steps, **settings)


def train(actors, start, made, *, steps=40, key=KEY, learner_=None, **settings):
    """All rounds of an online training from the actors' beginning."""
    actors.restore(start)
    begun = learner(key) if learner_ is None else learner_
    return list(train_online(begun, made, actors, steps=steps, key=key, batch_size=8, **settings))


def assert_same(one, other):
    for left, right in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_array_equal(left, right)


@pytest.fixture(scope="module")
def plain(alone):
    """Forty steps without overlap, on the device."""
    made = replay()
    return train(*alone, made, overlap=False), made


def test_one_update_per_step_from_the_first_on(plain):
    rounds, made = plain
    assert [step for step, _, _ in rounds] == list(range(2, 41, 2))
    assert [int(learner.step) for _, learner, _ in rounds] == list(range(2, 41, 2))
    assert made.inserted == 40
    assert all(np.isfinite(rounds[0][2]["critic_loss"]) for _ in rounds)


def test_what_is_stored_is_what_happened(plain):
    """Each environment's next observation is its next transition's observation; actions are the agent's own."""
    rounds, made = plain
    stored = made.state(0)
    for environment in range(2):
        own = stored[environment::2]
        np.testing.assert_array_equal(own.observation[1:], own.next_observation[:-1])
        assert set(own.mask) == {1.0}
        assert set(own.reward) == {-1.0}
    third = rounds[1][1].agent  # its parameters acted in the third round: one round is 2 of 40 steps
    key = jax.random.fold_in(deflow.keys.named_key(KEY, "acting"), 4)
    for number, one in enumerate(jax.random.split(key, 2)):
        action = third(stored.observation[4 + number], key=one)
        np.testing.assert_allclose(stored.action[4 + number], action, atol=1e-6)


@pytest.mark.parametrize(
    "settings", [{"overlap": True}, {"overlap": True, "placement": "host"}, {"overlap": False, "placement": "host"}]
)
def test_overlap_and_placement_change_nothing(alone, plain, settings):
    made = replay(placement=settings.pop("placement", "device"))
    rounds = train(*alone, made, **settings)
    assert_same(rounds[-1][1], plain[0][-1][1])
    assert_same(made.state(0), plain[1].state(0))
    for (_, _, metrics), (_, _, expected) in zip(rounds, plain[0], strict=True):
        assert_same(metrics, expected)


@pytest.mark.parametrize("sampling", ["uniform", "balanced"])
def test_overlap_changes_nothing_for_several_seeds_with_a_full_ring(together, sampling):
    ends = []
    for overlap in (False, True):
        made = replay(seeds=2, capacity=45, sampling=sampling)
        rounds = train(*together, made, key=KEYS, overlap=overlap, updates_per_step=2)
        assert rounds[-1][1].step.tolist() == [80, 80]
        assert rounds[-1][2]["critic_loss"].shape == (2,)
        ends.append((rounds[-1][1], made.state(0), made.state(1)))
    assert_same(*ends)
    first, second = ends[0][1:]
    assert not np.array_equal(first.observation, second.observation)


def test_seeds_together_agree_with_each_alone(together, alone):
    """A seed's environment and its updates are its own: to rounding, they are what they would be alone."""
    made = replay(seeds=2)
    rounds = train(*together, made, steps=10, key=KEYS)
    with deflow.Actors(ENVIRONMENT, seeds=SEEDS[1:]) as actors:
        single = replay()
        expected = train(actors, actors.state(), single, steps=10, key=KEYS[1])
    ends = (eqx.filter(learner, eqx.is_array) for learner in (rounds[-1][1].seed(1), expected[-1][1]))
    for got, want in zip(*map(jax.tree.leaves, ends), strict=True):
        np.testing.assert_allclose(got, want, atol=1e-4)
    np.testing.assert_allclose(made.state(1).observation, single.state(0).observation, atol=1e-3)


def test_a_break_changes_nothing(alone, plain):
    """State taken in the middle, and all built anew from it."""
    actors, start = alone
    made = replay()
    half = train(actors, start, made, steps=20)
    (online,) = capture(made, actors)
    train(actors, start, replay(), steps=6, key=jax.random.key(9))  # others use the environments meanwhile
    again = replay()
    resume((online,), again, actors, inserted=20)
    rounds = list(train_online(half[-1][1], again, actors, steps=40, key=KEY, batch_size=8))
    assert_same(rounds[-1][1], plain[0][-1][1])
    assert_same(again.state(0), plain[1].state(0))


def test_rounds_of_one_update_run_another_program_that_nothing_changes_either(together):
    """Neither overlap nor a break."""
    whole = train(*together, replay(seeds=2), steps=20, key=KEYS, overlap=False)
    made = replay(seeds=2)
    half = train(*together, made, steps=10, key=KEYS)
    rest = list(train_online(half[-1][1], made, together[0], steps=20, key=KEYS, batch_size=8))
    assert_same(rest[-1][1], whole[-1][1])
    assert_same(rest[-1][2]["loss"], whole[-1][2]["loss"])


def test_warm_up_and_update_start(alone):
    made, begun = replay(), learner()
    rounds = train(*alone, made, steps=20, learner_=begun, warmup=6, update_after=10)
    assert [int(after.step) for _, after, _ in rounds] == [0] * 5 + list(range(2, 11, 2))
    assert rounds[4][2] == {}
    assert_same(rounds[4][1], begun)
    uniform = made.state(0).action[:6]
    assert len(np.unique(uniform)) == uniform.size
    other = replay()
    train(*alone, other, steps=20, learner_=learner(jax.random.key(8)), warmup=6, update_after=10)
    np.testing.assert_array_equal(other.state(0).action[:6], uniform)  # whoever would have acted
    assert np.any(other.state(0).action[6:] != made.state(0).action[6:])


def test_only_termination_stops_the_bootstrap():
    grid = np.zeros((1, 3))
    step = Step(
        observation=np.zeros((1, 3, 2), np.float32),
        action=np.zeros((1, 3, 2), np.float32),
        reward=grid,
        next_observation=np.ones((1, 3, 2), np.float32),
        terminated=np.array([[False, True, False]]),
        truncated=np.array([[False, False, True]]),
        success=grid,
        episode_return=grid,
        episode_length=grid,
        episode_success=grid,
    )
    batch = step_batch(step)
    assert batch.mask.tolist() == [[1.0, 0.0, 1.0]]
    assert batch.mask.dtype == batch.reward.dtype == np.float32


def test_a_seed_whose_numbers_are_not_finite_does_not_disturb_the_others(together):
    """Its metrics say so, its environment rests, and its sibling trains as if nothing was."""
    begun = learner(KEYS)
    broken = eqx.tree_at(
        lambda learner: learner.agent.field.network.layers[0].bias,
        begun,
        replace_fn=lambda bias: bias.at[0].set(jnp.nan),
    )
    made, other = replay(seeds=2), replay(seeds=2)
    rounds = train(*together, made, steps=6, key=KEYS, learner_=broken)
    expected = train(*together, other, steps=6, key=KEYS, learner_=begun)
    assert np.isnan(rounds[0][2]["flow_loss"][0])
    assert_same(rounds[-1][1].seed(1), expected[-1][1].seed(1))
    assert not made.state(0).action.any()


def test_refuses(together, alone):
    actors, _ = together
    for settings, message in [
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"updates_per_step": 0}, "updates_per_step must be at least 1, got 0"),
        ({"warmup": -1}, "warmup must be at least 0, got -1"),
    ]:
        with pytest.raises(ValueError, match=message):
            next(train_online(learner(KEYS), replay(seeds=2), actors, steps=1, key=KEYS, **settings))
    with pytest.raises(ValueError, match=r"A learner of shape \(\) needs keys of that shape, got \(2,\)"):
        next(train_online(learner(), replay(), actors, steps=1, key=KEYS))
    with pytest.raises(ValueError, match=r"of 1 seed\(s\) needs as many actors and as much replay, got 2 and 1"):
        next(train_online(learner(), replay(), actors, steps=1, key=KEY))
    other = Learner.create(agent_config(width=8, depth=1), deflow.Spec((7,), 2), key=KEY)
    with pytest.raises(ValueError, match=r"observations of shape \(7,\), but the environment's have shape \(2,\)"):
        next(train_online(other, replay(), alone[0], steps=1, key=KEY))


# --- the flow as a fixed anchor


def test_frozen_field_is_moved_by_nothing():
    """Neither a gradient nor the momentum it had; all else trains as it would beside a field that stands still."""
    trained = list(train_offline(learner(), DATA, steps=5, key=KEY, batch_size=8))[-1][1]
    frozen = trained.freeze_field()
    rounds = list(train_offline(frozen, DATA, steps=15, key=KEY, batch_size=8))
    after, metrics = rounds[-1][1:]
    assert_same(after.agent.field, trained.agent.field)
    assert "flow_loss" not in metrics
    for before, now in zip(jax.tree.leaves(trained.agent.refiner), jax.tree.leaves(after.agent.refiner), strict=True):
        assert np.any(before != now)
    moments, kept = after.optimizer_state[0].mu, trained.optimizer_state[0].mu
    assert_same(moments.field, kept.field)
    assert np.any(moments.refiner.network.layers[0].weight != kept.refiner.network.layers[0].weight)
    assert after.optimizer_state[0].count == 15


def test_freezing_keeps_the_layout():
    """Of the optimizer and so of a checkpoint: paths, shapes and types are the same."""
    from deflow.runs.pytrees import describe, flatten

    begun = TrainingState(learner(), KEY)
    frozen = dataclasses.replace(begun, learner=begun.learner.freeze_field())
    layouts = [{name: describe(leaf) for name, leaf in flatten(state).items()} for state in (begun, frozen)]
    assert layouts[0] == layouts[1]


def test_the_first_frozen_update_moves_the_rest_as_the_unfrozen_one():
    begun, batch = learner(), DATA[:8].on_device()
    update = eqx.filter_jit(lambda learner: learner.update(batch, key=KEY)[0])
    one, other = update(begun), update(begun.freeze_field())
    for part in ("refiner", "critic", "constraint"):
        ends = (eqx.filter(getattr(learner.agent, part), eqx.is_array) for learner in (one, other))
        for left, right in zip(*map(jax.tree.leaves, ends), strict=True):
            np.testing.assert_allclose(left, right, rtol=1e-5, atol=1e-7)


def test_a_frozen_field_is_not_differentiated():
    """Its matching loss is not in the traced program, and nothing with the field's shapes is a gradient."""
    stubs.CALLS.update(velocity=0, encode=0)
    made = agent_config(
        width=8, depth=1, solver=solvers.Euler(steps=2), field=stubs.CountingFieldConfig(), critic=critics.NoCritic()
    )
    none = {"trust_region": deflow.trust_regions.NoTrustRegion(), "constraint": deflow.constraints.NoConstraint()}
    made = dataclasses.replace(made, refiner=deflow.refiners.NoRefiner(), **none)
    begun = Learner.create(made, SPEC, DATA, key=KEY)
    batch = DATA[:8].on_device()
    stubs.CALLS.update(velocity=0)
    eqx.filter_eval_shape(lambda: begun.update(batch, key=KEY))
    assert stubs.CALLS["velocity"] > 0
    stubs.CALLS.update(velocity=0)
    eqx.filter_eval_shape(lambda: begun.freeze_field().update(batch, key=KEY))
    assert stubs.CALLS["velocity"] == 0


def test_a_flow_that_its_refiner_trains_cannot_be_frozen():
    with pytest.raises(ValueError, match="the refiner ThroughSolver trains the flow itself"):
        learner(refiner="through-solver", trust_region="none", constraint="none").freeze_field()

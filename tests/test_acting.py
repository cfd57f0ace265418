"""Acting and training as a user calls them: compiled once per structure, checked, and the same numbers as inside."""

import dataclasses
import gc
import warnings

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import deflow
from deflow import agent_config, train_offline
from deflow.agent import acting
from deflow.errors import DeflowWarning
from deflow.testing import example_data
from deflow.training import updates

SPEC = deflow.Spec(observation_shape=(3,), action_size=2)
KEY = jax.random.key(5)


def agent(seed=0, spec=SPEC, **parts):
    config = agent_config(width=8, depth=1, solver="euler", **parts)
    return config.build(spec, example_data(spec), key=jax.random.key(seed))


@pytest.mark.parametrize("row", ["deflow", "fql", "bfn", "flow-bc"])
def test_one_observation_and_a_batch_are_acted_on_as_inside_a_program(row):
    config = agent_config(row, width=8, depth=1)
    policy = config.build(SPEC, example_data(), key=jax.random.key(0))
    observations = example_data().observation[:4]
    one = policy(observations[0], key=KEY)
    assert one.shape == (2,)
    np.testing.assert_allclose(one, jax.jit(lambda o, k: policy(o, key=k))(observations[0], KEY), atol=1e-6)
    np.testing.assert_allclose(one, policy.act(jnp.asarray(observations[0]), key=KEY), atol=1e-6)
    batch = policy(observations, key=KEY)
    keys = jax.random.split(KEY, 4)
    alone = [policy(o, key=k) for o, k in zip(observations, keys, strict=True)]
    np.testing.assert_allclose(batch, alone, atol=1e-6)


def test_agents_of_one_structure_share_a_program_and_nothing_outlives_them():
    policies = [agent(seed, candidates=3) for seed in range(3)]  # no other test has three
    actions = [np.asarray(policy(np.zeros(3, np.float32), key=KEY)) for policy in policies]
    (program,) = {acting._prepared[id(policy)][0] for policy in policies}
    assert program._cache_size() == 1
    assert len({action.tobytes() for action in actions}) == 3
    other = agent(3, candidates=4)
    other(np.zeros(3, np.float32), key=KEY)
    assert acting._prepared[id(other)][0] is not program
    known = len(acting._prepared)
    del policies
    gc.collect()
    assert len(acting._prepared) <= known - 3


def test_numbers_of_other_types_are_converted():
    policy, observation = agent(), [0.5, -1.0, 2.0]
    wanted = policy(np.asarray(observation, np.float32), key=KEY)
    for given in (observation, np.asarray(observation), jnp.asarray(observation)):
        np.testing.assert_array_equal(policy(given, key=KEY), wanted)
    np.testing.assert_array_equal(policy(np.asarray([1, 0, 2]), key=KEY), policy(np.float32([1, 0, 2]), key=KEY))


@pytest.mark.parametrize(
    ("observation", "words"),
    [
        (np.zeros(4), r"observations of shape \(3,\) or a batch \(B, 3\), got the shape \(4,\)"),
        (np.zeros((2, 5, 3)), r"got the shape \(2, 5, 3\)"),
        (0.0, r"got the shape \(\)"),
        (np.asarray(["a", "b", "c"]), "of type float32, got <U1"),
    ],
)
def test_other_observations_are_refused_in_one_sentence(observation, words):
    with pytest.raises(ValueError, match=words) as caught:
        acting.act(agent(), observation, KEY)
    assert "\n" not in str(caught.value)


def test_pixels_are_not_converted():
    policy = dataclasses.replace(agent(), spec=deflow.Spec((2, 2, 1), 2, "uint8"))
    with pytest.raises(ValueError, match="of type uint8, got float32"):
        acting.act(policy, np.zeros((2, 2, 1), np.float32), KEY)


@pytest.mark.parametrize(("key", "words"), [(0, "got 0"), (jax.random.PRNGKey(0), "old-style keys")])
def test_keys_are_refused(key, words):
    with pytest.raises(TypeError, match=words):
        acting.act(agent(), np.zeros(3, np.float32), key)


# --- training


def learner(seed=0, **parts):
    return deflow.Learner.create(agent_config(width=8, depth=1, **parts), SPEC, key=jax.random.key(seed))


def trained(start, steps, key=KEY, **options):
    made = [start]
    for _, after, _ in train_offline(start, example_data(), steps=steps, key=key, batch_size=4, **options):
        made.append(after)
    return made[-1]


def test_training_again_compiles_nothing_and_gives_the_same_numbers():
    first = trained(learner(), 6, updates_per_dispatch=3)
    again = trained(learner(), 6, updates_per_dispatch=2)
    assert eqx.tree_equal(first, again)
    trained(learner(1), 3)
    assert program_of(learner()) is program_of(learner(1)) is not program_of(learner(solver="heun"))
    assert program_of(learner())._cache_size() == 1


def program_of(start):
    return updates.FusedUpdates(start, batch_size=4, precision="float32")._program


def test_training_that_has_nothing_to_do_says_so_where_it_was_called():
    end = trained(learner(), 4)
    with pytest.warns(DeflowWarning, match="4 updates have already been made, and steps=4 is the total"):
        assert trained(end, 4) is end
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trained(end, 5)


def test_a_loaded_learner_trains_on_as_if_there_had_been_no_break(tmp_path):
    start = learner()
    run = deflow.Run.create(
        tmp_path,
        environment="e",
        algorithm="deflow",
        seed=0,
        config={
            "agent": deflow.agent.describe_agent(agent_config(width=8, depth=1)),
            "spec": deflow.agent.describe_spec(SPEC),
            "learning_rate": 3e-4,
        },
    )
    whole = trained(start, 9)
    run.save(4, trained(start, 4))
    back, step = deflow.load_learner(run.path)
    assert step == 4
    assert eqx.tree_equal(trained(back, 9), whole)


class Typed(deflow.solvers.AbstractSolver):
    """A solver that acts by its static field's type and sign, which `==` does not see."""

    gain: object = eqx.field(static=True, default=1)

    def __call__(self, velocity, noise):
        return jnp.full_like(noise, float(np.copysign(0.5 if isinstance(self.gain, int) else 0.25, self.gain)))


def test_programs_are_not_shared_by_what_is_equal_and_not_the_same():
    policies = [agent_of(Typed(gain)) for gain in (1, 1.0, -1.0, 0.0, -0.0)]
    actions = [float(policy(np.zeros(3, np.float32), key=KEY)[0]) for policy in policies]
    assert actions == [0.5, 0.25, -0.25, 0.25, -0.25]


@pytest.mark.parametrize("gain", [np.ones(2), [1.0], {"a": 1.0}])
def test_static_fields_that_cannot_be_compared_get_programs_of_their_own(gain):
    class Anything(Typed):
        def __call__(self, velocity, noise):
            return noise * 0

    policies = [agent_of(Anything(gain)) for _ in range(2)]
    for policy in policies:
        assert policy(np.zeros(3, np.float32), key=KEY).shape == (2,)


def agent_of(solver):
    return dataclasses.replace(agent_config("flow-bc", width=8, depth=1).build(SPEC, key=KEY), solver=solver)

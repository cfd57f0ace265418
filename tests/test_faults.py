"""Where training went wrong: the very update, and the first term or parameter."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small import SPEC

from deflow import Learner, agent_config, solvers, train_offline
from deflow.testing import example_data
from deflow.training.faults import Fault, first_faults, metric_faults, parameter_faults

KEY = jax.random.key(5)


def learner(key=KEY):
    config = agent_config(width=8, depth=1, solver=solvers.Euler(steps=2))
    return Learner.create(config, SPEC, key=key)


def test_the_first_term_in_the_order_of_the_loss():
    metrics = {
        "loss": np.array([np.nan, 1.0, np.inf]),
        "critic_loss": np.array([0.5, 1.0, np.inf]),
        "flow_loss": np.array([np.nan, 1.0, np.nan]),
    }
    faults = metric_faults(7, metrics, 3)
    assert {seed: (fault.step, fault.term) for seed, fault in faults.items()} == {
        0: (7, "flow_loss"),
        2: (7, "critic_loss"),
    }
    assert str(faults[2]) == "critic_loss is not finite (inf) at update 7"
    assert metric_faults(7, {"loss": np.asarray(np.nan, np.float32)}, 1)[0].term == "loss"


def test_parameters_of_one_seed_and_of_several():
    broken = eqx.tree_at(lambda learner: learner.agent.refiner.network.layers[1].weight, learner(), replace_fn=_spoil)
    (fault,) = parameter_faults(3, broken).values()
    assert (fault.step, fault.term) == (3, "refiner.network.layers[1].weight")
    assert parameter_faults(3, learner()) == {}
    keys = jax.random.split(KEY, 3)
    several = eqx.tree_at(
        lambda learner: learner.agent.critic.members.network.layers[0].bias,
        learner(keys),
        replace_fn=lambda bias: bias.at[1, 0, 2].set(jnp.inf),
    )
    assert parameter_faults(4, several) == {1: Fault(4, "critic.members.network.layers[0].bias", np.inf)}


def test_a_target_is_no_parameter():
    broken = eqx.tree_at(
        lambda learner: learner.agent.critic.target.value.network.layers[0].weight, learner(), replace_fn=_spoil
    )
    assert parameter_faults(1, broken) == {}


@pytest.mark.parametrize("bad", [3, 17])
def test_the_update_in_which_a_dispatch_went_wrong(bad):
    """A transition that is not a number, drawn first in a certain update: found by making the dispatch again."""
    data = example_data(SPEC, 400)
    draws = _draws(data, 30)
    row = next(
        row for row in draws[bad] if all(row not in earlier for earlier in draws[:bad])
    )  # drawn in that update for the first time
    reward = np.array(data.reward)
    reward[row] = np.nan
    data = dataclasses.replace(data, reward=reward)

    def updates(per_dispatch):
        return train_offline(learner(), data, steps=30, key=KEY, batch_size=4, updates_per_dispatch=per_dispatch)

    (_, _, metrics), *_ = updates(30)
    assert np.isnan(metrics["critic_loss"])
    again = updates(1)
    fault = first_faults(again, 1, last=20)[0]
    assert (fault.step, fault.term) == (bad + 1, "critic_loss")
    assert next(again)[0] == 21  # those after the dispatch are not made again


def _draws(data, updates):
    from deflow.replay import Dataset
    from deflow.training.updates import batch_key

    numbered = dataclasses.replace(data, reward=np.arange(len(data), dtype=np.float32)).on_device()
    draw = jax.jit(lambda update: Dataset(numbered).sample(4, update, key=batch_key(KEY, update)).reward)
    return [np.asarray(draw(jnp.asarray(update))).astype(int).tolist() for update in range(updates)]


def _spoil(leaf):
    return leaf.at[(0,) * leaf.ndim].set(jnp.nan)

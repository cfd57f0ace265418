"""One encoder in front of each part: a critic's members share theirs, and a solve looks at an observation once."""

import dataclasses

import equinox as eqx
import jax
import jax.extend.core
import jax.numpy as jnp
import numpy as np
import pytest
from small import SPEC, small

import deflow
from deflow import agent_config, critics, encoders
from deflow.errors import CheckpointError
from deflow.runs import Run
from deflow.testing import example_context, example_data
from deflow.types import Fixed, build, trainable

KEY = jax.random.key(0)
BATCH = 5
COUNTS = {"ensemble": (1, 2), "categorical": (1, 2), "flow": (1, 3), "expectile": (1, 4), "noise-conditioned": (2, 4)}
"""Encodings in `value`, and in `loss`: of s and of s', by each of a critic's encoders and their targets."""


class Sinh(encoders.AbstractEncoder):
    """An encoder with something to train, which can be recognised: nothing else in deflow calls `sinh`."""

    scale: jax.Array

    def __call__(self, observation):
        return jnp.sinh(self.scale * jnp.ravel(observation))


class SinhConfig(encoders.AbstractEncoderConfig):
    def build(self, context, *, key):
        return Sinh(jax.random.uniform(key, context.spec.observation_shape, minval=0.5))


def encodings(jaxpr, in_loop=False):
    """(shape of the features, whether it is in a loop) of each encoding in a program."""
    for equation in jaxpr.eqns:
        if equation.primitive.name == "sinh":
            yield equation.outvars[0].aval.shape, in_loop
        for value in jax.tree.leaves(list(equation.params.values()), is_leaf=lambda leaf: hasattr(leaf, "eqns")):
            inner = getattr(value, "jaxpr", value)
            if isinstance(inner, jax.extend.core.Jaxpr):
                yield from encodings(inner, in_loop or equation.primitive.name in ("scan", "while"))


def program(function, *trees):
    """The jaxpr of a function of trees that also hold what is no array."""
    arrays, rest = eqx.partition(trees, eqx.is_array)
    return jax.make_jaxpr(lambda arrays: eqx.filter(function(*eqx.combine(arrays, rest)), eqx.is_array))(arrays).jaxpr


@pytest.mark.parametrize("name", [name for name in critics.registry if name != "none"])
def test_members_share_an_encoder(name):
    """It is one set of arrays, is called once for all members, and is trained by all of them."""
    context = dataclasses.replace(example_context(), encoder=SinhConfig())
    critic = small(critics.registry.member(name), members=3).build(context, key=KEY)
    data = example_data(SPEC, BATCH)
    assert {leaf.scale.shape for leaf in encoders_in(critic)} == {(3,)}
    assert critic.members.network.layers[0].weight.shape[0] == 3
    observation, action = jnp.asarray(data.observation[0]), jnp.asarray(data.action[0])
    found = list(encodings(program(lambda critic: critic.value(observation, action), critic)))
    assert found == [((3,), False)] * COUNTS[name][0]

    def loss(critic):
        return critic.loss(data[0], jnp.zeros((critic.next_actions, 2)), key=KEY)[0]

    found = list(encodings(program(loss, critic)))
    assert found == [((3,), False)] * COUNTS[name][1]
    arrays, rest = eqx.partition(critic, trainable(critic))
    slopes = jax.grad(lambda arrays: loss(eqx.combine(arrays, rest)))(arrays)
    assert all(np.all(leaf.scale != 0) for leaf in encoders_in(slopes) if leaf.scale is not None)


def encoders_in(tree):
    leaves = jax.tree.leaves(tree, is_leaf=lambda node: isinstance(node, Sinh))
    return [leaf for leaf in leaves if isinstance(leaf, Sinh)]


@pytest.mark.parametrize("algorithm", ["deflow", "deflow-flow-critic", "fql", "fbrac", "bfn", "fan"])
def test_no_observation_is_encoded_twice_in_a_solve(algorithm):
    """Neither in acting nor in an update is there an encoding in a solver's loop, for each member or candidate."""
    config = agent_config(algorithm, width=8, depth=1, encoder=SinhConfig())
    agent = config.build(SPEC, example_data(), key=KEY)
    observation = jnp.zeros(3)
    acting = list(encodings(program(lambda agent: agent.act(observation, key=KEY), agent)))
    asked = ["field"] * agent.acting_solves + ["refiner"] * bool(encoders_in(agent.refiner))
    asked += ["critic"] * (agent.candidates > 1)
    assert acting == [((3,), False)] * len(asked)
    batch = deflow.types.Batch(
        jnp.zeros((BATCH, 3)),
        jnp.zeros((BATCH, agent.action_size)),
        *[jnp.zeros(BATCH)] * 2,
        jnp.zeros((BATCH, 3)),
    )
    update = list(encodings(program(lambda agent: agent.loss(batch, key=KEY), agent)))
    assert {shape for shape, _ in update} <= {(BATCH, 3), (2 * BATCH, 3)}
    assert not any(in_loop for _, in_loop in update)


def test_a_checkpoint_with_an_encoder_for_each_member_loads(tmp_path):
    """As members had them before: copies of one become that one, and encoders that differ are refused."""
    context = dataclasses.replace(example_context(data=example_data()), encoder=encoders.StandardizeConfig())
    critic = build(small(critics.EnsembleCriticConfig()), context, key=KEY)
    run = Run.create(tmp_path, environment="e", algorithm="a", seed=0, config={})

    def each_with_its_own(encoder, spread=0.0):
        return jax.tree.map(lambda leaf: jnp.stack([leaf, leaf + spread]), encoder)

    parts = lambda critic: (critic.members.encoder, critic.target.value.encoder)  # noqa: E731
    run.save(1, {"critic": eqx.tree_at(parts, critic, [each_with_its_own(part) for part in parts(critic)])})
    like = eqx.filter_eval_shape(lambda: {"critic": critic})
    restored, _, _ = run.checkpoints.restore(like)
    assert eqx.tree_equal(restored["critic"], critic)
    run.save(2, {"critic": eqx.tree_at(parts, critic, [each_with_its_own(part, 1.0) for part in parts(critic)])})
    with pytest.raises(CheckpointError, match=r"members\.encoder\.mean\.value: \(2, 3\) float32 in the checkpoint"):
        run.checkpoints.restore(like)
    assert isinstance(critic.members.encoder.mean, Fixed)

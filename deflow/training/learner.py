"""What training moves: an agent, its optimizer's state, and the number of updates made."""

import dataclasses
from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int, Key

from ..agent import Agent, AgentConfig, Metrics
from ..keys import named_key
from ..types import Batch, Spec, trainable


class Learner(eqx.Module):
    """An agent in training: one Adam over every trainable array, the multiplier included.

    Several seeds are one learner whose arrays have a further first axis: see `create`.
    """

    agent: Agent
    optimizer_state: optax.OptState
    step: Int[Array, "*seeds"]
    learning_rate: float

    @classmethod
    def create(
        cls,
        config: AgentConfig,
        spec: Spec,
        data: Batch | None = None,
        *,
        learning_rate: float = 3e-4,
        key: Key[Array, "*seeds"],
    ) -> "Learner":
        """A learner at step 0. A vector of keys gives that many seeds, which are then trained in one program."""
        if not learning_rate > 0:
            raise ValueError(f"learning_rate must be positive, got {learning_rate}.")

        def one(key: Key[Array, ""]) -> Learner:
            agent = config.build(spec, data, key=named_key(key, "agent"))
            state = optax.adam(learning_rate).init(eqx.filter(agent, trainable(agent)))
            return cls(agent, state, jnp.zeros((), jnp.int32), learning_rate)

        return one(key) if key.ndim == 0 else eqx.filter_vmap(one)(key)

    @property
    def seeds(self) -> int | None:
        """How many seeds are trained together; None where the arrays have no axis for them."""
        return None if self.step.ndim == 0 else self.step.shape[0]

    @property
    def parameters(self) -> int:
        """How many numbers are trained, per seed."""
        arrays = jax.tree.leaves(eqx.filter(self.agent, trainable(self.agent)))
        return sum(array.size for array in arrays) // (self.seeds or 1)

    def seed(self, index: int) -> "Learner":
        """One of the seeds that are trained together, as a learner of its own; a lone learner itself."""
        if self.seeds is None:
            return self
        return jax.tree.map(lambda leaf: leaf[index] if eqx.is_array(leaf) else leaf, self)

    @classmethod
    def stack(cls, learners: Sequence["Learner"]) -> "Learner":
        """Learners of one seed each as one of several: the inverse of `seed`."""
        return jax.tree.map(lambda *leaves: jnp.stack(leaves) if eqx.is_array(leaves[0]) else leaves[0], *learners)

    def freeze_field(self) -> "Learner":
        """The learner with the flow as a fixed anchor: no gradient and no momentum moves the field, and nothing is
        spent on it. The optimizer's state keeps its layout, with the field's entries as they are.

        Raises:
            ValueError: Where the refiner trains the flow itself.
        """
        if self.agent.gradient_enters_solver:
            raise ValueError(
                f"The field cannot be frozen: the refiner {type(self.agent.refiner).__name__} trains the flow itself. "
                "Leave --freeze out, or choose another refiner."
            )
        return dataclasses.replace(self, agent=dataclasses.replace(self.agent, field_frozen=True))

    def update(self, batch: Batch, *, key: Key[Array, ""]) -> tuple["Learner", Metrics]:
        """One gradient step on one batch, then the targets. For one seed: `jax.vmap` it over several."""
        moved = self.agent.trained()
        parameters, rest = eqx.partition(self.agent, moved)

        def loss(parameters):
            return eqx.combine(parameters, rest).loss(batch, key=key)

        gradients, metrics = jax.grad(loss, has_aux=True)(parameters)
        state, kept = _split(self.optimizer_state, moved)
        with jax.numpy_dtype_promotion("standard"):  # optax multiplies by Python and integer scalars
            updates, state = optax.adam(self.learning_rate).update(gradients, state)
        agent = eqx.combine(eqx.apply_updates(parameters, updates), rest).advance(metrics)
        return Learner(agent, eqx.combine(state, kept), self.step + 1, self.learning_rate), metrics


def _split(state: optax.OptState, moved: Agent) -> tuple[optax.OptState, optax.OptState]:
    """The optimizer's state of what is moved, and the rest of it: its averages are trees like the agent."""

    def is_average(node):
        return isinstance(node, Agent)

    pairs = [
        eqx.partition(node, moved) if is_average(node) else (node, None)
        for node in jax.tree.leaves(state, is_leaf=is_average)
    ]
    structure = jax.tree.structure(state, is_leaf=is_average)
    return tuple(jax.tree.unflatten(structure, part) for part in zip(*pairs, strict=True))

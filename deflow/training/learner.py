"""What training moves: an agent, its optimizer's state, and the number of updates made."""

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int, Key

from ..agent import Agent, Metrics
from ..composition import AgentConfig
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

    def update(self, batch: Batch, *, key: Key[Array, ""]) -> tuple["Learner", Metrics]:
        """One gradient step on one batch, then the targets. For one seed: `jax.vmap` it over several."""
        parameters, rest = eqx.partition(self.agent, trainable(self.agent))

        def loss(parameters):
            return eqx.combine(parameters, rest).loss(batch, key=key)

        gradients, metrics = jax.grad(loss, has_aux=True)(parameters)
        with jax.numpy_dtype_promotion("standard"):  # optax multiplies by Python and integer scalars
            updates, state = optax.adam(self.learning_rate).update(gradients, self.optimizer_state)
        agent = eqx.combine(eqx.apply_updates(parameters, updates), rest).advance(metrics)
        return Learner(agent, state, self.step + 1, self.learning_rate), metrics


def sample(data: Batch, size: int, *, key: Key[Array, ""]) -> Batch:
    """`size` transitions drawn uniformly with replacement."""
    return data[jax.random.randint(key, (size,), 0, len(data))]

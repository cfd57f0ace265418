"""The learner: an agent, its optimizer's state, and the number of updates made."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jax.core import Tracer
from jaxtyping import Array, Int, Key

from ..agent import Agent, AgentConfig, Metrics, describe_agent
from ..agent.skeleton import Skeleton
from ..errors import RegistrationWarning, UnknownNameError, warn
from ..keys import check_key, named_key
from ..types import Batch, Spec, check_number, trainable
from .layouts import row


class Learner(eqx.Module):
    """An agent in training, with one Adam optimizer for all trained arrays, including the multiplier.

    Several seeds are one learner whose arrays have a further first axis: see `create`.
    """

    agent: Agent
    optimizer_state: optax.OptState
    step: Int[Array, "*seeds"]
    learning_rate: float
    decay_steps: int | None = None
    """Updates over which the learning rate falls to 0, along half a cosine; constant if not given."""

    @classmethod
    def create(
        cls,
        config: AgentConfig,
        spec: Spec,
        data: Batch | None = None,
        *,
        learning_rate: float = 3e-4,
        decay_steps: int | None = None,
        key: Key[Array, "*seeds"],
    ) -> "Learner":
        """A learner at step 0. A vector of keys creates that many seeds, which are trained in one program.

        With `decay_steps`, the learning rate falls to 0 over so many updates, along half a cosine.

        A part that is not registered causes a `RegistrationWarning`: no run can record it.
        """
        check_key(key)
        for name, value, wanted in (("config", config, AgentConfig), ("data", data, Batch)):
            if value is not None and not isinstance(value, wanted):
                raise TypeError(refusal("Learner.create", name, value))
        rate = checked_rate(learning_rate)
        check_number("Learner.create", "decay_steps", decay_steps, int | None)
        if decay_steps is not None and decay_steps < 1:
            raise ValueError(f"decay_steps must be at least 1, got {decay_steps}.")

        def one(key: Key[Array, ""]) -> Learner:
            agent = config.build(spec, data, key=named_key(key, "agent"))
            state = optax.adam(rate).init(eqx.filter(agent, trainable(agent)))
            return cls(agent, state, jnp.zeros((), jnp.int32), rate, decay_steps)

        try:
            describe_agent(config)
        except UnknownNameError as error:
            warn(
                f"{error} This agent can be trained, but not saved in a run until it is registered.",
                RegistrationWarning,
            )
        return one(key) if key.ndim == 0 else eqx.filter_vmap(one)(key)

    def __repr__(self) -> str:
        step = self.step if isinstance(self.step, Tracer) else jnp.asarray(self.step).tolist()
        return f"Learner(step={step}, learning_rate={self.learning_rate}, agent={self.agent!r})"

    @property
    def seeds(self) -> int | None:
        """How many seeds are trained together; None if the arrays have no axis for them."""
        return None if self.step.ndim == 0 else self.step.shape[0]

    @property
    def parameters(self) -> int:
        """Number of trained parameters, per seed."""
        arrays = jax.tree.leaves(eqx.filter(self.agent, trainable(self.agent)))
        return sum(array.size for array in arrays) // (self.seeds or 1)

    def seed(self, index: int) -> "Learner":
        """One of the seeds that are trained together, as its own learner. A learner of one seed returns itself.

        Raises:
            IndexError: If there is no such seed.
        """
        if not 0 <= index < (self.seeds or 1):
            raise IndexError(f"This learner has {self.seeds or 1} seeds, counted from 0: there is no seed {index}.")
        if self.seeds is None:
            return self
        return jax.tree.map(lambda leaf: row(leaf, index) if eqx.is_array(leaf) else leaf, self)

    @property
    def agents(self) -> list[Agent]:
        """The agent of each seed."""
        return [self.seed(index).agent for index in range(self.seeds or 1)]

    @classmethod
    def stack(cls, learners: Sequence["Learner"]) -> "Learner":
        """Combines learners of one seed each into one of several: the inverse of `seed`."""
        return jax.tree.map(lambda *leaves: jnp.stack(leaves) if eqx.is_array(leaves[0]) else leaves[0], *learners)

    def freeze_field(self, frozen: bool = True) -> "Learner":
        """The learner with a frozen flow: the field is no longer trained, and nothing is computed for it. The
        optimizer's state keeps its layout, with the field's entries unchanged; with `frozen` False it is trained again.

        Raises:
            ValueError: If the refiner trains the flow itself.
        """
        if frozen and self.agent.gradient_enters_solver:
            raise ValueError(
                f"The field cannot be frozen: the refiner {type(self.agent.refiner).__name__} trains the flow itself: "
                "choose another refiner, or let the field train."
            )
        return dataclasses.replace(self, agent=dataclasses.replace(self.agent, field_frozen=frozen))

    def with_behaviour(self, behaviour: Agent | Sequence[Agent]) -> "Learner":
        """The learner with another agent's flow, frozen; for several seeds, with one that all share or one for each.

        The behaviour can be learned once, and then serve many critics, refiners, trust regions and tasks.

        Raises:
            ValueError: If the agent was built for another field or solver, or if its refiner trains the flow itself.
        """
        behaviours: list[Any] = list(behaviour) if isinstance(behaviour, list | tuple) else [behaviour]
        if len(behaviours) not in (1, self.seeds or 1):
            raise ValueError(
                f"A learner of {self.seeds or 1} seed(s) needs one behaviour, or one for each seed, got "
                f"{len(behaviours)}."
            )
        own = self.seed(0).agent
        for given in behaviours:
            if not isinstance(given, Agent):
                raise TypeError(f"with_behaviour takes agents, such as learner.agent, got {type(given).__name__}.")
            if given.chunk != own.chunk:
                raise ValueError(
                    f"The behaviour makes chunks of {given.chunk} action(s), and the learner's agent of {own.chunk}: "
                    f"configure it with chunk={given.chunk}, or give another behaviour."
                )
            for name in ("field", "solver"):
                if _kind(getattr(given, name)) != _kind(getattr(own, name)):
                    raise ValueError(
                        f"The behaviour's {name} is {_named(getattr(given, name))}, and the learner was created with "
                        f"{_named(getattr(own, name))}: create it with the configuration of the behaviour's {name}."
                    )
        fields = [given.field for given in behaviours] * ((self.seeds or 1) // len(behaviours))
        field = fields[0] if self.seeds is None else jax.tree.map(_stacked, *fields)
        return dataclasses.replace(self, agent=dataclasses.replace(self.agent, field=field)).freeze_field()

    def update(self, batch: Batch, *, key: Key[Array, ""]) -> tuple["Learner", Metrics]:
        """One gradient step on one batch, then the targets move. For one seed; use `jax.vmap` for several."""
        moved = self.agent.trained()
        parameters, rest = eqx.partition(self.agent, moved)

        def loss(parameters):
            return eqx.combine(parameters, rest).loss(batch, key=key)

        gradients, metrics = jax.grad(loss, has_aux=True)(parameters)
        state, kept = _split(self.optimizer_state, moved)
        with jax.numpy_dtype_promotion("standard"):  # optax multiplies by Python and integer scalars
            updates, state = optax.adam(self.learning_rate).update(gradients, state)
            if self.decay_steps is not None:
                factor = optax.cosine_decay_schedule(1.0, self.decay_steps)(self.step)
                updates = jax.tree.map(lambda update: factor * update, updates)
        agent = eqx.combine(eqx.apply_updates(parameters, updates), rest).advance(metrics)
        return dataclasses.replace(
            self, agent=agent, optimizer_state=eqx.combine(state, kept), step=self.step + 1
        ), metrics


def _kind(part: Any) -> Any:
    """What two parts must have in common for one to take the other's place."""
    arrays, rest = eqx.partition(part, eqx.is_array)
    return Skeleton(rest), [(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(arrays)]


def _named(part: Any) -> str:
    shapes = [str(leaf.shape) for leaf in jax.tree.leaves(part) if eqx.is_array(leaf)]
    return f"{type(part).__name__} of {' '.join(shapes)}" if shapes else repr(part)


def _stacked(*leaves: Any) -> Any:
    return jnp.stack(leaves) if eqx.is_array(leaves[0]) else leaves[0]


def refusal(function: str, name: str, value: Any) -> str:
    """The sentence for an argument of another type."""
    wanted = {"config": "deflow.agent_config(...)", "data": "transitions, such as task.train", "learner": "a Learner"}
    got = repr(value) if isinstance(value, str) else type(value).__name__
    return f"{function}: {name} must be {wanted[name]}, got {got}."


def checked_rate(learning_rate: Any) -> float:
    """A learning rate as a Python number.

    Raises:
        ValueError: If it is no positive finite number.
    """
    check_number("Learner.create", "learning_rate", learning_rate, float)
    if not 0 < learning_rate < math.inf:
        raise ValueError(f"learning_rate must be positive and finite, got {learning_rate}.")
    return float(learning_rate)


def _split(state: optax.OptState, moved: Agent) -> tuple[optax.OptState, optax.OptState]:
    """Splits the optimizer's state, whose averages are trees like the agent, into what is trained and the rest."""

    def is_average(node):
        return isinstance(node, Agent)

    pairs = [
        eqx.partition(node, moved) if is_average(node) else (node, None)
        for node in jax.tree.leaves(state, is_leaf=is_average)
    ]
    structure = jax.tree.structure(state, is_leaf=is_average)
    return tuple(jax.tree.unflatten(structure, part) for part in zip(*pairs, strict=True))

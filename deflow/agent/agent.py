"""The agent, composed of small parts. This module knows the abstract kinds of part, not their members.

    field x solver x refiner x trust region x constraint x critic   (and an encoder before each network)

The flow (field and solver) carries noise to a proposal, the refiner displaces it, the constraint keeps the displacement
within the trust region, and the critic estimates which actions are better (arXiv 2601.10471).
"""

import dataclasses
import math
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, Int, Key

from ..augmentations.base import AbstractAugmentation
from ..augmentations.none import NoAugmentation
from ..blocks import in_blocks
from ..constraints.base import AbstractConstraint, AbstractHardConstraint
from ..critics.base import AbstractCritic, AbstractInquiringCritic, AbstractStochasticCritic
from ..data.chunks import chunk_rows, chunked
from ..data.n_step import last_rows, n_step_returns
from ..fields.base import AbstractField
from ..keys import named_key
from ..refiners.base import (
    AbstractDirectRefiner,
    AbstractLearnedRefiner,
    AbstractRefiner,
    AbstractThroughSolverRefiner,
    Inquiry,
)
from ..replay.images import has_images
from ..solvers.base import AbstractSolver
from ..trust_regions.base import AbstractFlowRegion, AbstractTrustRegion
from ..types import Action, Batch, Features, Observation, Scalar, Spec, trainable
from .acting import act
from .measuring import origins, projected, shaped, size_of
from .proposing import Proposed, chosen, held, solved
from .summary import summary

Metrics = dict[str, Scalar]
"""What a loss reports, by name."""

_SMALLEST_SCALE = 1e-6  # guards the division by mean |q|


class Agent(eqx.Module):
    """A stochastic policy and the loss that trains it. `agent(observation, key=key)` acts."""

    field: AbstractField
    solver: AbstractSolver
    refiner: AbstractRefiner
    trust_region: AbstractTrustRegion | AbstractFlowRegion
    constraint: AbstractConstraint
    critic: AbstractCritic
    spec: Spec
    discount: float
    n_step: int
    candidates: int
    target_candidates: int
    normalize_value: bool
    flow_weight: float
    field_frozen: bool = False
    """Whether the flow is frozen: the field is not trained, and its matching loss is not computed."""
    chunk: int = 1
    """Actions that are chosen together, h. Below, an action is h * A numbers: those of h consecutive steps."""
    execute: int = 1
    """How many of them are executed before the next are chosen."""
    augmentation: AbstractAugmentation = NoAugmentation()
    """What the loss does to a batch's observations."""

    def __call__(self, observation: Any, *, key: Key[Array, ""]) -> Float[Array, "*batch action"]:
        """The action to execute, in [-1, 1], or one for each observation of a batch, with keys split from `key`.

        The first call compiles it, once for all agents with the same structure. Inside a compiled program it becomes
        part of that program and acts on one observation, like `act`.

        Args:
            observation: One observation of shape (*observation), or a batch (B, *observation).
            key: A key made by `jax.random.key`.

        Returns:
            Actions of shape (A,), or (B, A). Of an agent with chunks, those of the next `execute` steps: of shape
            (execute, A), or (B, execute, A).

        Raises:
            TypeError: If the key is not a typed random key.
            ValueError: If the observation has another shape.
        """
        if isinstance(observation, Tracer) or isinstance(key, Tracer):
            return self.act(observation, key=key)
        return act(self, observation, key)

    def act(self, observation: Observation, *, key: Key[Array, ""]) -> Float[Array, "*steps action"]:
        """The action for one observation, of shape (A,): the best of `candidates`, each refined and clipped. Of an
        agent with chunks, the actions of the next `execute` steps, of shape (execute, A)."""
        return self.act_from(observation, jax.random.normal(key, (self.candidates, self.action_size)))

    def act_from(
        self, observation: Observation, noises: Float[Array, "candidates noise"]
    ) -> Float[Array, "*steps action"]:
        """The action that `act` chooses when these are its noises, standard normal numbers."""
        proposals = None
        if self.acting_solves:
            features = self.field.encode(observation)
            proposals = in_blocks(partial(self.propose, features), noises)
        action, _ = self._choose(observation, noises, proposals)
        return action if self.chunk == 1 else action.reshape(self.chunk, -1)[: self.execute]

    @property
    def action_size(self) -> int:
        """The numbers of an action that is chosen at once: h * A."""
        return self.chunk * self.spec.action_size

    def __repr__(self) -> str:
        return summary(self)

    def with_returns(self, data: Batch) -> Batch:
        """The dataset as the loss expects it: with `n_step`-step returns, or in chunks. Training calls this itself."""
        if self.chunk > 1:
            return chunked(data, self.chunk, discount=self.discount)
        return n_step_returns(data, self.n_step, discount=self.discount)

    def rows(self, data: Batch) -> tuple[np.ndarray, np.ndarray]:
        """The rows of the dataset whose s and whose s' are those of each transition of `with_returns`."""
        if self.chunk > 1:
            return chunk_rows(data, self.chunk)
        return np.arange(len(data)), last_rows(data, self.n_step)

    def loss(self, batch: Batch, *, key: Key[Array, ""]) -> tuple[Scalar, Metrics]:
        """The sum of all losses: the critic's, flow matching, the refiner's and the multiplier's
        (arXiv 2601.10471, section 4).

        `batch` has a leading axis B; its observations are augmented first. Proposals are those that it carries, drawn
        beforehand, or else solved for. The metrics are the batch means of the terms, of the displacement's size, and of
        whatever the critic reports.
        """
        drawn, batch = batch.proposals, dataclasses.replace(batch.stacked(), proposals=None)
        batch = self.augmentation.of_batch(batch, key=named_key(key, "augmentation"))
        proposed = solved(self, batch, key=key) if drawn is None else chosen(self, drawn, key=key)
        critic_loss, critic_metrics = self._critic_loss(batch, proposed, key=named_key(key, "critic"))
        total, terms = critic_loss, {"critic_loss": critic_loss}
        if not self.field_frozen:
            terms["flow_loss"] = self.flow_loss(batch, key=named_key(key, "flow matching"))
            total = total + self.flow_weight * terms["flow_loss"]
        refiner_loss, refiner_metrics = self._refiner_loss(batch, proposed, key=named_key(key, "refiner"))
        total = total + refiner_loss
        return total, {"loss": total, **terms, **critic_metrics, **refiner_metrics}

    def trained(self) -> Any:
        """A filter (the same tree with booleans for leaves) that selects what gradients train."""
        everything = trainable(self)
        if not self.field_frozen:
            return everything
        return eqx.tree_at(lambda agent: agent.field, everything, jax.tree.map(lambda _: False, everything.field))

    def advance(self, metrics: Metrics) -> "Agent":
        """The agent after an update of its parameters: moves targets and control laws, given that update's metrics."""
        constraint = self.constraint
        if "size" in metrics:
            constraint = constraint.advance(metrics["size"], self.trust_region.limit)
        return dataclasses.replace(self, constraint=constraint, critic=self.critic.advance())

    # --- from noise to the executed action, one sample at a time

    @property
    def acting_solves(self) -> bool:
        """Whether acting needs the flow's proposal."""
        return not isinstance(self.refiner, AbstractDirectRefiner) or isinstance(
            self.constraint, AbstractHardConstraint
        )

    def propose(self, features: Features, noise: Action) -> Action:
        """clip(ODE(v, noise), -1, 1)."""
        point = self.solver(lambda time, action: self.velocity(features, action, time), noise)
        return jnp.clip(shaped(point, noise.shape, self.solver, "proposal"), -1.0, 1.0)

    def velocity(self, features: Features, action: Action, time: Scalar) -> Action:
        """v(o, a, t), for the observation that the field encoded."""
        return shaped(self.field(features, action, time), action.shape, self.field, "velocity")

    def _displace(self, observation: Observation, noise: Action, proposal: Action) -> Action:
        """The displacement that is executed and that the loss sees."""
        critic = held(self.critic)
        inquiry = Inquiry(
            value=lambda action: critic.value(observation, jnp.clip(action, -1.0, 1.0)),
            size=lambda move: size_of(self, observation, noise, proposal + move, move, jnp.asarray(0.5)),
            project=lambda move: projected(self, observation, move),
        )
        displacement = self.refiner(observation, noise, proposal, inquiry)
        displacement = shaped(displacement, noise.shape, self.refiner, "displacement")
        return self.constraint.restrict(displacement, inquiry.project)

    def _execute(self, observation: Observation, noise: Action, proposal: Action | None) -> Action:
        """The action that would be sent to the environment."""
        if proposal is not None:
            return jnp.clip(proposal + self._displace(observation, noise, proposal), -1.0, 1.0)
        assert isinstance(self.refiner, AbstractDirectRefiner)  # the only kind that acts without a proposal
        return jnp.clip(self.refiner.act(observation, noise), -1.0, 1.0)

    def _choose(
        self,
        observation: Observation,
        noises: Float[Array, "candidates action"],
        proposals: Float[Array, "candidates action"] | None,
        rows: int = 1,
    ) -> tuple[Action, Int[Array, ""]]:
        """The action with the highest score of those that could be executed, and which it is; `rows` times at once."""
        actions = in_blocks(partial(self._execute, observation), noises, proposals, rows=rows)
        if len(noises) == 1:
            return actions[0], jnp.zeros((), jnp.int32)
        scores = in_blocks(partial(self.critic.score, observation), actions, rows=rows)
        best = jnp.argmax(scores)
        selected = jnp.arange(len(noises)) == best  # an index would be a gather, which exporters get wrong
        return jnp.sum(jnp.where(selected[:, None], actions, 0.0), axis=0), best

    def proposals_and_actions(
        self, observation: Observation, count: int, *, key: Key[Array, ""]
    ) -> tuple[Float[Array, "count action"], Float[Array, "count action"]]:
        """`count` proposals of the flow, and the action that each one becomes. For pictures of the policy."""
        noises = jax.random.normal(key, (count, self.action_size))
        features = self.field.encode(observation)
        proposals = jax.vmap(lambda noise: self.propose(features, noise))(noises)
        return proposals, jax.vmap(lambda *drawn: self._execute(observation, *drawn))(noises, proposals)

    # --- the terms of the loss, on a batch

    @property
    def gradient_enters_solver(self) -> bool:
        """Whether the refiner's loss trains the flow itself."""
        return isinstance(self.refiner, AbstractThroughSolverRefiner)

    def _critic_loss(
        self, batch: Batch, proposed: Proposed, *, key: Key[Array, ""]
    ) -> tuple[Scalar, dict[str, Scalar]]:
        """The critic's loss, given the policy's actions at s', and how they were made if it asks."""
        critic = self.critic
        next_actions = jnp.zeros((len(batch), 0, self.action_size))
        which = jnp.zeros((len(batch), 0), jnp.int32)
        if proposed.next_noise.size > 0:
            rows = 1 if has_images(self.spec) else len(batch) * critic.next_actions  # a block would encode them anew
            choose = jax.vmap(jax.vmap(partial(held(self)._choose, rows=rows), in_axes=(None, 0, 0)))
            next_actions, which = choose(batch.next_observation, proposed.next_noise, proposed.next_proposal)
        keys = jax.random.split(key, len(batch))
        if isinstance(critic, AbstractInquiringCritic):
            origin = origins(self, batch, proposed, next_actions, which, key=named_key(key, "region time"))
            losses = jax.vmap(lambda *row: critic.inquiring_loss(*row[:3], key=row[3]))
            found, metrics = losses(batch, next_actions, origin, keys)
        else:
            found, metrics = jax.vmap(lambda *row: critic.loss(*row[:2], key=row[2]))(batch, next_actions, keys)
        return jnp.mean(found), jax.tree.map(jnp.mean, metrics)

    def flow_loss(self, batch: Batch, *, key: Key[Array, ""]) -> Scalar:
        """Flow matching: mean over B and A of (v(o, x_t, t) - (x1 - x0))^2 on straight paths from noise to data
        (arXiv 2601.10471, section 4).
        """
        batch, start = batch.stacked(), jax.random.normal(named_key(key, "noise"), batch.action.shape)
        time = jax.random.uniform(named_key(key, "time"), (len(batch),))

        def error(observation, action, start, time):
            point = (1.0 - time) * start + time * action
            return self.velocity(self.field.encode(observation), point, time) - (action - start)

        return jnp.mean(jnp.square(jax.vmap(error)(batch.observation, batch.action, start, time)))

    def _refiner_loss(self, batch: Batch, proposed: Proposed, *, key: Key[Array, ""]) -> tuple[Scalar, Metrics]:
        """-mean q / mean |q|, plus the constraint on the batch mean of the size (arXiv 2601.10471, equation 3).

        Zero if nothing is refined.
        """
        if not isinstance(self.refiner, AbstractLearnedRefiner):
            return jnp.zeros(()), {}
        critic = held(self.critic)
        # Without a proposal the displacement is the action itself: see `needs_proposals`.
        proposals = jnp.zeros_like(proposed.noise) if proposed.proposal is None else proposed.proposal

        def refine(observation, noise, proposal, time, key):
            displacement = self._displace(observation, noise, proposal)
            size = size_of(self, observation, noise, proposal + displacement, displacement, time)
            action = jnp.clip(proposal + displacement, -1.0, 1.0)
            if isinstance(critic, AbstractStochasticCritic):
                return critic.sample_value(observation, action, key=key), size
            return critic.value(observation, action), size

        times = jax.random.uniform(named_key(key, "region time"), (len(batch),))
        keys = jax.random.split(named_key(key, "value"), len(batch))
        values, sizes = jax.vmap(refine)(batch.observation, proposed.noise, proposals, times, keys)
        value, size = jnp.mean(values), jnp.mean(sizes)
        scale = jnp.maximum(jnp.mean(jnp.abs(values)), _SMALLEST_SCALE) if self.normalize_value else 1.0
        limit = self.trust_region.limit
        constraint_loss = shaped(self.constraint.loss(size, limit), (), self.constraint, "loss")
        loss = -value / jax.lax.stop_gradient(scale) + constraint_loss
        bound = {"bound": jnp.asarray(limit)} if math.isfinite(limit) else {}
        multiplier = self.constraint.multiplier()
        return loss, {"refiner_loss": loss, "value": value, "size": size, **bound, "multiplier": multiplier}

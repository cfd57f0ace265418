"""Composing an agent: its parts, and whether they fit together."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Key

from .. import constraints, critics, encoders, fields, refiners, solvers, trust_regions
from ..keys import named_key
from ..registry import Registry
from ..types import Batch, Context, Spec, build
from .agent import Agent

KINDS: dict[str, Registry[Any]] = {
    "encoder": encoders.registry,
    "field": fields.registry,
    "solver": solvers.registry,
    "refiner": refiners.registry,
    "trust_region": trust_regions.registry,
    "constraint": constraints.registry,
    "critic": critics.registry,
}
"""The fields of `AgentConfig` that are parts, and the registry of each."""


class AgentConfig(eqx.Module):
    """The parts and numbers of an agent. `build` composes them, and refuses parts that do not fit together."""

    encoder: encoders.AbstractEncoder | encoders.AbstractEncoderConfig
    """What turns observations into features, in front of every network."""

    field: fields.AbstractFieldConfig
    """The velocity of the behaviour flow."""

    solver: solvers.AbstractSolver
    """The ODE solver that carries noise to a proposal."""

    refiner: refiners.AbstractRefiner | refiners.AbstractRefinerConfig
    """What moves a proposal toward higher value."""

    trust_region: trust_regions.AbstractTrustRegion | trust_regions.AbstractTrustRegionConfig
    """How the size of a displacement is measured, and its bound."""

    constraint: constraints.AbstractConstraint | constraints.AbstractConstraintConfig
    """How the size is kept within the bound."""

    critic: critics.AbstractCritic | critics.AbstractCriticConfig
    """The value of an action, and its loss."""

    discount: float = 0.99
    """Discount factor per step."""

    n_step: int = 1
    """Rewards from the data in the critic's target before it bootstraps."""

    candidates: int = 1
    """Actions drawn when acting; the one with the highest score from the critic is executed."""

    target_candidates: int = 1
    """Actions drawn at s' for the critic's target; the one with the highest score from the critic is evaluated."""

    normalize_value: bool = True
    """Whether the refiner's loss divides the value by its mean absolute value over the batch."""

    flow_weight: float = 1.0
    """Factor of the flow-matching loss. It matters only if another loss trains the flow too."""

    def __check_init__(self) -> None:
        if not 0 <= self.discount <= 1:
            raise ValueError(f"discount must be in [0, 1], got {self.discount}.")
        for name in ("n_step", "candidates", "target_candidates"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}.")
        if not self.flow_weight > 0:
            raise ValueError(f"flow_weight must be positive, got {self.flow_weight}.")

    def build(self, spec: Spec, data: Batch | None = None, *, key: Key[Array, ""]) -> Agent:
        """The agent with fresh parameters.

        `data` is the dataset, for parts that fit statistics to it. Without it only the shapes are right, which is
        enough to restore a checkpoint.

        Raises:
            ValueError: If the parts do not fit together. This is found by tracing one update, before any work.
        """
        context = Context(spec=spec, data=data, encoder=self.encoder, solver=self.solver, discount=self.discount)

        def part(name: str) -> Any:
            return build(getattr(self, name), context, key=named_key(key, name))

        agent = Agent(
            field=part("field"),
            solver=self.solver,
            refiner=part("refiner"),
            trust_region=part("trust_region"),
            constraint=part("constraint"),
            critic=part("critic"),
            spec=spec,
            discount=self.discount,
            n_step=self.n_step,
            candidates=self.candidates,
            target_candidates=self.target_candidates,
            normalize_value=self.normalize_value,
            flow_weight=self.flow_weight,
        )
        _check_composition(agent, spec)
        return agent


def _check_composition(agent: Agent, spec: Spec) -> None:
    """Traces acting and one loss on shapes alone."""
    observation = jnp.zeros((2, *spec.observation_shape), spec.observation_dtype)
    row = jnp.zeros(2)
    batch = Batch(observation, jnp.zeros((2, spec.action_size)), row, row, observation)
    key = jax.random.key(0)
    eqx.filter_eval_shape(lambda: agent(observation[0], key=key))
    eqx.filter_eval_shape(lambda: agent.loss(batch, key=key))

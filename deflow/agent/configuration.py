"""Composing an agent: its parts, and whether they fit together."""

import dataclasses
import math
from typing import Any

import equinox as eqx
import jax
from jaxtyping import Array, Key

from .. import augmentations, constraints, critics, encoders, fields, refiners, solvers, trust_regions
from ..data.chunks import chunked
from ..keys import named_key
from ..registry import Registry
from ..types import Batch, Context, Spec, as_python_number, build, check_number, placeholder_data
from .agent import Agent
from .compatibility import check_composition

KINDS: dict[str, Registry[Any]] = {
    "encoder": encoders.registry,
    "field": fields.registry,
    "solver": solvers.registry,
    "refiner": refiners.registry,
    "trust_region": trust_regions.registry,
    "constraint": constraints.registry,
    "critic": critics.registry,
    "augmentation": augmentations.registry,
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

    trust_region: (
        trust_regions.AbstractTrustRegion | trust_regions.AbstractFlowRegion | trust_regions.AbstractTrustRegionConfig
    )
    """How the size of a displacement, or of an action, is measured, and its bound."""

    constraint: constraints.AbstractConstraint | constraints.AbstractConstraintConfig
    """How the size is kept within the bound."""

    critic: critics.AbstractCritic | critics.AbstractCriticConfig
    """The value of an action, and its loss."""

    augmentation: augmentations.AbstractAugmentation = augmentations.NoAugmentation()
    """What is done to the observations of a batch that is trained on."""

    discount: float = 0.99
    """Discount factor per step."""

    n_step: int = 1
    """Rewards from the data in the critic's target before it bootstraps."""

    chunk: int = 1
    """Actions of consecutive steps that are chosen and judged together (Q-chunking, arXiv 2507.07969)."""

    execute: int | None = None
    """How many of a chunk's actions are executed before the policy is asked again (default: all)."""

    candidates: int = 1
    """Actions drawn when acting; the one with the highest score from the critic is executed."""

    target_candidates: int = 1
    """Actions drawn at s' for the critic's target; the one with the highest score from the critic is evaluated."""

    normalize_value: bool = True
    """Whether the refiner's loss divides the value by its mean absolute value over the batch."""

    flow_weight: float = 1.0
    """Factor of the flow-matching loss. It matters only if another loss trains the flow too."""

    def __check_init__(self) -> None:
        for name, registry in KINDS.items():
            part = getattr(self, name)
            if not isinstance(part, registry.bases):
                raise TypeError(f"{registry.refusal(part)} (deflow.agent_config takes a name or a class, too.)")
        for field in dataclasses.fields(self):
            check_number("AgentConfig", field.name, getattr(self, field.name), field.type)
            as_python_number(self, field.name)
        if not 0 <= self.discount <= 1:
            raise ValueError(f"discount must be in [0, 1], got {self.discount}.")
        for name in ("n_step", "chunk", "candidates", "target_candidates"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}.")
        if self.execute is not None and not 1 <= self.execute <= self.chunk:
            raise ValueError(f"execute must be from 1 to the chunk's length {self.chunk}, got {self.execute}.")
        if self.chunk > 1 and self.n_step > 1:
            raise ValueError(
                f"A chunk of {self.chunk} actions has the rewards of its own steps, so it needs 1-step returns, got "
                f"{self.n_step}-step ones (an algorithm such as deflow-best has them): set n_step to 1."
            )
        if not 0 < self.flow_weight < math.inf:
            raise ValueError(f"flow_weight must be positive and finite, got {self.flow_weight}.")

    def build(self, spec: Spec, data: Batch | None = None, *, key: Key[Array, ""]) -> Agent:
        """The agent with fresh parameters.

        `data` is the dataset, for parts that fit statistics to it.

        Raises:
            ValueError: If the parts do not fit together, which is found by tracing one update, before any work; or if a
                part is fitted to the data and there is none.
        """
        context = self.context(spec, data)

        def part(name: str) -> Any:
            choice = getattr(self, name)
            try:
                return build(choice, context, key=named_key(key, name))
            except (AttributeError, TypeError) as error:
                if data is not None:
                    raise
                raise ValueError(
                    f"{type(choice).__name__} could not be built without data ({error}): give the transitions, as in "
                    "deflow.Learner.create(config, task.spec, task.train, key=key)."
                ) from error

        agent = Agent(
            field=part("field"),
            solver=self.solver,
            refiner=part("refiner"),
            trust_region=part("trust_region"),
            constraint=part("constraint"),
            critic=part("critic"),
            augmentation=self.augmentation,
            spec=spec,
            discount=self.discount,
            n_step=self.n_step,
            candidates=self.candidates,
            target_candidates=self.target_candidates,
            normalize_value=self.normalize_value,
            flow_weight=self.flow_weight,
            chunk=self.chunk,
            execute=self.chunk if self.execute is None else self.execute,
        )
        check_composition(agent)
        return agent

    def check(self, spec: Spec) -> None:
        """Refuses what does not fit together, before there is any data: see `build`.

        Raises:
            ValueError: If the parts do not fit together.
        """
        self.build(spec, self.placeholder_data(spec), key=jax.random.key(0))

    def context(self, spec: Spec, data: Batch | None) -> Context:
        """What the parts are built with: of an agent with chunks, its own action size, and the data in chunks."""
        chunks = None if data is None else chunked(data, self.chunk, discount=self.discount)
        sizes = dataclasses.replace(spec, action_size=self.chunk * spec.action_size)
        return Context(spec=sizes, data=chunks, encoder=self.encoder, solver=self.solver, discount=self.discount)

    def placeholder_data(self, spec: Spec) -> Batch:
        """Transitions of zeros, to build an agent whose arrays are about to be filled, or its outline alone."""
        return placeholder_data(spec, rows=self.chunk + 1)

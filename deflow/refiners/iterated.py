"""A refiner applied several times, each time to the previous result."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key

from ..types import Action, Context, Observation, build
from .base import (
    AbstractDirectRefiner,
    AbstractLearnedRefiner,
    AbstractRefiner,
    AbstractRefinerConfig,
    AbstractThroughSolverRefiner,
    Inquiry,
    register,
)
from .residual import ResidualRefinerConfig


class Iterated(AbstractRefiner):
    """D_0 = 0 and D_{i+1} = project(a_i + inner(o, z, a_i) - proposal) with a_i = clip(proposal + D_i); of D_1 ...
    D_times, the one with the highest value is executed."""

    inner: AbstractRefiner
    times: int

    def __call__(self, observation: Observation, noise: Action, proposal: Action, inquiry: Inquiry) -> Action:
        return _iterate(self.inner, self.times, observation, noise, proposal, inquiry)


class LearnedIterated(AbstractLearnedRefiner):
    """The same around a learned refiner: the loss uses the displacement that is executed."""

    inner: AbstractLearnedRefiner
    times: int

    def __call__(self, observation: Observation, noise: Action, proposal: Action, inquiry: Inquiry) -> Action:
        return _iterate(self.inner, self.times, observation, noise, proposal, inquiry)


@register("iterated")
class IteratedConfig(AbstractRefinerConfig):
    """Another refiner applied several times within the trust region; the action with the highest value is kept."""

    inner: AbstractRefiner | AbstractRefinerConfig = ResidualRefinerConfig()
    """The refiner to apply, which must depend on the proposal."""

    times: int = 3
    """How many times it is applied."""

    def __check_init__(self) -> None:
        if not isinstance(self.inner, AbstractRefiner | AbstractRefinerConfig):
            raise ValueError(f"refiner iterated: inner must be a refiner such as ValueGradient(), got {self.inner!r}.")
        if self.times < 1:
            raise ValueError(f"refiner iterated: times must be at least 1, got {self.times}.")

    def build(self, context: Context, *, key: Key[Array, ""]) -> Iterated | LearnedIterated:
        inner = build(self.inner, context, key=key)
        if isinstance(inner, AbstractDirectRefiner | AbstractThroughSolverRefiner):
            raise ValueError(
                f"refiner iterated: {type(inner).__name__} gives the same action for every proposal: iterate one "
                "that moves a proposal, such as 'residual' or 'value-gradient'."
            )
        if isinstance(inner, AbstractLearnedRefiner):
            return LearnedIterated(inner, self.times)
        return Iterated(inner, self.times)


def _iterate(
    inner: AbstractRefiner, times: int, observation: Observation, noise: Action, proposal: Action, inquiry: Inquiry
) -> Action:
    displacement, tried = jnp.zeros_like(proposal), []
    for _ in range(times):
        start = jnp.clip(proposal + displacement, -1.0, 1.0)
        moved = start - proposal
        # The region stays around the proposal, while the inner refiner asks about moves from where it starts.
        shifted = Inquiry(
            value=inquiry.value,
            size=lambda move, moved=moved: inquiry.size(moved + move),
            project=lambda move, moved=moved: inquiry.project(moved + move) - moved,
        )
        displacement = inquiry.project(moved + inner(observation, noise, start, shifted))
        tried.append(displacement)
    candidates = jnp.stack(tried)
    values = jax.vmap(lambda move: inquiry.value(proposal + move))(candidates)
    return candidates[jnp.argmax(values)]

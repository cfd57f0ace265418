"""A critic that classifies returns: HL-Gauss targets and cross-entropy (Farebrother et al. 2024, arXiv 2403.03950)."""

from typing import Self

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from ..types import Action, Batch, Context, Fixed, Observation, Scalar
from .aggregation import Aggregation
from .base import register
from .histogram import histogram
from .members import AbstractMembersCritic, Members, build_members, each, follow, target_of
from .returns import AbstractReturnsConfig, return_range

_MARGIN = 3.0  # standard deviations beyond the range of returns: a target at its end keeps (nearly) all its mass


class CategoricalCritic(AbstractMembersCritic):
    """loss = -mean_e sum_i h_i(y) log p_ei(o, a), with y = r + discount * mask * agg_e Qtarget_e(o', a').

    p_e is member e's softmax over bins, Q_e = sum_i p_ei c_i over the bins' centres, and h the histogram of y. The
    bins cover [r_min, r_max] / (1 - discount), plus three standard deviations on either side, so that cutting off the
    tails does not move a target's mean.
    """

    members: Members
    target: Fixed
    rewards: Fixed
    bins: int
    smoothing: float
    discount: float
    aggregation: Aggregation
    deviations: float
    target_rate: float

    @property
    def next_actions(self) -> int:
        """One action of the policy at s'."""
        return 1

    def edges(self) -> Float[Array, " edges"]:
        """The bins' edges, in units of return."""
        lowest, highest = return_range(self.rewards, self.discount)
        width = (highest - lowest) / (self.bins - 2.0 * _MARGIN * self.smoothing)
        middle, half = (lowest + highest) / 2.0, width * self.bins / 2.0
        return middle + half * jnp.linspace(-1.0, 1.0, self.bins + 1)

    def values(self, observation: Observation, action: Action) -> Float[Array, " members"]:
        return self._values(self.members, observation, action)

    def loss(
        self, transition: Batch, next_actions: Float[Array, "next_actions action"], *, key: Key[Array, ""]
    ) -> tuple[Scalar, dict[str, Scalar]]:
        following = self._values(self.target.value, transition.next_observation, next_actions[0])
        bootstrap = self.aggregate(following)
        reward, mask = jnp.asarray(transition.reward), jnp.asarray(transition.mask)
        edges = self.edges()
        lowest, highest = return_range(self.rewards, self.discount)
        target = jnp.clip(jax.lax.stop_gradient(reward + self.discount * mask * bootstrap), lowest, highest)
        wanted = histogram(target, edges, self.smoothing * (edges[1] - edges[0]))
        logits = each(self.members, transition.observation, jnp.asarray(transition.action))
        loss = -jnp.mean(jax.nn.log_softmax(logits) @ wanted)
        values = jax.nn.softmax(logits) @ _centres(edges)
        return loss, {"critic_value": jnp.mean(values), "critic_target": target}

    def advance(self) -> Self:
        return eqx.tree_at(lambda critic: critic.target, self, follow(self.target, self.members, self.target_rate))

    def _values(self, members: Members, observation: Observation, action: Action) -> Float[Array, " members"]:
        return jax.nn.softmax(each(members, observation, action)) @ _centres(self.edges())


@register("categorical")
class CategoricalCriticConfig(AbstractReturnsConfig):
    """Networks that classify the return into bins, by cross-entropy with HL-Gauss targets."""

    bins: int = 101
    """Number of bins."""

    smoothing: float = 0.75
    """Standard deviation of a target's Gaussian, in bin widths."""

    def __check_init__(self) -> None:
        self.check("critic categorical")
        self.check_rewards("critic categorical")
        if not self.smoothing > 0:
            raise ValueError(f"critic categorical: smoothing must be positive, got {self.smoothing}.")
        if not self.bins > 2 * _MARGIN * self.smoothing:
            least = 2 * _MARGIN * self.smoothing
            raise ValueError(
                f"critic categorical: bins must be more than {least:g} for its smoothing, got {self.bins}."
            )

    def build(self, context: Context, *, key: Key[Array, ""]) -> CategoricalCritic:
        rewards = self.rewards("critic categorical", context)
        size = context.spec.action_size
        members = build_members(
            context, self.members, inputs=size, outputs=self.bins, width=self.width, depth=self.depth, key=key
        )
        return CategoricalCritic(
            members=members,
            target=target_of(members),
            rewards=rewards,
            bins=self.bins,
            smoothing=self.smoothing,
            discount=context.discount,
            aggregation=self.chosen_aggregation(),
            deviations=self.deviations,
            target_rate=self.target_rate,
        )


def _centres(edges: Float[Array, " edges"]) -> Float[Array, " bins"]:
    return (edges[:-1] + edges[1:]) / 2.0

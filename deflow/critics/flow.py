"""A critic that is itself a flow: it carries noise to the return (floq, arXiv 2509.06863)."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from ..keys import named_key
from ..networks import MLP
from ..types import Action, Batch, Context, Features, Fixed, Observation, Scalar
from .aggregation import Aggregation
from .base import register
from .histogram import histogram
from .members import AbstractMembersCritic, Members, build_members, each_value, follow, target_of
from .returns import AbstractReturnsConfig, return_range

_MARGIN = 0.01  # rewards beyond either end of the range that the histogram of x covers
_DEVIATION = 16.0  # of that histogram's Gaussian, in bin widths


class FlowCritic(AbstractMembersCritic):
    """Velocities u_e(o, a, x, t) carry a start x0 to a return at t = 1: flow_e(o, a, x0).

        y    = mean_j [r + discount * mask * agg_e flowtarget_e(o', a'_j, x0'_j)]
        loss = mean_e sum_j (u_e(o, a, x_tj, t_j) - (y - x0_j))^2,   x_t = (1 - t) x0 + t y
             + mean_m (Q_m(o, a) - mean_ej flow_e(o, a, x0_j))^2

    Starts are uniform on `start * [r_min, r_max] / (1 - discount)`; x0 and t are shared by the members; x0' is drawn
    for the target alone. The second term distils the flow into plain networks Q, which the refiner climbs (their mean)
    and candidates are ranked by (their aggregation). x enters the velocity as an HL-Gauss histogram, t as cosines
    cos(pi i t) (arXiv 2509.06863, sections 4 and 5).
    """

    velocities: Members
    target: Fixed
    members: Members
    rewards: Fixed
    solver: Any
    noises: int
    bins: int
    time_features: int
    start: float
    discount: float
    aggregation: Aggregation
    deviations: float
    target_rate: float

    @property
    def next_actions(self) -> int:
        """One action of the policy at s' for each noise."""
        return self.noises

    def values(self, observation: Observation, action: Action) -> Float[Array, " members"]:
        return each_value(self.members, observation, action)

    def loss(
        self, transition: Batch, next_actions: Float[Array, "next_actions action"], *, key: Key[Array, ""]
    ) -> tuple[Scalar, dict[str, Scalar]]:
        observation, action = transition.observation, jnp.asarray(transition.action)
        reward, mask = jnp.asarray(transition.reward), jnp.asarray(transition.mask)
        starts, next_starts = (self._starts(named_key(key, name)) for name in ("start", "next start"))
        times = jax.random.uniform(named_key(key, "time"), (self.noises,))

        ahead: Members = self.target.value
        next_features = ahead.encoder(transition.next_observation)

        def following(next_action: Action, next_start: Scalar) -> Scalar:
            return self.aggregate(self._ends(ahead, next_features, next_action, next_start))

        bootstrap = jnp.mean(jax.vmap(following)(next_actions, next_starts))
        target = jax.lax.stop_gradient(reward + self.discount * mask * bootstrap)

        features = self.velocities.encoder(observation)

        def error(start: Scalar, time: Scalar) -> Scalar:
            inputs = self._inputs((1.0 - time) * start + time * target, time)
            return jnp.mean(jnp.square(self.velocities.of_features(features, action, *inputs) - (target - start)))

        velocity_loss = jnp.sum(jax.vmap(error)(starts, times))
        held = jax.lax.stop_gradient(eqx.filter(self.velocities, eqx.is_array))
        held, known = eqx.combine(held, self.velocities), jax.lax.stop_gradient(features)
        current = jnp.mean(jax.vmap(lambda start: self._ends(held, known, action, start))(starts))
        values = each_value(self.members, observation, action)
        distillation_loss = jnp.mean(jnp.square(values - current))
        return velocity_loss + distillation_loss, {
            "critic_value": jnp.mean(values),
            "critic_target": target,
            "critic_flow_value": current,
            "critic_velocity_loss": velocity_loss,
            "critic_distillation_loss": distillation_loss,
        }

    def advance(self) -> Self:
        target = follow(self.target, self.velocities, self.target_rate)
        return eqx.tree_at(lambda critic: critic.target, self, target)

    def _starts(self, key: Key[Array, ""]) -> Float[Array, " noises"]:
        lowest, highest = self.start * return_range(self.rewards, self.discount)
        return lowest + (highest - lowest) * jax.random.uniform(key, (self.noises,))

    def _ends(self, velocities: Members, features: Features, action: Action, start: Scalar) -> Float[Array, " members"]:
        """Where each member's flow carries the start, for an observation that their encoder has seen."""

        def end(network: MLP) -> Scalar:
            def velocity(time: Scalar, point: Float[Array, "1"]) -> Float[Array, "1"]:
                return network(jnp.concatenate([features, action, *self._inputs(point[0], time)]))

            return self.solver(velocity, start[None])[0]

        return eqx.filter_vmap(end)(velocities.network)

    def _inputs(self, point: Scalar, time: Scalar) -> tuple[Float[Array, " bins"], Float[Array, " time_features"]]:
        """The encodings of x and t for the velocity."""
        lowest, highest = return_range(self.rewards, self.discount)
        margin = _MARGIN / (1.0 - self.discount)
        lowest, highest = lowest - margin, highest + margin
        edges = lowest + (highest - lowest) * jnp.linspace(0.0, 1.0, self.bins + 1)
        cosines = jnp.cos(jnp.pi * time * jnp.arange(1, self.time_features + 1, dtype=jnp.float32))
        return histogram(point, edges, _DEVIATION * (highest - lowest) / self.bins), cosines


@register("flow")
class FlowCriticConfig(AbstractReturnsConfig):
    """A flow from noise to the return, distilled into plain networks: floq's critic, at about ten times the cost."""

    task_settings: ClassVar[Mapping[str, str]] = {
        "aggregation": "flow_aggregation",
        "depth": "flow_depth",
        "reward_min": "reward_min",
    }

    noises: int = 8
    """Starts per transition, each with its own next action."""

    steps: int = 8
    """Solver steps from a start to a return; the solver is the agent's (an adaptive one chooses its own steps)."""

    bins: int = 50
    """Bins of the histogram that encodes x for the velocity."""

    time_features: int = 64
    """Number of cosines that encode t for the velocity."""

    start: float = 0.1
    """Width of the starts' range, as a fraction of the range of returns."""

    def __check_init__(self) -> None:
        self.check("critic flow")
        self.check_rewards("critic flow")
        for name in ("noises", "steps", "bins", "time_features"):
            if getattr(self, name) < 1:
                raise ValueError(f"critic flow: {name} must be at least 1, got {getattr(self, name)}.")
        if not self.start > 0:
            raise ValueError(f"critic flow: start must be positive, got {self.start}.")

    def build(self, context: Context, *, key: Key[Array, ""]) -> FlowCritic:
        rewards = self.rewards("critic flow", context)
        size, sizes = context.spec.action_size, {"width": self.width, "depth": self.depth}
        velocities = build_members(
            context,
            self.members,
            inputs=size + self.bins + self.time_features,
            outputs=1,
            key=named_key(key, "velocities"),
            **sizes,
        )
        solver = context.solver
        if any(field.name == "steps" for field in dataclasses.fields(solver)):
            solver = dataclasses.replace(solver, steps=self.steps)
        return FlowCritic(
            velocities=velocities,
            target=target_of(velocities),
            members=build_members(
                context, self.members, inputs=size, outputs=1, key=named_key(key, "members"), **sizes
            ),
            rewards=rewards,
            solver=solver,
            noises=self.noises,
            bins=self.bins,
            time_features=self.time_features,
            start=self.start,
            discount=context.discount,
            aggregation=self.chosen_aggregation(),
            deviations=self.deviations,
            target_rate=self.target_rate,
        )

"""The result of an estimation: a value with its interval, and what else speaks for or against the policy."""

import dataclasses
import math

import numpy as np

from ..evaluation.result import CONFIDENCE

UNSETTLED = 0.05
"""A fit has not settled if its last quarter changed the value by more than this share of it."""

ASTRAY = 2.0
"""A behaviour whose actions are further from the data's, in units of the data's own distance, imitates it badly. Of the
policies in the documentation it is at most 1.5."""

FAR = 1.1
"""A policy whose actions are further from the data's nearest ones, in units of the behaviour's distance, is not
supported by the data: what its actions are worth has to be guessed, and all critics guess alike."""


@dataclasses.dataclass(frozen=True)
class Diagnostics:
    """What needs no fit. Actions are in [-1, 1]; nan where a number does not exist."""

    td_error: float
    """Root mean square of the own critic's Q(s, a) - r - discount * mask * Q(s', policy's a'), in the units of the
    rewards that it learned from."""

    critic_value: float
    """Mean of the own critic's Q(s, a) over the transitions' own actions."""

    seen_return: float
    """Mean of the discounted returns that followed. Where a trajectory was cut off, the own critic's value there
    stands for the rest."""

    rank_correlation: float
    """Spearman's, of the own critic's Q(s, a) and the returns that followed."""

    distance: float
    """Root mean square distance, per dimension, of the policy's action to the nearest of the data's actions in the 10
    most similar states."""

    data_distance: float
    """The same of the held-out data's own actions."""

    flow_distance: float
    """The same of what the policy's flow proposes: of its imitation of the data."""

    at_bounds: float
    """Share of the policy's action coordinates within 0.001 of a bound."""

    data_at_bounds: float
    """The same of the data's."""

    @property
    def away(self) -> float:
        """The distance in units of the behaviour's: of the larger one of the data's own and of the flow's proposals,
        since a flow is never exact."""
        behaviour = max(self.data_distance, self.flow_distance)
        return self.distance / behaviour if behaviour > 0 else math.nan

    def metrics(self) -> dict[str, float]:
        """By column of the log."""
        return {f"estimate/{name}": value for name, value in dataclasses.asdict(self).items()}


@dataclasses.dataclass(frozen=True)
class ValueEstimate:
    """The discounted return of a policy, estimated from data alone, in the units of the recorded rewards."""

    values: np.ndarray
    """Of every fitted critic at every start of a trajectory, shape (members, starts)."""

    state_values: np.ndarray
    """Of every fitted critic, the mean over states of all kinds, shape (members,)."""

    returns: np.ndarray
    """The discounted returns that the data's own behaviour had from these starts to the trajectories' ends, shape
    (starts,)."""

    drift: float
    """What the last quarter of the updates changed in the value."""

    steps: int
    """Updates of the fitted critics."""

    discount: float
    """Discount factor per step."""

    held_out: bool
    """Whether all starts are those of trajectories that neither the policy nor the critics were trained on."""

    diagnostics: Diagnostics
    """What needs no fit."""

    @property
    def value(self) -> float:
        """The mean over starts and members."""
        return float(self.values.mean())

    @property
    def interval(self) -> tuple[float, float]:
        """The limits of its 95% interval over trajectories and members; nan for a single one of either.

        The variances of the two means add up, and Student's quantile has their degrees of freedom (Welch and
        Satterthwaite). What all members get wrong in the same way is not in it.
        """
        from scipy import stats  # a second to import

        parts = [(np.var(means, ddof=1) / len(means), len(means) - 1) for means in self._means() if len(means) > 1]
        if len(parts) < 2:
            return math.nan, math.nan
        variance = sum(part for part, _ in parts)
        if variance == 0:
            return self.value, self.value
        freedom = variance**2 / sum(part**2 / degrees for part, degrees in parts)
        half = float(stats.t.ppf(0.5 + CONFIDENCE / 2, freedom)) * math.sqrt(variance)
        return self.value - half, self.value + half

    @property
    def supported(self) -> bool:
        """Whether the policy's actions are about as near to the data's as the behaviour's are, or nobody knows."""
        return not self.diagnostics.away > FAR

    def _means(self) -> tuple[np.ndarray, np.ndarray]:
        return self.values.mean(1), self.values.mean(0)

    @property
    def warnings(self) -> list[str]:
        """What speaks against trusting the value, one sentence each."""
        found = []
        if math.isnan(self.diagnostics.away):
            found.append(
                "How far the policy's actions are from the data's could not be measured, so whether the data supports "
                "it is not known: give data with more than one trajectory."
            )
        if (flow := self.diagnostics.flow_distance) > ASTRAY * self.diagnostics.data_distance:
            found.append(
                f"The behaviour's own actions are {flow / self.diagnostics.data_distance:.2g} times as far from the "
                "data's as the data's are from each other: train it for longer, since a policy is measured against it."
            )
        if not self.supported:
            found.append(
                f"The policy's actions are {self.diagnostics.away:.2g} times as far from the data's as those of the "
                "behaviour are, so the value is a guess, and probably too high."
            )
        if abs(self.drift) > UNSETTLED * abs(self.value):
            found.append(
                f"The fit was still moving: its last quarter changed the value by {self.drift:.3g}. Give more updates "
                f"than {self.steps:,}."
            )
        if math.isnan(self.interval[0]):
            found.append("An interval needs at least two critics and two starts of trajectories.")
        if not self.held_out:
            found.append(
                "It is judged at starts that it was trained on, since fewer than 10 trajectories are held out."
            )
        return found

    def metrics(self) -> dict[str, float]:
        """By column of the log, with the limits of the 95% interval as `.low` and `.high`."""
        low, high = self.interval
        return {
            "estimate/value": self.value,
            "estimate/value.low": low,
            "estimate/value.high": high,
            "estimate/state_value": float(self.state_values.mean()),
            "estimate/data_return": float(self.returns.mean()),
            "estimate/drift": self.drift,
            "estimate/updates": float(self.steps),
            "estimate/away": self.diagnostics.away,
            "estimate/supported": float(self.supported),
            **self.diagnostics.metrics(),
        }

    def __repr__(self) -> str:
        return f"ValueEstimate({self})"

    def __str__(self) -> str:
        low, high = self.interval
        interval = "" if math.isnan(low) else f" [{low:.3g}, {high:.3g}]"
        members, starts = self.values.shape
        where = f"{starts} {'held-out ' if self.held_out else ''}start{'s' * (starts != 1)}"
        return (
            f"value {self.value:.3g}{interval} at {where}, {members} critic{'s' * (members != 1)}, "
            f"where the data's own returns were {self.returns.mean():.3g} (discount {self.discount:g})"
        )

"""Action bounds: the units that actions have outside of deflow, where agents act in [-1, 1]."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from ..errors import DataError

Origin = Literal["environment", "given", "source", "data"]
"""Who says so: the environment, the user, the data's source (as Minari does), or the data's own range."""


@dataclasses.dataclass(frozen=True)
class ActionBounds:
    """The lowest and the highest action, in the user's units: -1 and 1 of an agent."""

    low: tuple[float, ...]
    """Of each coordinate."""

    high: tuple[float, ...]
    """Of each coordinate, not below `low`. Where they are equal, the action is that number."""

    origin: Origin = "given"
    """Who says so."""

    def __post_init__(self) -> None:
        for name in ("low", "high"):  # as JSON gives them, too
            object.__setattr__(self, name, tuple(map(float, getattr(self, name))))
        low, high = np.asarray(self.low, np.float64), np.asarray(self.high, np.float64)
        if low.ndim != 1 or low.shape != high.shape or not len(low):
            raise DataError(
                f"Action bounds need one low and one high for each coordinate, got {len(low)} and {len(high)}."
            )
        if not (np.all(np.isfinite(low)) and np.all(np.isfinite(high)) and np.all(low <= high)):
            raise DataError(
                f"Action bounds must be finite, and low must not be above high, got {_said(low)} and {_said(high)}."
            )

    @classmethod
    def of(cls, low: Any, high: Any, size: int, origin: Origin) -> "ActionBounds":
        """From arrays or numbers; one number counts for all `size` coordinates.

        Raises:
            DataError: If their number is another, or they are not in order.
        """
        found = []
        for name, values in (("low", low), ("high", high)):
            each = np.atleast_1d(np.asarray(values, np.float64))
            if each.shape not in ((1,), (size,)):
                raise DataError(
                    f"Actions have {size} coordinates, and the {name} bounds {each.size}: give one or {size}."
                )
            found.append(tuple(map(float, np.broadcast_to(each, (size,)))))
        return cls(low=found[0], high=found[1], origin=origin)

    def to_unit(self, actions: np.ndarray) -> np.ndarray:
        """Actions (N, A) in the user's units -> [-1, 1], float32. A coordinate with low = high is 0 there."""
        if self.is_unit:
            return actions  # as they are: rounding would change small ones
        return to_unit(actions, np.asarray(self.low), np.asarray(self.high))

    def from_unit(self, actions: np.ndarray) -> np.ndarray:
        """Actions in [-1, 1] -> the user's units, float64: -1 and 1 give the bounds themselves."""
        return from_unit(actions, np.asarray(self.low), np.asarray(self.high))

    def check_size(self, size: int) -> "ActionBounds":
        """Itself, if it has this number of coordinates.

        Raises:
            DataError: If it has not.
        """
        if len(self.low) != size:
            raise DataError(f"Actions have {size} coordinates, and the bounds {len(self.low)}: give bounds for each.")
        return self

    @functools.cached_property
    def is_unit(self) -> bool:
        """Whether they are -1 and 1 in every coordinate: the user's units are the agent's."""
        return set(self.low) == {-1.0} and set(self.high) == {1.0}

    @functools.cached_property
    def in_float32(self) -> tuple[np.ndarray, np.ndarray]:
        """The smallest float32 that is not below `low`, and the largest that is not above `high`. Where none lies
        between them, the nearest."""
        low, high = np.asarray(self.low), np.asarray(self.high)
        least, most = low.astype(np.float32), high.astype(np.float32)
        least = np.where(least < low, np.nextafter(least, np.float32(np.inf)), least)
        most = np.where(most > high, np.nextafter(most, np.float32(-np.inf)), most)
        crossed, nearest = least > most, low.astype(np.float32)
        return np.where(crossed, nearest, least), np.where(crossed, nearest, most)

    def from_unit_in_float32(self, actions: np.ndarray) -> np.ndarray:
        """The same in float32, as a new array, of which nothing lies outside of the bounds either."""
        if self.is_unit:
            return np.array(actions, np.float32)
        return np.clip(self.from_unit(actions).astype(np.float32), *self.in_float32)

    def __str__(self) -> str:
        return f"[{_said(self.low)}, {_said(self.high)}]"


def from_unit(action: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Actions in [-1, 1] -> [low, high], in the bounds' type: -1 and 1 give the bounds themselves, nothing lies beyond.

    A coordinate with low = high is that number whatever the action is.
    """
    wide = np.asarray(low, np.float64), np.asarray(high, np.float64)
    scaled = wide[0] + (np.asarray(action, np.float64) + 1) / 2 * (wide[1] - wide[0])
    return np.clip(scaled.astype(low.dtype), low, high)  # the type's rounding may leave the bounds


def to_unit(actions: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """The inverse, in float32: the bounds give -1 and 1. A coordinate with low = high is 0."""
    wide = np.asarray(low, np.float64), np.asarray(high, np.float64)
    width = wide[1] - wide[0]
    unit = 2 * (np.asarray(actions, np.float64) - wide[0]) / np.where(width > 0, width, 1) - 1
    return np.where(width > 0, unit, np.asarray(actions, np.float64) - wide[0]).astype(np.float32)


def _said(values: Sequence[float] | np.ndarray) -> str:
    """One number if all are equal, else the first few."""
    distinct = list(dict.fromkeys(float(value) for value in values))
    if len(distinct) == 1:
        return f"{distinct[0]:g}"
    return "(" + ", ".join(f"{value:.4g}" for value in list(values)[:6]) + (", ..." if len(values) > 6 else "") + ")"

"""Estimates of several policies: ranked, beside what was measured of them, and how well the two agree."""

import csv
import dataclasses
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table
from rich.text import Text

from ..errors import ReportError
from .table import narrow_table

VALUE, LOW, HIGH = "estimate/value", "estimate/value.low", "estimate/value.high"
"""Columns of the value and its interval."""

MEASURED = ("evaluation/success", "evaluation/episode.return")
"""What the environment said of a policy, where it was asked; the first that is known counts."""

CAPTION = (
    "Value: the discounted return by fitted Q evaluation, with a 95% interval over trajectories and critics. Away: the "
    "distance of the policy's actions to the data's, in units of the behaviour's; beyond 1.1 the value is a guess, and "
    "probably too high (dim). TD error and bias (value - return seen) are the own critic's. The value compares "
    "policies; do not trust its digits."
)
"""What the numbers are, and what they are not."""


@dataclasses.dataclass(frozen=True)
class EstimatedPolicy:
    """A policy and what is known of it."""

    run: str
    """The run's directory, from the table's folder."""

    name: str
    """Its row in tables: algorithm and seed."""

    step: int
    """The checkpoint's step."""

    settings: str
    """What the estimate was made with; only equal ones compare."""

    numbers: Mapping[str, float]
    """By column: `estimate/...`, and `evaluation/...` where the environment was asked."""

    def __getitem__(self, name: str) -> float:
        return self.numbers.get(name, math.nan)

    @property
    def supported(self) -> bool:
        """Whether the data supports the policy's actions; if not, its value is a guess."""
        return self["estimate/supported"] != 0


@dataclasses.dataclass(frozen=True)
class Agreement:
    """How an estimate ranks policies, where they were measured."""

    policies: int
    """Number of policies that the data supports."""

    measured: int
    """Number of all that were measured."""

    rank_correlation: float
    """Spearman's."""

    regret: float
    """What the best policy measures more than the one with the highest estimate."""


@dataclasses.dataclass(frozen=True)
class Estimates:
    """Policies and their estimates, in any order."""

    policies: tuple[EstimatedPolicy, ...]

    @property
    def ranked(self) -> list[EstimatedPolicy]:
        """The policies that the data supports, the highest value first, and then the others."""
        return sorted(self.policies, key=lambda policy: (not policy.supported, -policy[VALUE]))

    @property
    def measure(self) -> str | None:
        """The column by which the policies were measured; None if fewer than two were."""
        for name in MEASURED:
            if sum(not math.isnan(policy[name]) for policy in self.policies) > 1:
                return name
        return None

    def agreement(self, column: str = VALUE) -> Agreement | None:
        """How the ranking by a column agrees with what was measured, over the policies that the data supports; None
        where fewer than three were measured."""
        known = [policy for policy in self.policies if not math.isnan(policy[self.measure or ""])]
        ranked = [policy for policy in known if policy.supported and not math.isnan(policy[column])]
        if self.measure is None or len(ranked) < 3:
            return None
        from scipy import stats  # a second to import

        estimated, measured = np.array([(policy[column], policy[self.measure]) for policy in ranked]).T
        varied = np.ptp(estimated) > 0 and np.ptp(measured) > 0
        found = stats.spearmanr(estimated, measured)[0] if varied else math.nan
        best = max(policy[self.measure] for policy in known)
        correlation = float(found)  # pyright: ignore[reportArgumentType]
        return Agreement(len(ranked), len(known), correlation, float(best - measured[estimated.argmax()]))

    def table(self) -> Table:
        """The table for the terminal."""
        table = narrow_table("Estimates, the highest first; those that the data does not support last", CAPTION)
        measured = [] if self.measure is None else [self.measure]
        headings = ("policy", "step", "value", "away", "TD\nerror", "bias")
        for heading in (*headings, *(name.rpartition(".")[2].rpartition("/")[2] for name in measured)):
            table.add_column(heading, justify="left" if heading == "policy" else "right", no_wrap=heading != "policy")
        for policy in self.ranked:
            value = _plain(policy[VALUE]) + (
                "" if math.isnan(policy[LOW]) else f" [{policy[LOW]:.3g}, {policy[HIGH]:.3g}]"
            )
            bias = policy["estimate/critic_value"] - policy["estimate/seen_return"]
            cells = (policy.name, f"{policy.step:,}", value, _plain(policy["estimate/away"], ".2f"))
            cells += (_plain(policy["estimate/td_error"]), _plain(bias))
            style = None if policy.supported else "dim"
            table.add_row(*map(Text, (*cells, *(_plain(policy[name]) for name in measured))), style=style)
        own = {_plain(policy["estimate/data_return"]) for policy in self.policies}
        last = ("the data's own", "", ", ".join(sorted(own)))
        table.add_section()
        table.add_row(*map(Text, last))
        return table

    def notes(self) -> list[str]:
        """How well the estimates agree with what was measured, in words."""
        found = self.agreement()
        if found is None or self.measure is None:
            return []
        what = "success" if self.measure == MEASURED[0] else "the return"
        left_out = found.measured - found.policies
        without = f" (without {left_out} that the data does not support)" if left_out else ""
        return [
            f"Against {what} in the environment, over {found.policies} policies{without}: rank correlation "
            f"{found.rank_correlation:.2f}; the first one has {found.regret:.3g} less than the best of all."
        ]

    def csv(self) -> str:
        """One line per policy, blank where a number is unknown."""
        columns = sorted({name for policy in self.policies for name in policy.numbers})
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([*_FIELDS, *columns])
        for policy in self.policies:
            numbers = ["" if math.isnan(policy[name]) else repr(float(policy[name])) for name in columns]
            writer.writerow([*(getattr(policy, name) for name in _FIELDS), *numbers])
        return text.getvalue()

    @classmethod
    def read(cls, path: str | Path) -> "Estimates":
        """What `csv` wrote.

        Raises:
            ReportError: If the file cannot be read, or is none of these.
        """
        try:
            with open(path, encoding="utf-8", newline="") as file:
                return cls(tuple(map(_restored, csv.DictReader(file, strict=True))))
        except OSError as error:
            raise ReportError(f"Cannot read {path}: {error.strerror or error}; name another file.") from error
        except (ValueError, KeyError, TypeError, csv.Error) as error:
            begins = ",".join(_FIELDS)
            raise ReportError(
                f"{path} is no table of estimates, whose first line begins with {begins}, or it is damaged: name "
                "another file."
            ) from error

    def with_policies(self, policies: Sequence[EstimatedPolicy]) -> "Estimates":
        """These and further ones; the later ones replace those of the same checkpoint and settings."""
        found = {(policy.run, policy.step, policy.settings): policy for policy in (*self.policies, *policies)}
        return Estimates(tuple(found.values()))


_FIELDS = ("run", "name", "step", "settings")


def _restored(row: dict[str, Any]) -> EstimatedPolicy:
    fields = {name: row.pop(name) for name in _FIELDS}
    numbers = {name: math.nan if text == "" else float(text) for name, text in row.items()}
    return EstimatedPolicy(**{**fields, "step": int(fields["step"])}, numbers=numbers)


def _plain(number: float, style: str = ".3g") -> str:
    return "" if math.isnan(number) else f"{number:{style}}"

"""The report card as text: some forty lines for a terminal, and every dimension as a table of its own."""

import csv
import dataclasses
import io
import math
from typing import TYPE_CHECKING

import numpy as np

from .dimensions import Dimension
from .similarity import bounds_that_follow

if TYPE_CHECKING:
    from .card import ReportCard

SHOWN = 8
"""Of more dimensions than this, a column's first ones are shown."""

HEADINGS = ("dimension", "lowest", "mean", "highest", "deviation", "at low", "at high")


def whole(card: "ReportCard") -> str:
    """Everything that `facts`, `table` and the warnings say."""
    said = facts(card)
    width = max(map(len, said))
    lines = [card.title, *(f" {name:<{width}}  {fact}" for name, fact in said.items()), "", *table(card), ""]
    return "\n".join([*lines, *warned(card)])


def facts(card: "ReportCard", factor: float = 0.1) -> dict[str, str]:
    """Name -> sentence. `factor` is the one by which bounds follow from the variance."""
    found = {"rows": f"{card.rows:,}, of which {card.transitions:,} are transitions"}
    if card.held_out:
        found["rows"] += f"; the source holds out {card.held_out:,} more"
    if card.assumed:
        found["read as"] = "; ".join(card.assumed)
    ends = card.trajectories
    found["trajectories"] = f"{len(ends.lengths):,}, of {_three(ends.lengths)} rows (lowest, median, highest)"
    found["ends"] = f"{ends.reading or 'unknown'}"
    known = "none is known" if ends.terminations is None else f"{ends.terminations:,}"
    found["terminations"] = f"{known}; {ends.truncations:,} trajectories truncated"
    if (rewards := card.rewards) is not None:
        by = ", by OGBench's rules" if card.relabelled else ""
        found["rewards"] = (
            f"lowest {rewards.lowest:.4g}, mean {rewards.mean:.4g}, highest {rewards.highest:.4g}; "
            f"{rewards.distinct:,} different{by}{_bad(rewards.not_finite)}"
        )
        found["returns"] = f"{_three(rewards.returns)} (lowest, median, highest)"
    else:
        found["rewards"] = "none"
    for name in ("observations", "actions"):
        found[name] = card.sizes.get(name, "none") + _remarks([each for each in card.dimensions if each.column == name])
    if card.bounds is not None:
        origin = {"data": "the data's own range", "source": "as the source says", "environment": "the environment's"}
        found["action bounds"] = f"{card.bounds}, {origin.get(card.bounds.origin, card.bounds.origin)}"
    if (repeats := card.repeats) is not None:
        found["repeated rows"] = f"{repeats.rows:,}{_percent(repeats.rows, card.rows)}"
        found["repeated rows"] += f"; {repeats.trajectories:,} whole trajectories"
        found["states"] = (
            f"{repeats.states:,} different, {repeats.states_seen_again:,} of them seen again, "
            f"{repeats.states_with_several_actions:,} with different actions; {repeats.actions:,} different actions"
        )
    if (steps := card.steps) is not None and len(steps.lengths):
        found["steps"] = (
            f"median {steps.usual:.3g}, longest {steps.largest:.3g} deviations; {steps.resting:.1%} do not move, "
            f"{steps.jumps:,} jumps{_percent(steps.jumps, len(steps.lengths), 3)} of over 100 medians"
        )
    found |= _similarity(card, factor)
    return found


def table(card: "ReportCard") -> list[str]:
    """The dimensions that are shown on a terminal, one per line."""
    lines, hidden = [HEADINGS], 0
    for name in ("observations", "actions"):
        dimensions = [each for each in card.dimensions if each.column == name]
        shown = dimensions if len(dimensions) <= SHOWN else dimensions[: SHOWN - 2]
        hidden += len(dimensions) - len(shown)
        lines += [_cells(each) for each in shown]
    if len(lines) == 1:
        return []
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    said = [
        f" {line[0]:<{widths[0]}}" + "".join(f"  {c:>{w}}" for c, w in zip(line[1:], widths[1:], strict=True))
        for line in lines
    ]
    return [*said, f" and {hidden:,} more dimensions"] if hidden else said


def warned(card: "ReportCard") -> list[str]:
    """The warnings, one per line."""
    if not card.warnings:
        return ["Nothing stands out."]
    return ["What to do:", *(f" - {warning}" for warning in card.warnings)]


def dimensions_csv(card: "ReportCard") -> str:
    """Every dimension, with all that is known of it, as CSV."""
    written = io.StringIO()
    names = [field.name for field in dataclasses.fields(Dimension)]
    rows = csv.writer(written, lineterminator="\n")
    rows.writerow(names)
    rows.writerows([getattr(each, name) for name in names] for each in card.dimensions)
    return written.getvalue()


def _similarity(card: "ReportCard", factor: float) -> dict[str, str]:
    """Variance, bounds and nearest neighbours."""
    if (similar := card.similarity) is None:
        return {"action variance": f"not measured: it {card.why_not}"}
    variance, rows = similar.variance, f"{similar.rows:,} rows" if similar.rows < card.rows else "all rows"
    actions = 0 if card.bounds is None else len(card.bounds.low)
    bounds = bounds_that_follow(variance.value, factor, actions)
    said = ", ".join(f"{name} {value:.4g}" for name, value in bounds.items())
    other = "; 1 x for navigation" if factor != 1 else ""
    if (r2 := similar.explained) is not None:
        nearest = f"of other trajectories explain {max(r2, 0.0):.0%} of the actions' variance (R^2 {r2:.3f})"
    elif len(card.trajectories.lengths) < 2:
        nearest = "cannot be held out: there is a single trajectory"
    else:
        nearest = "have nothing to explain: the actions are constant, or too few"
    return {
        "action variance": (
            f"{variance.value:.4g} between {variance.neighbours} similar states, median {variance.quantiles[2]:.3g} "
            f"(at {variance.rows:,} states, among {rows})"
        ),
        "trust region": f"bounds that follow: {said} ({factor:g} x variance{other})",
        "nearest states": nearest,
    }


def _remarks(dimensions: list[Dimension]) -> str:
    """What is unusual: `, 2 constant, 1 with numbers that are not finite`."""
    constant = sum(each.constant for each in dimensions)
    bad = sum(each.not_finite > 0 for each in dimensions)
    said = f", {constant} constant" if constant else ""
    return said + (f", {bad} with numbers that are not finite" if bad else "")


def _cells(each: Dimension) -> tuple[str, ...]:
    numbers = (each.lowest, each.mean, each.highest, each.deviation)
    shares = ("" if math.isnan(share) else f"{share:.1%}" for share in (each.at_low, each.at_high))
    return (each.title, *(f"{number:.3g}" for number in numbers), *shares)


def _three(values: np.ndarray) -> str:
    """Lowest, median and highest of those that are finite."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return "no"
    whole = finite.dtype.kind in "iu"
    three = (finite.min(), np.median(finite), finite.max())
    said = ", ".join(f"{number:,.0f}" if whole else f"{number:.4g}" for number in three)
    return said + _bad(len(values) - len(finite))


def _bad(count: int) -> str:
    return f"; {count:,} are not finite" if count else ""


def _percent(part: int, total: int, digits: int = 1) -> str:
    return f" ({part / total:.{digits}%})" if total else ""

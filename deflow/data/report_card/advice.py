"""Advice: what in a report card stands in the way of training, and what to do about it. Every threshold is here."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from .dimensions import Dimension

if TYPE_CHECKING:
    from .card import ReportCard

UNIT = 10.0
"""Observations whose mean or deviation is beyond this are not of unit scale, which networks learn badly from."""

SATURATED = 0.25
"""With more than this share of rows at a bound, an action is saturated: proposals of a flow spill over the bound."""

REPEATED = 0.01
"""With more than this share of rows that repeat earlier ones, data was probably stored twice."""

UNEXPLAINED = 0.05
"""If similar states explain less than this of the actions' variance, the observations tell nothing about them."""

NAMED = 4
"""So many dimensions are named in a warning."""


def advise(card: "ReportCard") -> Iterator[str]:
    """One sentence for each warning, in the order in which things should be repaired."""
    observations = [each for each in card.dimensions if each.column == "observations"]
    actions = [each for each in card.dimensions if each.column == "actions"]
    yield from _numbers(card.dimensions)
    if card.trajectories.problem:
        yield f"Loading will refuse how trajectories end. {card.trajectories.problem}"
    elif card.trajectories.terminations is None:
        yield (
            f"There are neither terminations nor truncations, only {len(card.trajectories.lengths):,} ends of "
            "trajectories, and the value continues past each of them: if episodes are over for good there, say so "
            'with terminals="termination".'
        )
    yield from _rewards(card)
    if constant := [each for each in observations if each.constant]:
        yield (
            f"{_named(constant)} never {_verb(constant, 'changes', 'change')}: encoder:standardize ignores constant "
            "dimensions; or leave them out with columns.observation."
        )
    if observations and card.steps is None:
        yield (
            "Observations are images: where no settings are published, name an encoder for them (encoder:impala-small) "
            "and the trust region's bound, which cannot be measured between images."
        )
    if unscaled := [each for each in observations if _is_unscaled(each)]:
        worst = max(unscaled, key=lambda each: max(abs(each.mean), each.deviation))
        yield (
            f"{_named(unscaled)} {_verb(unscaled, 'is', 'are')} not of unit scale (mean {worst.mean:.3g}, deviation "
            f"{worst.deviation:.3g} of {worst.title}): use encoder:standardize, the default without published settings."
        )
    yield from _actions(card, actions)
    yield from _rows(card)


def _numbers(dimensions: Iterable[Dimension]) -> Iterator[str]:
    dimensions = list(dimensions)
    if bad := [each for each in dimensions if each.not_finite]:
        count = max(each.not_finite for each in bad)
        yield (
            f"{_named(bad)} {_verb(bad, 'is', 'are')} not finite in up to {count:,} rows, which loading refuses: "
            "repair or remove them."
        )
    if large := [each for each in dimensions if each.too_large]:
        yield f"{_named(large)} {_verb(large, 'exceeds', 'exceed')} 1e9, which loading refuses: scale the column."


def _rewards(card: "ReportCard") -> Iterator[str]:
    rewards = card.rewards
    if rewards is None:
        yield (
            "There are no rewards: name their column with columns.reward, or for OGBench's data its task as the "
            "environment, whose rules give them."
        )
        return
    if rewards.not_finite:
        yield f"{rewards.not_finite:,} rewards are not finite, which loading refuses: repair or remove these rows."
    if rewards.distinct == 1:
        yield (
            f"Every reward is {rewards.lowest:g}, so nothing tells a good action from a bad one: check the column, or "
            "imitate the data with the algorithm flow-bc."
        )


def _actions(card: "ReportCard", actions: list[Dimension]) -> Iterator[str]:
    if constant := [each for each in actions if each.constant]:
        yield (
            f"{_named(constant)} never {_verb(constant, 'changes', 'change')}, so nothing is learned about it: leave "
            "it out with columns.action."
        )
    if beyond := [each for each in actions if each.beyond]:
        yield (
            f"{_named(beyond)} {_verb(beyond, 'lies', 'lie')} beyond the bounds {card.bounds} in up to "
            f"{max(each.beyond for each in beyond):,} rows, which loading refuses: clip the actions, or correct the "
            "bounds."
        )
    moving = [each for each in actions if not each.constant]
    if moving and all(each.whole for each in moving) and moving[0].name != "all":
        yield (
            "All actions are whole numbers. deflow's are continuous: if these are choices, it cannot learn from them; "
            "else nothing needs to be done."
        )
    elif saturated := [each for each in moving if max(each.at_low, each.at_high) > SATURATED]:
        worst = max(max(each.at_low, each.at_high) for each in saturated)
        of = "range" if card.bounds is None or card.bounds.origin == "data" else "bounds"
        yield (
            f"{_named(saturated)} {_verb(saturated, 'is', 'are')} at an end of the {of} in up to {worst:.0%} of rows: "
            "if that is how they were clipped when they were recorded, save them unclipped with wider bounds; if it "
            "is on and off, expect the flow to put actions in between."
        )


def _rows(card: "ReportCard") -> Iterator[str]:
    if card.repeats is not None and card.repeats.rows > REPEATED * card.rows:
        copies = card.repeats.trajectories
        yield (
            f"{card.repeats.rows:,} of {card.rows:,} rows repeat an earlier one, {copies:,} trajectories wholly: "
            "remove what was stored twice, since it counts twice and makes held-out data known; what merely stands "
            "still may stay."
        )
    steps = card.steps
    if steps is not None and steps.broken:
        yield (
            f"In {steps.broken:,} rows the next observation is not that of the next row although no trajectory ends "
            "there, which loading refuses: mark the ends, in truncations or with columns.episode."
        )
    elif steps is not None and steps.first_jump is not None:
        yield (
            f"The state jumps by over 100 usual steps after {steps.jumps:,} rows, first after row "
            f"{steps.first_jump:,}: if a trajectory ends there, mark it, in truncations or with columns.episode."
        )
    if card.similarity is None:
        return
    if card.similarity.variance.value == 0:
        yield (
            "Similar states have the same actions, so no bound follows from their variance: give the trust "
            "region's bound as a number."
        )
    if card.similarity.explained is not None and card.similarity.explained < UNEXPLAINED:
        yield (
            f"Similar states explain {max(0.0, card.similarity.explained):.0%} of the actions' variance: unless they "
            "were random, add to the observations what they depend on (a goal, velocities, earlier steps), and check "
            "that each action stands in the row of the state it was taken in."
        )


def _is_unscaled(dimension: Dimension) -> bool:
    if dimension.name == "all" or dimension.constant:  # images are scaled by their encoder
        return False
    return abs(dimension.mean) > UNIT or dimension.deviation > UNIT


def _named(dimensions: list[Dimension]) -> str:
    """`Observation 3, 4`, `Action grip and observation 3, 4, 5, 6 and 20 more`."""
    said = []
    for column in dict.fromkeys(each.column for each in dimensions):
        names = [each.name for each in dimensions if each.column == column]
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        said.append(f"{column.removesuffix('s')} {', '.join(names[:NAMED])}{more}")
    text = "; ".join(said)
    return text[:1].upper() + text[1:]


def _verb(dimensions: list[Dimension], one: str, several: str) -> str:
    return one if len(dimensions) == 1 else several

"""An agent in a few lines, for people: each part's class, its numbers and how many parameters it trains."""

import dataclasses
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax

from ..types import trainable

if TYPE_CHECKING:
    from .agent import Agent


def summary(agent: "Agent") -> str:
    """One line per part."""
    shape, size = agent.spec.observation_shape, agent.spec.action_size
    fields = [field.name for field in dataclasses.fields(agent)]
    parts = {name: getattr(agent, name) for name in fields[: fields.index("spec")]}
    numbers = {name: getattr(agent, name) for name in fields[fields.index("spec") + 1 :]}
    lines = [f"{name}={_one_line(part)}" for name, part in parts.items()]
    lines.append(", ".join(f"{name}={value}" for name, value in numbers.items()))
    indented = "".join(f"\n  {line}," for line in lines)
    count = f"{number_of_parameters(agent):,} trained parameters"
    return f"Agent({indented}\n  observation {shape}, action ({size},), {count}\n)"


def _one_line(part: Any) -> str:
    """The class and the fields that are neither arrays nor networks."""
    values = []
    for field in dataclasses.fields(part):
        value = getattr(part, field.name)
        if isinstance(value, bool | int | float | str):
            values.append(f"{field.name}={value!r}")
    count = number_of_parameters(part)
    return f"{type(part).__name__}({', '.join(values)})" + (f" with {count:,} parameters" * (count > 1))


def number_of_parameters(tree: Any) -> int:
    """How many numbers of a tree are trained."""
    return sum(array.size for array in jax.tree.leaves(eqx.filter(tree, trainable(tree))))

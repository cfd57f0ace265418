"""From a program's steps to JSON and arrays: what is not needed is left out, and values get places."""

import itertools
from typing import Any

import numpy as np

from .steps import Program, Step, content


class Arrays:
    """The arrays of an export, each once."""

    def __init__(self) -> None:
        self.arrays: list[np.ndarray] = []
        self._numbers: dict[Any, int] = {}

    def number(self, array: np.ndarray) -> int:
        """The number of an array, which is added if there is no equal one."""
        number = self._numbers.setdefault(content(array), len(self.arrays))
        if number == len(self.arrays):
            self.arrays.append(array.copy(order="C"))
        return number


def written(program: Program, arrays: Arrays) -> dict[str, Any]:
    """The program as JSON: the places of inputs, outputs and constants, the steps for loading and those for acting.

    A place is used again when its value is not needed any more, except for those of inputs and constants.
    """
    steps, last = _needed(program)
    used = [*(value for step in steps for value in step.inputs), *program.outputs]
    constants = {value.lies: value.constant for value in used if value.constant is not None}
    prepared = [value for step in steps if step.fixed for value in step.outputs]
    kept = [*(value.lies for value in program.inputs), *constants, *(value.lies for value in prepared)]
    places: dict[object, int] = {lies: place for place, lies in enumerate(kept)}
    new, free = itertools.count(len(places)), []
    lines: dict[bool, list[dict[str, Any]]] = {True: [], False: []}
    for step in steps:
        inputs = [places[value.lies] for value in step.inputs]
        done = {value.lies for value in step.inputs if last.get(value.lies) is step}
        free += [places[lies] for lies in done if places[lies] >= len(kept)]
        for value in step.outputs:
            if value.lies not in places:
                places[value.lies] = free.pop() if free else next(new)
        outputs = [places[value.lies] for value in step.outputs]
        free += [places[value.lies] for value in step.outputs if value.lies not in last and not step.fixed]
        lines[step.fixed].append({"do": step.do, "in": inputs, "out": outputs, **_settings(step, arrays)})
    return {
        "inputs": [places[value.lies] for value in program.inputs],
        "outputs": [places[value.lies] for value in program.outputs],
        "constants": [[places[lies], arrays.number(array)] for lies, array in constants.items()],
        "places": max(places.values()) + 1,
        "once": lines[True],
        "steps": lines[False],
    }


def _needed(program: Program) -> tuple[list[Step], dict[object, Step | None]]:
    """The steps whose outputs are used, and for each value the step that uses it last."""
    steps: list[Step] = []
    last: dict[object, Step | None] = {value.lies: None for value in program.outputs}
    for step in reversed(program.steps):
        if any(value.lies in last for value in step.outputs):
            steps.append(step)
            for value in step.inputs:
                last.setdefault(value.lies, step)
    return steps[::-1], last


def _settings(step: Step, arrays: Arrays) -> dict[str, Any]:
    """The step's settings as JSON, programs included."""
    inner = step.settings.get("programs")
    return step.settings if inner is None else {**step.settings, "programs": [written(p, arrays) for p in inner]}

"""JAX's primitives as steps of the plain page: loops and branches, which have programs inside.

A program inside has as its inputs the size of the batch, then what is the same in each of its calls and not a constant,
then what changes.
"""

from collections.abc import Sequence
from typing import Any

from .rules import rule
from .steps import Made, Program, Value, unsupported
from .walking import walk


def _inside(program: Program, traced: Any, same: Sequence[Value], own: slice, changing: Sequence[Any]) -> Program:
    """A traced function of some of what is the `same`, its `own`, and of all that is `changing`."""
    inner = Program(program.batch)
    given = [
        inner.input(value.shape, value.dtype) if value.constant is None else inner.constant(value.constant, value.shape)
        for value in same
    ]
    changed = [inner.input(value.shape, value.dtype) for value in changing]
    outputs = walk(inner, traced.jaxpr, traced.consts, [*given[own], *changed])
    inner.outputs = [inner.whole(value) for value in outputs]
    return inner


def _step(
    program: Program,
    do: str,
    programs: list[Program],
    same: Sequence[Value],
    changing: Sequence[Value],
    made: Any,
    **settings: Any,
) -> list[Value]:
    given = [program.whole(value) for value in same if value.constant is None]
    inputs = [program.batch_size, *given, *map(program.whole, changing)]
    outputs: list[Made] = [(output.shape, output.shape, output.dtype) for output in made]
    return program.step(do, inputs, *outputs, programs=programs, same=1 + len(given), **settings)


@rule("while")
def _while(
    program: Program,
    inputs: list[Value],
    made: Any,
    *,
    cond_nconsts: int,
    cond_jaxpr: Any,
    body_nconsts: int,
    body_jaxpr: Any,
    **_: Any,
) -> list[Value]:
    count = cond_nconsts + body_nconsts
    same, state = inputs[:count], inputs[count:]
    programs = [
        _inside(program, cond_jaxpr, same, slice(cond_nconsts), state),
        _inside(program, body_jaxpr, same, slice(cond_nconsts, count), state),
    ]
    return _step(program, "while", programs, same, state, made)


@rule("scan")
def _scan(
    program: Program,
    inputs: list[Value],
    made: Any,
    *,
    jaxpr: Any,
    length: Any,
    num_consts: int,
    num_carry: int,
    reverse: bool,
    **_: Any,
) -> list[Value]:
    if not isinstance(length, int) or length == 0:
        raise unsupported(f"loops of length {length}")
    same, changing = inputs[:num_consts], inputs[num_consts:]
    rows = [variable.aval for variable in jaxpr.jaxpr.invars[num_consts:]]
    programs = [_inside(program, jaxpr, same, slice(None), rows)]
    settings = {"carried": int(num_carry), "length": length, "reverse": bool(reverse)}
    return _step(program, "scan", programs, same, changing, made, **settings)


@rule("cond")
def _cond(program: Program, inputs: list[Value], made: Any, *, branches: Any, **_: Any) -> list[Value]:
    which, *same = inputs
    programs = [_inside(program, branch, same, slice(None), []) for branch in branches]
    return _step(program, "cond", programs, same, [which], made)

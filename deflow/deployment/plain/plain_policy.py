"""A policy exported by deflow, in NumPy alone: `PlainPolicy("policy.npz").act(observation, noise)`.

This page and the npz are all that a robot needs, with Python 3.8 and NumPy 1.21 or later. The npz holds arrays c0, c1,
... and two texts in JSON: `about`, what the policy is, and `program`, what it computes, in steps such as

    {"do": "add", "in": [12, 7], "out": [13]}

which reads two numbered places, calls the function that this page has under the step's name, and writes the result to
a third place. To port a policy, write those functions that its steps name in another language. Results have the types
of their arguments: float32, int32, uint8, bool.
"""

import json

import numpy as np


class PlainPolicy:
    """A policy from an npz. It has no state and draws nothing: equal observations and noise give equal actions."""

    def __init__(self, path):
        try:
            with np.load(path, allow_pickle=False) as file:
                self.about, page = json.loads(str(file["about"])), json.loads(str(file["program"]))
                self._run = program(page, [file[f"c{number}"] for number in range(page["arrays"])])
        except FileNotFoundError:
            raise
        except Exception as error:  # what an archive raises that is damaged is of many kinds
            what = f"{type(error).__name__}: {error}"
            raise ValueError(f"{path} is damaged, or is no exported policy ({what}): export it again.") from error
        self.observation_shape, self.noise_shape = self._shapes = [tuple(given["shape"]) for given in page["given"]]
        self._types = [np.dtype(given["type"]) for given in page["given"]]

    def act(self, observation, noise):
        """The action for one observation, or one for each of a batch, which has one more axis in front.

        `noise` has the shape `noise_shape`, with the same axis in front: standard normal numbers, drawn anew for each
        action. Raises a ValueError for other shapes and types.
        """
        given = [np.asarray(observation), np.asarray(noise)]
        batch = given[0].shape[: max(given[0].ndim - len(self.observation_shape), 0)]
        for name, x, shape, kind in zip(("observation", "noise"), given, self._shapes, self._types):
            if x.shape != batch + shape or len(batch) > 1 or 0 in batch:
                many = ", ".join(["B", *map(str, shape)])
                raise ValueError(
                    f"The policy takes one {name} of shape {shape}, or a batch ({many}) with as many noises as "
                    f"observations, got the shape {x.shape}: give it what it was trained for."
                )
            if x.dtype != kind and (kind.kind != "f" or x.dtype.kind not in "fiub"):
                raise ValueError(f"The policy takes an {name} of type {kind}, got {x.dtype}: convert it.")
        given = [x.astype(kind, copy=False) for x, kind in zip(given, self._types)]
        with np.errstate(all="ignore"):
            return self._run(batch[0], *given)[0] if batch else self._run(1, given[0][None], given[1][None])[0][0]


def program(page, arrays):
    """A program as a function: of the size of the batch and of arrays, to a list of arrays."""
    prepared = [None] * page["places"]
    for place, number in page["constants"]:
        prepared[place] = arrays[number]
    with np.errstate(all="ignore"):
        follow([compiled(step, arrays) for step in page["once"]], prepared)  # what depends on constants alone
    steps = [compiled(step, arrays) for step in page["steps"]]

    def run(*given):
        places = list(prepared)
        for place, value in zip(page["inputs"], given):
            places[place] = value
        follow(steps, places)
        return [places[place] for place in page["outputs"]]

    return run


def compiled(step, arrays):
    """A step as `follow` takes it: how many arguments (0: several results), the function, and the places."""
    settings = {name: value for name, value in step.items() if name not in ("do", "in", "out")}
    if "programs" in settings:
        settings["programs"] = [program(page, arrays) for page in settings["programs"]]
    name, inputs, outputs = step["do"], step["in"], step["out"]
    function = FUNCTIONS[name] if name in FUNCTIONS else {**MAKERS, **SEVERAL}[name](**settings)
    return 0 if name in SEVERAL else len(inputs), function, inputs[0], inputs[-1], inputs, outputs[0], outputs


def follow(steps, places):
    """Carries out steps. Most have one or two arguments and one result, for which lists would take as long as NumPy."""
    for count, function, first, last, inputs, output, outputs in steps:
        if count == 1:
            places[output] = function(places[first])
        elif count == 2:
            places[output] = function(places[first], places[last])
        else:
            found = function(*[places[place] for place in inputs])
            for place, value in zip(outputs, [found] if count else found):
                places[place] = value


# --- functions that act on each entry; NumPy repeats their arguments where these differ in size

ONE = np.float32(1)


def divide(x, y):
    """x / y; of integers, rounded toward zero."""
    return np.divide(x, y) if x.dtype.kind == "f" else ((x - np.fmod(x, y)) // y).astype(x.dtype)


def erf(x):
    """The error function, to 2e-7 (Abramowitz and Stegun 1964, 7.1.26)."""
    t = ONE / (ONE + np.float32(0.3275911) * np.abs(x))
    series = np.float32(1.061405429)
    for coefficient in (-1.453152027, 1.421413741, -0.284496736, 0.254829592):
        series = series * t + np.float32(coefficient)
    return np.copysign(ONE - series * t * np.exp(-x * x), x)


FUNCTIONS = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": divide, "rem": np.fmod, "atan2": np.arctan2,
    "max": np.maximum, "min": np.minimum, "pow": lambda x, y: np.power(x, y.astype(x.dtype)), "nextafter": np.nextafter,
    "neg": np.negative, "abs": np.abs, "sign": np.sign, "square": np.square, "sqrt": np.sqrt, "cbrt": np.cbrt,
    "rsqrt": lambda x: ONE / np.sqrt(x), "floor": np.floor, "ceil": np.ceil, "rint": np.rint,
    "exp": np.exp, "exp2": np.exp2, "expm1": np.expm1, "log": np.log, "log1p": np.log1p, "sin": np.sin, "cos": np.cos,
    "tan": np.tan, "asin": np.arcsin, "acos": np.arccos, "atan": np.arctan, "sinh": np.sinh, "cosh": np.cosh,
    "tanh": np.tanh, "asinh": np.arcsinh, "acosh": np.arccosh, "atanh": np.arctanh, "erf": erf,
    "erfc": lambda x: ONE - erf(x), "logistic": lambda x: ONE / (ONE + np.exp(-x)), "is_finite": np.isfinite,
    "eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal,
    "not": np.invert, "and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor,
    "clamp": lambda low, x, high: np.minimum(np.maximum(x, low), high),
    "select_n": lambda which, *xs: np.where(which, xs[1], xs[0]) if len(xs) == 2 else np.choose(which, xs),
}  # fmt: skip

# --- functions that depend on a step's settings


def dot(x, y):
    """The product of rows, with any axes in front, and a matrix."""
    return np.dot(x.reshape(-1, x.shape[-1]), y).reshape(x.shape[:-1] + y.shape[1:])


def product(shared, summed):
    """Like `dot`, over the last axes of x and those of y after the first ones, which x and y share."""

    def multiplied(x, y):
        both, size = y.shape[:shared], int(np.prod(y.shape[shared : shared + summed]))
        found = np.matmul(x.reshape((*both, -1, size)), y.reshape((*both, size, -1)))
        return found.reshape(x.shape[: x.ndim - summed] + y.shape[shared + summed :])

    return multiplied


def broadcast(shape):
    """An array repeated to a shape, in which "b" is the size of the batch, a second argument."""

    def repeated(x, batch=0):
        found = np.empty([batch if size == "b" else size for size in shape], x.dtype)
        found[...] = x
        return found

    return repeated


def entries(shape, indices, lies, starts, sizes, rest, rank):
    """Which entry of an array of `shape` belongs to each entry of another, of `rank`: an index for each axis, and
    whether it is inside. Windows lie along the axes `lies`, and start where a column of the indices says."""
    found, inside = [], np.ones([1] * rank, bool)
    leading = [indices.shape[rest.index(axis)] if axis in rest else 1 for axis in range(rank)]
    for axis, whole in enumerate(shape):
        size = whole if sizes[axis] is None else sizes[axis]
        index = np.zeros([1] * rank, int)
        if starts[axis] is not None:
            start = indices[..., starts[axis]].reshape(leading).astype(int)
            inside = inside & (start >= 0) & (start <= whole - size)
            index = np.clip(start, 0, whole - size)
        if lies[axis] is not None:
            index = index + np.arange(size).reshape([-1 if other == lies[axis] else 1 for other in range(rank)])
        found.append(index)
    return tuple(np.broadcast_arrays(*found, inside))


def gather(fill, **layout):
    """Windows of an array, with `fill` where one is not inside, or moved to where it fits if that is None."""

    def gathered(x, indices):
        *index, inside = entries(x.shape, indices, **layout)
        return x[tuple(index)] if fill is None else np.where(inside, x[tuple(index)], np.asarray(fill, x.dtype))

    return gathered


def scatter(by, drop, **layout):
    """An array with windows of it replaced by others, or combined with them (`by`)."""

    def scattered(x, indices, updates):
        found, (*index, inside) = x.copy(), entries(x.shape, indices, **layout)
        index = tuple(axis[inside] for axis in index) if drop else tuple(index)
        updates = updates[inside] if drop else updates
        if by is None:
            found[index] = updates
        else:
            FUNCTIONS[by].at(found, index, updates)
        return found

    return scattered


MAKERS = {
    "dot": lambda: dot, "product": product, "broadcast": broadcast, "gather": gather, "scatter": scatter,
    "accumulate": lambda by, axis: lambda x: FUNCTIONS[by].accumulate(x, axis, dtype=x.dtype),
    "argmax": lambda axis, type: lambda x: x.argmax(axis).astype(type),
    "argmin": lambda axis, type: lambda x: x.argmin(axis).astype(type),
    "bits": lambda type: lambda x: np.ascontiguousarray(x).view(type).reshape(x.shape),
    "concatenate": lambda axis: lambda *parts: np.concatenate(parts, axis),
    "convert": lambda type: lambda x: x.astype(type),
    "reduce": lambda by, axes: lambda x: FUNCTIONS[by].reduce(x, axis=tuple(axes), dtype=x.dtype),
    "reshape": lambda shape: lambda x: x.reshape(shape),
    "rev": lambda axes: lambda x: np.flip(x, axes),
    "slice": lambda cuts: lambda x: x[tuple([slice(*cut) for cut in cuts])],
    "transpose": lambda axes: lambda x: x.transpose(axes),
}  # fmt: skip

# --- functions with several results


def loop(programs, same):
    """Repeats the second program while the first gives True. The first `same` arguments stay the same."""

    def run(*given):
        fixed, state = given[:same], given[same:]
        while programs[0](*fixed, *state)[0]:
            state = programs[1](*fixed, *state)
        return state

    return run


def scan(programs, same, carried, length, reverse):
    """Calls a program for each row of arrays, with a state that it passes on; its other results become rows."""

    def run(*given):
        fixed, state, arrays, rows = given[:same], given[same : same + carried], given[same + carried :], []
        for row in range(length)[:: -1 if reverse else 1]:
            found = programs[0](*fixed, *state, *[array[row] for array in arrays])
            state = found[:carried]
            rows.append(found[carried:])
        return [*state, *[np.stack(column) for column in zip(*rows[:: -1 if reverse else 1])]]

    return run


SEVERAL = {
    "while": loop, "scan": scan,
    "cond": lambda programs, same: lambda *given: programs[np.clip(given[same], 0, len(programs) - 1)](*given[:same]),
    "sort": lambda axis: lambda *xs: [np.take_along_axis(x, np.argsort(xs[0], axis, kind="stable"), axis) for x in xs],
}  # fmt: skip

"""A policy exported by deflow, in NumPy alone: `PlainPolicy("policy.npz").act(observation, noise)`.

This page and the npz are all a robot needs: Python 3.8, NumPy 1.21, or later ones. The npz holds arrays c0, c1, ... and
two texts in JSON: `about`, what the policy is, and `program`, what it computes, as a list of steps such as

    {"do": "add", "in": [12, 7], "out": [13]}

which reads two numbered places, calls the function that `FUNCTIONS` or `MAKERS` below has for the step's name, and
writes its result to another place. To port a policy, write these functions in another language; which of them a policy
needs, its steps say. Arrays are float32, int32, uint32, uint8 or bool, and every step keeps to the type it is given.
"""

import functools
import json

import numpy as np


class PlainPolicy:
    """A policy from an npz file. It has no state: the same observation and noise give the same action."""

    def __init__(self, path):
        with np.load(path, allow_pickle=False) as file:
            self.about = json.loads(str(file["about"]))
            page = json.loads(str(file["program"]))
            self._run = program(page, [file["c%d" % i] for i in range(page["arrays"])])
        self.observation_shape, self.noise_shape = [tuple(given["shape"]) for given in page["given"]]
        self._types = [np.dtype(given["type"]) for given in page["given"]]

    def act(self, observation, noise):
        """The action for one observation, or for each of a batch: with one more axis in front, the noise too.

        `noise` is standard normal numbers of `noise_shape`, fresh for each action; the same ones in every call make the
        policy deterministic. Raises a ValueError for arrays of other shapes.
        """
        observation, noise = np.asarray(observation), np.asarray(noise)
        wanted, noises = self.observation_shape, self.noise_shape
        batch = observation.shape[: observation.ndim - len(wanted)]
        if observation.shape != batch + wanted or len(batch) > 1 or 0 in batch:
            raise ValueError(
                "The policy acts on one observation of shape %s or a batch of them, got the shape %s: give it "
                "observations of the environment that it was trained for." % (wanted, observation.shape)
            )
        if noise.shape != batch + noises:
            raise ValueError(
                "These observations need noise of shape %s, got the shape %s: draw as many standard normal numbers."
                % (batch + noises, noise.shape)
            )
        for name, array, kind in zip(("observation", "noise"), (observation, noise), self._types):
            if array.dtype != kind and (kind.kind == "u" or array.dtype.kind not in "fiub"):
                raise ValueError("The policy needs an array of type %s as %s, got %s." % (kind, name, array.dtype))
        size = batch[0] if batch else 1
        given = [array.reshape((size,) + array.shape[len(batch) :]) for array in (observation, noise)]
        with np.errstate(all="ignore"):
            (actions,) = self._run(size, *[array.astype(kind) for array, kind in zip(given, self._types)])
        return actions if batch else actions[0]


def program(page, arrays):
    """The function that runs a program, given the size of the batch and one array for each of its inputs."""
    places = [None] * page["places"]
    for place, constant in page["constants"]:
        places[place] = arrays[constant]
    for step in [compiled(step, arrays) for step in page["once"]]:  # what depends on constants alone
        step(places)
    steps = [compiled(step, arrays) for step in page["steps"]]
    inputs, outputs = page["inputs"], page["outputs"]

    def run(*given):
        values = list(places)
        for place, value in zip(inputs, given):
            values[place] = value
        for step in steps:
            step(values)
        return [values[place] for place in outputs]

    return run


def compiled(step, arrays):
    """A step as a function that changes the list of values."""
    settings = {name: value for name, value in step.items() if name not in ("do", "in", "out")}
    if "programs" in settings:
        settings["programs"] = [program(page, arrays) for page in settings["programs"]]
    function = MAKERS[step["do"]](**settings) if step["do"] in MAKERS else FUNCTIONS[step["do"]]
    inputs, outputs = step["in"], step["out"]
    first, second, out = inputs[0], inputs[-1], outputs[0]

    def one(values):
        values[out] = function(values[first])

    def two(values):
        values[out] = function(values[first], values[second])

    def more(values):
        values[out] = function(*[values[place] for place in inputs])

    def several(values):
        for place, value in zip(outputs, function(*[values[place] for place in inputs])):
            values[place] = value

    if len(outputs) > 1 or step["do"] in SEVERAL:
        return several
    return one if len(inputs) == 1 else two if len(inputs) == 2 else more


# --- functions of arrays alone

ONE = np.float32(1)


def erf(x):
    """The error function to 2e-7 (Abramowitz and Stegun, 7.1.26)."""
    t = ONE / (ONE + np.float32(0.3275911) * np.abs(x))
    series = np.float32(1.061405429)
    for coefficient in (-1.453152027, 1.421413741, -0.284496736, 0.254829592):
        series = series * t + np.float32(coefficient)
    return np.copysign(ONE - series * t * np.exp(-x * x), x)


def truncated(x, y):
    """x / y; of integers, rounded toward zero."""
    return np.divide(x, y) if x.dtype.kind == "f" else ((x - np.fmod(x, y)) // y).astype(x.dtype)


def chosen(which, *cases):
    """The case of each entry: `which` is boolean, or a number."""
    return np.where(which, cases[1], cases[0]) if len(cases) == 2 else np.choose(which, cases)


FUNCTIONS = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": truncated, "rem": np.fmod, "max": np.maximum,
    "min": np.minimum, "atan2": np.arctan2, "nextafter": np.nextafter, "pow": lambda x, y: np.power(x, y.astype(x.dtype)),
    "neg": np.negative, "abs": np.abs, "sign": np.sign, "floor": np.floor, "ceil": np.ceil, "square": np.square,
    "sqrt": np.sqrt, "rsqrt": lambda x: ONE / np.sqrt(x), "cbrt": np.cbrt, "exp": np.exp, "exp2": np.exp2,
    "expm1": np.expm1, "log": np.log, "log1p": np.log1p, "sin": np.sin, "cos": np.cos, "tan": np.tan,
    "asin": np.arcsin, "acos": np.arccos, "atan": np.arctan, "sinh": np.sinh, "cosh": np.cosh, "tanh": np.tanh,
    "asinh": np.arcsinh, "acosh": np.arccosh, "atanh": np.arctanh, "erf": erf, "erfc": lambda x: ONE - erf(x),
    "logistic": lambda x: ONE / (ONE + np.exp(-x)), "is_finite": np.isfinite, "eq": np.equal, "ne": np.not_equal,
    "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal, "not": np.invert,
    "and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor, "select_n": chosen,
    "clamp": lambda low, x, high: np.minimum(np.maximum(x, low), high),
}  # fmt: skip
"""Functions that act on each entry. Their arguments broadcast."""


# --- functions of arrays, made from a step's settings


def integer_pow(y):
    """x ** y for a whole number y, by multiplication."""

    def power(x):
        found = functools.reduce(np.multiply, [x] * abs(y)) if y else np.ones_like(x)
        return found if y >= 0 else ONE / found

    return power


def dot(batch, contract):
    """The product, over the last `contract` axes of x and those after the first `batch` of y, which they share."""
    if batch == 0 and contract == 1:
        return lambda x, y: np.dot(x.reshape(-1, y.shape[0]), y.reshape(y.shape[0], -1)).reshape(
            x.shape[:-1] + y.shape[1:]
        )

    def product(x, y):
        shared, summed = y.shape[:batch], y.shape[batch : batch + contract]
        size = int(np.prod(summed))
        found = np.matmul(x.reshape(shared + (-1, size)), y.reshape(shared + (size, -1)))
        return found.reshape(x.shape[: x.ndim - contract] + y.shape[batch + contract :])

    return product


def reduce(axes, **settings):
    """Repeats a function over axes."""
    function = FUNCTIONS[settings["with"]]
    return lambda x: function.reduce(x, axis=tuple(axes), dtype=x.dtype)


def sized(shape, function):
    """A function of an array and a shape, where the shape may have the size of the batch, as "b"."""
    if "b" not in shape:
        return lambda x: function(x, shape)
    return lambda x, b: function(x, [b if size == "b" else size for size in shape])


MAKERS = {
    "integer_pow": integer_pow,
    "dot": dot,
    "convert": lambda type: lambda x: x.astype(type),
    "reshape": lambda shape: lambda x: x.reshape(shape),
    "broadcast": lambda shape: sized(shape, np.broadcast_to),
    "transpose": lambda axes: lambda x: x.transpose(axes),
    "concatenate": lambda axis: lambda *x: np.concatenate(x, axis),
    "reduce": reduce,
}
SEVERAL = ()

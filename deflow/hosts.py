"""The processes that train one agent together, on one or several machines (hosts): what they tell each other.

They are joined by `jax.distributed.initialize`, run the same program, and must call these functions in the same order.
A process that is alone pays nothing for them.
"""

import contextlib
import pickle
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jaxtyping import Array

from .errors import HostsError, first_line

Value = TypeVar("Value")


def count() -> int:
    """How many processes train together."""
    return jax.process_count()


def leads() -> bool:
    """Whether this is the process that writes runs, and says what happens."""
    return jax.process_index() == 0


def gathered(value: Value) -> list[Value]:
    """The values of all processes, in their order. Values must be picklable."""
    if count() == 1:
        return [value]
    packed = np.frombuffer(pickle.dumps(value), np.uint8)
    with listening():
        sizes = np.ravel(multihost_utils.process_allgather(np.asarray(packed.size)))
        padded = np.zeros(int(sizes.max()), np.uint8)
        padded[: packed.size] = packed
        rows = np.reshape(multihost_utils.process_allgather(padded), (count(), -1))
    return [pickle.loads(row[:size].tobytes()) for row, size in zip(rows, sizes, strict=True)]


def any_of(flag: bool) -> bool:
    """Whether the flag is set in any process."""
    return flag if count() == 1 else any(gathered(flag))


def led(make: Callable[[], Value]) -> Value:
    """What the leading process makes. Its error is the error of all."""
    if count() == 1:
        return make()
    made: list[Value] = []
    error = None
    if leads():
        try:
            made.append(make())
        except Exception as raised:
            error = raised
    made, error = gathered((made, _sendable(error)))[0]
    if error is not None:
        raise error
    return made[0]


def leader_first(make: Callable[[], Value]) -> Value:
    """What each process makes, the leading one before all others, which then find on disk what it left there."""
    made: list[Value] = []
    led(lambda: made.append(make()))
    return made[0] if made else make()


def same(arrays: Sequence[Array]) -> list[Any]:
    """The leading process's arrays, as NumPy's, or JAX's where they are random keys."""
    if count() == 1:
        return [*arrays]
    plain = [jax.random.key_data(array) if _is_key(array) else array for array in arrays]
    with listening():
        told = multihost_utils.broadcast_one_to_all([np.asarray(array) for array in plain])
    return [
        jax.random.wrap_key_data(jnp.asarray(new), impl=jax.random.key_impl(old)) if _is_key(old) else np.asarray(new)
        for old, new in zip(arrays, told, strict=True)
    ]


@contextlib.contextmanager
def listening() -> Iterator[None]:
    """A context in which the processes exchange something, and hear when one of them is gone.

    Raises:
        HostsError: If it is.
    """
    try:
        yield
    except HostsError:
        raise
    except (ValueError, RuntimeError) as error:  # JAX's and the transport's
        if "RESOURCE_EXHAUSTED" in str(error):  # this process's own trouble
            raise
        raise HostsError(
            f"Another of the {count()} processes that train together has ended or cannot be reached, so this one "
            f"(number {jax.process_index()}) ends, too: see what it says, and start all of them again. "
            f"({first_line(error)[:200]})"
        ) from error


def _is_key(array: Array) -> bool:
    return jnp.issubdtype(array.dtype, jax.dtypes.prng_key)


def _sendable(error: Exception | None) -> Exception | None:
    """The error as other processes can raise it."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error

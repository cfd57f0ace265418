"""What a checkpoint is made of, on the host: once taken, the state's owner may go on."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import PyTree

from deflow.runs.errors import CheckpointError
from deflow.runs.leaves import Leaf, named_arrays


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """The arrays of a state and its notes."""

    spec: Mapping[str, Leaf]
    """What each array is, by its path in the state."""

    arrays: Mapping[str, np.ndarray]
    """Their values."""

    notes: Mapping[str, Any]
    """What was said with them, as JSON gives it back."""

    @classmethod
    def of(cls, state: PyTree, notes: Mapping[str, Any]) -> "Snapshot":
        """The state as it is now; it may share memory with it, see `copy`.

        Raises `CheckpointError` for objects among the arrays, and notes that are not JSON-able.
        """
        try:
            plain = json.loads(json.dumps(dict(notes)))
        except (TypeError, ValueError) as error:
            raise CheckpointError(f"Cannot save notes: {error}; give plain JSON values.") from error
        return cls(*named_arrays(state), plain)

    def copy(self) -> "Snapshot":
        """The same in memory of its own: NumPy arrays may be written into, and the buffers of JAX's be donated."""
        return dataclasses.replace(self, arrays={name: np.array(array) for name, array in self.arrays.items()})

    @property
    def bytes(self) -> int:
        """The size of all arrays."""
        return sum(array.nbytes for array in self.arrays.values())

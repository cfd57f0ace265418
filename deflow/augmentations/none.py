"""Observations as they are in the data."""

from jaxtyping import Array, Key

from ..types import Batch
from .base import AbstractAugmentation, register


@register("none")
class NoAugmentation(AbstractAugmentation):
    """Nothing is changed."""

    def of_batch(self, batch: Batch, *, key: Key[Array, ""]) -> Batch:
        return batch

"""Testing parts: the laws of each kind as functions, one update with a part in it, and a small example problem."""

from ..errors import LawError
from .augmentations import check_augmentation
from .example import IMAGES, SPEC, example_context, example_data
from .laws import (
    check_constraint,
    check_critic,
    check_encoder,
    check_field,
    check_refiner,
    check_solver,
    check_trust_region,
    measured_order,
)
from .trial import one_update

__all__ = [
    "IMAGES",
    "SPEC",
    "LawError",
    "check_augmentation",
    "check_constraint",
    "check_critic",
    "check_encoder",
    "check_field",
    "check_refiner",
    "check_solver",
    "check_trust_region",
    "example_context",
    "example_data",
    "measured_order",
    "one_update",
]

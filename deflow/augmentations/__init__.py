"""Augmentations: what is done to the observations of a batch that is trained on."""

from .base import AbstractAugmentation, AbstractImageAugmentation, AbstractSampleAugmentation, register, registry
from .none import NoAugmentation
from .random_crop import RandomCrop

__all__ = [
    "AbstractAugmentation",
    "AbstractImageAugmentation",
    "AbstractSampleAugmentation",
    "NoAugmentation",
    "RandomCrop",
    "register",
    "registry",
]

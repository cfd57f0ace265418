"""The laws of augmentations."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..augmentations import AbstractAugmentation, AbstractImageAugmentation, NoAugmentation
from ..types import Spec
from .checks import check
from .example import IMAGES, SPEC, example_data


def check_augmentation(augmentation: AbstractAugmentation, *, spec: Spec | None = None) -> None:
    """Observations keep their shape and type and stay finite; nothing else of a batch is touched; the same is done to a
    transition's s and s', whatever else is in them; a key determines all of it, and of a few keys (unless it is `none`)
    some change something."""
    spec = spec or (IMAGES if isinstance(augmentation, AbstractImageAugmentation) else SPEC)
    batch = jax.tree.map(jnp.asarray, example_data(spec, 6))
    batch = dataclasses.replace(batch, next_observation=batch.observation)
    keys = jax.random.split(jax.random.key(0), 20)
    apply = jax.jit(lambda batch, key: augmentation.of_batch(batch, key=key))
    found = [apply(batch, key) for key in keys]
    for each in found:
        same = (each.observation.shape, each.observation.dtype) == (batch.observation.shape, batch.observation.dtype)
        check(augmentation, same, "observations must keep their shape and type")
        check(augmentation, jnp.all(jnp.isfinite(each.observation)), "observations must be finite")
        for name in ("action", "reward", "mask"):
            check(augmentation, jnp.all(getattr(each, name) == getattr(batch, name)), f"the {name} must stay as it is")
        alike = np.array_equal(each.observation, each.next_observation)
        check(augmentation, alike, "the same must be done to s and s'")
    again: Any = apply(batch, keys[0])
    check(augmentation, jnp.all(again.observation == found[0].observation), "the same key must do the same")
    if not isinstance(augmentation, NoAugmentation):
        changed = any(bool(jnp.any(each.observation != batch.observation)) for each in found)
        check(augmentation, changed, "some keys must change something")

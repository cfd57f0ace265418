"""Numbers that are not finite: the update in which they appeared, and the first metric or parameter."""

import dataclasses
from collections.abc import Iterable, Mapping

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..agent import Metrics
from ..types import trainable
from .learner import Learner


@dataclasses.dataclass(frozen=True)
class Fault:
    """A number that is not finite in one seed's training."""

    step: int
    """The update after which it appeared."""

    term: str
    """The metric or the parameter, such as `critic_loss` or `field.network.layers[0].weight`."""

    value: float
    """Its value."""

    def __str__(self) -> str:
        return f"{self.term} is not finite ({self.value}) at update {self.step:,}"


def metric_faults(step: int, metrics: Mapping[str, np.ndarray], seeds: int) -> dict[int, Fault]:
    """Seed's index -> its first term that is not finite, in the loss's own order; `loss`, their sum, comes last."""
    names = sorted(metrics, key=lambda name: name == "loss")
    faults: dict[int, Fault] = {}
    for name in names:
        values = np.broadcast_to(np.asarray(metrics[name]), (seeds,))
        for seed in np.flatnonzero(~np.isfinite(values)):
            faults.setdefault(int(seed), Fault(step, name, float(values[seed])))
    return faults


def parameter_faults(step: int, learner: Learner) -> dict[int, Fault]:
    """Seed's index -> its first parameter that is not finite."""
    faults: dict[int, Fault] = {}
    parameters = eqx.filter(learner.agent, trainable(learner.agent))
    leaves, _ = jax.tree_util.tree_flatten_with_path(parameters)
    sums = np.asarray(_sums([leaf for _, leaf in leaves], learner.seeds is not None))
    for row, (path, _) in zip(sums, leaves, strict=True):
        for seed in np.flatnonzero(~np.isfinite(row)):
            name = jax.tree_util.keystr(path).lstrip(".")
            faults.setdefault(int(seed), Fault(step, name, float(row[seed])))
    return faults


def first_faults(updates: Iterable[tuple[int, Learner, Metrics]], seeds: int, *, last: int) -> dict[int, Fault]:
    """Each seed's first fault when the updates of a failed dispatch, up to `last`, are repeated one by one."""
    faults: dict[int, Fault] = {}
    for step, learner, metrics in updates:
        numbers = {name: np.asarray(values) for name, values in metrics.items()}
        for found in (metric_faults(step, numbers, seeds), parameter_faults(step, learner)):
            faults = found | faults
        if step >= last:
            break
    return faults


@eqx.filter_jit
def _sums(leaves: list[jax.Array], together: bool) -> jax.Array:
    """For each leaf (rows) and seed (columns): 0 if all entries are finite, otherwise a number that is not finite."""

    def total(leaf):
        zeros = jnp.where(jnp.isfinite(leaf), 0.0, leaf)
        return zeros.reshape(len(leaf) if together else 1, -1).sum(axis=1)

    return jnp.stack([total(leaf) for leaf in leaves])

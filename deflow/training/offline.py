"""Offline training: many fused updates per dispatch, which draw their batches themselves."""

from collections.abc import Iterator, Sequence

import jax.numpy as jnp
from jaxtyping import Array, Key

from ..agent import Metrics
from ..behaviour import Proposals, States
from ..behaviour.proposals import for_seeds
from ..errors import DeflowWarning, warn
from ..frames import Frames
from ..keys import check_key
from ..types import Batch, check_number
from .dataset import DatasetPlacement, offline_sources
from .devices import Devices
from .learner import Learner, refusal
from .precision import Precision
from .updates import FusedUpdates


def train_offline(
    learner: Learner,
    data: Batch,
    *,
    steps: int,
    key: Key[Array, "*seeds"],
    batch_size: int = 256,
    updates_per_dispatch: int = 100,
    precision: Precision = "float32",
    proposals: Proposals | Sequence[Proposals] | None = None,
    placement: DatasetPlacement = "auto",
    devices: Devices = Devices(),
) -> Iterator[tuple[int, Learner, Metrics]]:
    """Trains until the learner has made `steps` updates. Yields (updates made, learner, metrics) once per dispatch.

    `data` has N transitions as its first axis and is moved to the device once if it fits there, or as `placement` says;
    the result is the same. The metrics are means over the dispatch's updates; they and the learner are still being
    computed when they are yielded. Update i depends only on `key` and i, so the result does not depend on
    `updates_per_dispatch`. For a learner of S seeds, `key` is a vector of S keys, and each metric has shape (S,).

    With `proposals` of the learner's own flow (one, or one for each seed) no ODE is solved, and the flow is frozen: see
    `deflow.draw_proposals` and `Learner.with_behaviour`. They lie where the data does.

    `devices` says how many of this machine's devices are used, and for what; the result is the same to rounding. Where
    the data does not fit on one of them, but on all together, its rows are divided among them.

    Raises:
        ValueError: If a size is below 1, the data's shapes are not the agent's, the keys do not match, or the proposals
            are of another flow, of other data, or too few; or if the devices are too few or do not divide a batch.
    """
    check_key(key)
    for name, given, wanted in (("learner", learner, Learner), ("data", data, Batch)):
        if not isinstance(given, wanted):
            raise TypeError(refusal("train_offline", name, given))
    for name, value in (("steps", steps), ("batch_size", batch_size), ("updates_per_dispatch", updates_per_dispatch)):
        check_number("train_offline", name, value, int)
    check_number("train_offline", "placement", placement, DatasetPlacement)
    for name, value in (("batch_size", batch_size), ("updates_per_dispatch", updates_per_dispatch)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}.")
    if key.shape != learner.step.shape:
        raise ValueError(f"A learner of shape {learner.step.shape} needs keys of that shape, got {key.shape}.")
    check_batch(learner, data)
    layout = devices.layout(learner.seeds, batch_size)
    given = None
    if proposals is not None:
        learner = learner.freeze_field()
        states = States.of(data)
        given = states, checked_proposals(learner, states, proposals)
    where = {"layout": layout, "placement": placement}
    sources = offline_sources(learner.agent, data, given, **where, batch_size=batch_size, key=key)
    updates = FusedUpdates(learner, batch_size=batch_size, precision=precision, layout=layout)
    (placed_key,) = layout.place([key])
    done = int(jnp.max(learner.step))
    if done >= steps:
        warn_of_no_steps("updates", done, steps)
    while done < steps:
        count = min(updates_per_dispatch, steps - done)
        metrics = updates(sources(done, count), count, placed_key)
        done += count
        yield done, updates.learner, metrics


def checked_proposals(
    learner: Learner, states: States, proposals: Proposals | Sequence[Proposals]
) -> Sequence[Proposals]:
    """The proposals for all seeds (one) or for each.

    Raises:
        ValueError: If they are of another flow, of other data, or too few for the critic's target.
    """
    given = for_seeds(proposals, learner.seeds)
    for seed, agent in enumerate(learner.agents):
        given[seed % len(given)].check(agent, states)
    return given


def warn_of_no_steps(what: str, done: int, steps: int) -> None:
    """Warns the caller of a training loop that there is nothing to do, for example when a notebook cell runs again."""
    warn(
        f"Nothing to train: {done:,} {what} have already been made, and steps={steps:,} is the total: give more steps, "
        "or start with a new learner.",
        DeflowWarning,
    )


def check_batch(learner: Learner, data: Batch) -> None:
    """Raises a `ValueError` for data that does not fit the agent."""
    if len(data) == 0:
        raise ValueError("The dataset is empty: give at least one transition.")
    spec = learner.agent.spec
    for name, shape in (("observation", spec.observation_shape), ("action", (spec.action_size,))):
        got = getattr(data, name).shape[1:]
        if got != shape:
            raise ValueError(f"The agent was built for {name}s of shape {shape}, but the dataset's have shape {got}.")
    if isinstance(data.observation, Frames) and spec.frame_stack not in (1, data.observation.count):
        raise ValueError(
            f"The agent was built for {spec.frame_stack} frames, but the dataset stacks {data.observation.count}: load "
            f"it with frame_stack={spec.frame_stack}."
        )

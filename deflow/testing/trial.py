"""A trial of a part: one update of a small agent that has it, and one action."""

from typing import Any, Unpack

import jax
import numpy as np

from ..agent import AgentParts, AlgorithmName, agent_config
from ..encoders import AbstractImageEncoderConfig, registry
from ..errors import LawError
from ..training import Learner, train_offline
from ..types import Spec
from .example import IMAGES, SPEC, example_data


def one_update(
    algorithm: AlgorithmName = "deflow", *, spec: Spec | None = None, **parts: Unpack[AgentParts]
) -> dict[str, float]:
    """Composes a small agent with these parts, makes one update on random transitions, and acts once.

    Returns:
        The update's metrics.

    Raises:
        LawError: If a metric or the action is not finite.
        ValueError: If the parts do not fit together or return the wrong shapes.
    """
    spec = spec or (IMAGES if _is_for_images(parts.get("encoder")) else SPEC)
    data = example_data(spec, size=32)
    config = agent_config(algorithm, width=8, depth=1, **{"solver": "euler", **parts})
    learner = Learner.create(config, spec, data, key=jax.random.key(0))
    ((_, learner, metrics),) = train_offline(learner, data, steps=1, batch_size=8, key=jax.random.key(1))
    found = {name: float(value) for name, value in metrics.items()}
    action = np.asarray(learner.agent(data.observation[0], key=jax.random.key(2)))
    if not np.isfinite([*found.values(), *action.tolist()]).all():
        raise LawError(f"The update's metrics and the action must be finite, got {found} and {action}.")
    return found


def _is_for_images(encoder: Any) -> bool:
    return encoder is not None and isinstance(registry.member(encoder), AbstractImageEncoderConfig)

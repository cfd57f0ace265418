"""The budget `quickstart`: smaller networks; of images, whose updates cost more, smaller encoders and less training."""

import dataclasses
from typing import Any

from ..agent import AgentConfig, AlgorithmName, TaskSettings, agent_config
from ..encoders import AbstractImageEncoderConfig, AbstractImpalaConfig, registry

NETWORK = {"width": 256, "depth": 3}
"""Hidden layers."""

ENCODER: dict[str, Any] = {"stacks": (8, 16, 32), "blocks": 0, "features": 256}
"""Sizes of an encoder of images."""

FROM_IMAGES = {
    "rows": 20_000,
    "steps": 6_000,
    "field_steps": 6_000,
    "batch_size": 64,
    "learning_rate": 1e-3,
    "eval_every": 3_000,
    "log_every": 50,
    "save_every": 500,
    "online_steps": 2_000,
}
"""Options where observations are images, of those that a recipe has."""


def quickstart(
    options: Any, algorithm: AlgorithmName, settings: TaskSettings, arguments: list[str]
) -> tuple[Any, AgentConfig]:
    """The budget's options and its agent, given the options for states."""
    given = [argument.partition(":")[2] for argument in arguments if argument.startswith("encoder:")]
    name = given[0] if given else settings.encoder
    kind = registry[name] if name in set(registry) else None
    if kind is None or not issubclass(kind, AbstractImageEncoderConfig):
        return options, agent_config(algorithm, settings=settings, **NETWORK)
    encoder: Any = kind(**ENCODER) if issubclass(kind, AbstractImpalaConfig) else kind
    known = {field.name for field in dataclasses.fields(options)}
    less = {name: value for name, value in FROM_IMAGES.items() if name in known}
    return dataclasses.replace(options, **less), agent_config(algorithm, settings=settings, encoder=encoder, **NETWORK)

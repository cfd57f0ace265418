"""The budget `quickstart`: smaller networks; of images, whose updates cost more, smaller encoders and less training."""

import dataclasses
from typing import Any

from ..agent import AgentConfig, AlgorithmName, TaskSettings, agent_config
from ..encoders import AbstractImageEncoder, AbstractImageEncoderConfig, AbstractImpalaConfig, registry

NETWORK: dict[str, Any] = {"width": 256, "depth": 3}
"""Hidden layers."""

ENCODER: dict[str, Any] = {"stacks": (8, 16, 32), "blocks": 0, "features": 256}
"""Sizes of an encoder of images."""

OF_IMAGES = (AbstractImageEncoder, AbstractImageEncoderConfig)

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


def quickstart_agent(algorithm: AlgorithmName, settings: TaskSettings, arguments: list[str]) -> AgentConfig:
    """An algorithm at the budget's sizes, with the encoder that the arguments name, if it is one of images."""
    named = [argument.partition(":")[2] for argument in arguments if argument.startswith("encoder:")]
    name = named[-1] if named else settings.encoder
    kind = registry[name] if name in set(registry) else None
    if kind is None or not issubclass(kind, OF_IMAGES):
        return agent_config(algorithm, settings=settings, **NETWORK)
    encoder: Any = kind(**ENCODER) if issubclass(kind, AbstractImpalaConfig) else kind
    return agent_config(algorithm, settings=settings, encoder=encoder, **NETWORK)


def fitting(options: Any, config: AgentConfig) -> Any:
    """The options of the quickstart for states, or what they are where an agent sees images."""
    if not isinstance(config.encoder, OF_IMAGES):
        return options
    known = {field.name for field in dataclasses.fields(options)}
    return dataclasses.replace(options, **{name: value for name, value in FROM_IMAGES.items() if name in known})

"""The published settings of each task (arXiv 2601.10471: the reference's commands)."""

import dataclasses
import fnmatch
from typing import Any

from ..critics.aggregation import Aggregation
from .choices import AugmentationName, EncoderName


@dataclasses.dataclass(frozen=True)
class TaskSettings:
    """The settings that change from task to task."""

    discount: float
    """Discount factor."""

    aggregation: Aggregation
    """How the critic's members are combined for the target."""

    bound: float
    """The paper's delta: the largest mean squared displacement per action dimension."""

    steps: int
    """Gradient updates."""

    fql_weight: float = 300.0
    """FQL's alpha (arXiv 2502.02538): the factor of its distillation loss, for values that are not normalised."""

    reward_min: float = -1.0
    """Lowest reward of a step; the highest is 0 (OGBench: minus the number of unmet goals)."""

    flow_aggregation: Aggregation = "mean"
    """How the members of a flow critic are combined for the target (arXiv 2509.06863)."""

    flow_depth: int = 4
    """Hidden layers of a flow critic."""

    flow_batch_size: int = 256
    """Transitions per update with a flow critic."""

    fan_weight: float = 100.0
    """FAN's alpha_1 (arXiv 2605.01663): the factor of the action's size. Published for cube, scene, puzzle and
    antsoccer; mazes have antsoccer's, adroit has manipulation's."""

    fan_penalty: float = 3.0
    """FAN's alpha_2: what the critic's target subtracts for the next action's size. As for alpha_1; cube-triple has
    cube-double's."""

    encoder: EncoderName = "identity"
    """The encoder: the published agents see states as they are, and images with a small residual network. A task that
    belongs to no published family, such as an environment of one's own, has standardised states, since nobody chose
    its units for a network."""

    augmentation: AugmentationName = "none"
    """What is done to the observations of a batch: the published visual agents see images moved by a few pixels."""

    borrowed_from: str | None = None
    """The nearest published family, if the task itself has no published settings."""


_FAN_NAVIGATION: dict[str, Any] = {"fan_weight": 10.0, "fan_penalty": 0.1}
_ANT: dict[str, Any] = {"fql_weight": 10.0, **_FAN_NAVIGATION}
_HUMANOID: dict[str, Any] = {"fql_weight": 30.0, **_FAN_NAVIGATION}
_CUBE: dict[str, Any] = {"flow_depth": 2}
_CUBE_DOUBLE: dict[str, Any] = {"reward_min": -2.0, "fan_penalty": 0.0, **_CUBE}
_PUZZLE: dict[str, Any] = {"fql_weight": 1000.0}
_VISUAL: dict[str, Any] = {"encoder": "impala-small", "augmentation": "random-crop"}

_PUBLISHED = {
    "antmaze-large-navigate": TaskSettings(0.99, "min", 0.01, 1_000_000, **_ANT),
    "antmaze-giant-navigate": TaskSettings(
        0.995, "min", 0.01, 1_000_000, **_ANT, flow_aggregation="min", flow_batch_size=512
    ),
    "humanoidmaze-medium-navigate": TaskSettings(0.995, "mean", 0.001, 1_000_000, **_HUMANOID),
    "humanoidmaze-large-navigate": TaskSettings(0.995, "mean", 0.001, 1_000_000, **_HUMANOID, flow_batch_size=512),
    "antsoccer-arena-navigate": TaskSettings(0.995, "mean", 0.01, 1_000_000, **_ANT),
    "cube-single-play": TaskSettings(0.99, "mean", 0.001, 1_000_000, **_CUBE),
    "cube-double-play": TaskSettings(0.99, "mean", 0.001, 1_000_000, **_CUBE_DOUBLE),
    "scene-play": TaskSettings(0.99, "mean", 0.001, 1_000_000, reward_min=-5.0),
    "puzzle-3x3-play": TaskSettings(0.99, "mean", 0.005, 1_000_000, **_PUZZLE, reward_min=-9.0),
    "puzzle-4x4-play": TaskSettings(0.99, "mean", 0.005, 1_000_000, **_PUZZLE, reward_min=-16.0),
    "visual-cube-single-play": TaskSettings(0.99, "mean", 0.001, 500_000, **_CUBE, **_VISUAL),
    "visual-cube-double-play": TaskSettings(0.99, "mean", 0.001, 500_000, 100.0, **_CUBE_DOUBLE, **_VISUAL),
    "visual-scene-play": TaskSettings(0.99, "mean", 0.001, 500_000, 100.0, -5.0, **_VISUAL),
    "visual-puzzle-3x3-play": TaskSettings(0.99, "mean", 0.0005, 500_000, 300.0, -9.0, **_VISUAL),
    "visual-puzzle-4x4-play": TaskSettings(0.99, "mean", 0.0005, 500_000, 300.0, -16.0, **_VISUAL),
}
"""OGBench tasks, by the part of their name before `-singletask`."""

_PUBLISHED_D4RL = {
    "antmaze-large-*-v[0-9]": TaskSettings(0.99, "mean", 0.015, 500_000, 3.0, **_FAN_NAVIGATION),
    "antmaze-*-v[0-9]": TaskSettings(0.99, "mean", 0.015, 500_000, 10.0, **_FAN_NAVIGATION),
    "pen-*-v[0-9]": TaskSettings(0.99, "min", 0.01, 500_000, 10_000.0, flow_aggregation="min"),
    "door-*-v[0-9]": TaskSettings(0.99, "min", 0.001, 500_000, 30_000.0, flow_aggregation="min"),
    "hammer-*-v[0-9]": TaskSettings(0.99, "min", 0.001, 500_000, 30_000.0, flow_aggregation="min"),
    "relocate-*-v[0-9]": TaskSettings(0.99, "min", 0.001, 500_000, 30_000.0, flow_aggregation="min"),
}
"""D4RL tasks, by pattern; the first match wins. FQL's alpha for the adroit datasets ranges from 3,000 to 30,000 from
dataset to dataset; here it is one number per task."""

_MINARI = "D4RL/"
"""What the names of Minari's namesakes of D4RL's tasks begin with: `D4RL/pen/human-v2`."""

_NEAREST = {
    "pointmaze": "antmaze-large-navigate",
    "antmaze-giant": "antmaze-giant-navigate",
    "antmaze": "antmaze-large-navigate",
    "humanoidmaze-giant": "humanoidmaze-large-navigate",
    "humanoidmaze": "humanoidmaze-medium-navigate",
    "antsoccer": "antsoccer-arena-navigate",
    "cube": "cube-double-play",
    "scene": "scene-play",
    "puzzle": "puzzle-4x4-play",
    "visual-antmaze": "antmaze-large-navigate",
    "visual-humanoidmaze": "humanoidmaze-medium-navigate",
    "visual-cube": "visual-cube-double-play",
    "visual-scene": "visual-scene-play",
    "visual-puzzle": "visual-puzzle-4x4-play",
}
"""Prefixes of the names of tasks without published settings -> the family whose settings they use."""

_DEFAULT = "cube-single-play"


def task_settings(name: str) -> TaskSettings:
    """The settings published for a task, or those of the nearest family, named in `borrowed_from`. Where no family is
    near, they are those of cube-single, with the encoder `standardize`. Minari's `D4RL/pen/human-v2` is another task
    than D4RL's `pen-human-v1`, and borrows its settings."""
    family, singletask, _ = name.partition("-singletask")
    if singletask and family in _PUBLISHED:
        return _PUBLISHED[family]
    if not singletask:
        for pattern, settings in _PUBLISHED_D4RL.items():
            if fnmatch.fnmatch(name, pattern):
                return settings
            if name.startswith(_MINARI) and fnmatch.fnmatch(name.removeprefix(_MINARI).replace("/", "-"), pattern):
                return dataclasses.replace(settings, borrowed_from=f"D4RL's {pattern.partition('-*')[0]}")
    beginnings = [beginning for beginning in _NEAREST if name.startswith(beginning)]
    nearest = _NEAREST[max(beginnings, key=len)] if beginnings else _DEFAULT
    own: dict[str, Any] = {} if beginnings else {"encoder": "standardize"}
    if name.startswith("visual-"):  # the nearest family may be one that sees states
        own = _VISUAL
    return dataclasses.replace(_PUBLISHED[nearest], **own, borrowed_from=nearest)

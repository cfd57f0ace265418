"""Play: the arm moves random objects to random places, one plan after the other (cube, scene, puzzle)."""

import importlib
from typing import Any, ClassVar

import gymnasium
import numpy as np

from .base import STATE_COLUMNS, Behaviour, Column

NOISE = 0.1
"""Standard deviation of the plan's noise, in units of each coordinate's own scale."""

NOISE_SMOOTHING = 0.5
"""Width in steps of the Gaussian that correlates the noise in time."""

STACKING = {
    "single": (0.0, 0.0),
    "double": (0.0, 0.25),
    "triple": (0.05, 0.35),
    "quadruple": (0.1, 0.5),
    "octuple": (0.0, 0.35),
}
"""Range from which each episode of the cube family draws its probability of stacking."""


class Play(Behaviour):
    """OGBench's plan oracles with smooth noise, and a new target after every completed plan."""

    oracles: ClassVar[tuple[str, ...]] = ("cube",)
    """What there is to move: each has a plan oracle of OGBench's."""

    options: ClassVar[dict[str, bool]] = {}
    """Further options of the oracles."""

    def __init__(self, base_id: str):
        self.environment: Any = gymnasium.make(
            base_id, terminate_at_goal=False, mode="data_collection", disable_env_checker=True
        ).unwrapped
        self._base_id = base_id

    def begin(self, seed: int) -> np.ndarray:
        self._oracles = {name: self._oracle(name) for name in self.oracles}
        self._observation, self._info = self.environment.reset(seed=seed)
        self._stacking = self._draw_stacking()
        self._plan(self._observation, self._info)
        return self._observation

    def act(self) -> np.ndarray:
        return self._active.select_action(self._observation, self._info)

    def observe(self, observation: np.ndarray, info: dict[str, Any]) -> None:
        self._observation, self._info = observation, info
        if self._active.done:
            self._plan(*self.environment.set_new_target(p_stack=self._stacking))

    def _plan(self, observation: np.ndarray, info: dict[str, Any]) -> None:
        self._active = self._oracles[info["privileged/target_task"]]
        self._active.reset(observation, info)

    def _oracle(self, name: str) -> Any:
        # Imported here: half a second that only collecting needs.
        module = importlib.import_module(f"ogbench.manipspace.oracles.plan.{name}_plan")
        oracle = getattr(module, f"{name.title()}PlanOracle")
        return oracle(env=self.environment, noise=NOISE, noise_smoothing=NOISE_SMOOTHING, **self.options)

    def _draw_stacking(self) -> float:
        low, high = STACKING[self._base_id.split("-")[1]]
        return np.random.uniform(low, high) if high > 0 else 0.0


class ScenePlay(Play):
    """Play with a cube, two buttons, a drawer and a window."""

    columns = (*STATE_COLUMNS, Column("button_states", "prev_button_states", np.int64))
    oracles = ("cube", "button", "drawer", "window")

    def accepts(self, episode: dict[str, np.ndarray]) -> bool:
        """Whether the cube stays in sight: not beyond the right edge, nor beyond the left one outside the drawer."""
        y, z = episode["qpos"][:, 15], episode["qpos"][:, 16]
        in_drawer = (z >= 0.06) & (z <= 0.08)
        return not np.any((y >= 0.29) | ((y <= -0.3) & ~in_drawer))

    def _draw_stacking(self) -> float:
        return 0.5


class PuzzlePlay(Play):
    """Play with a board of buttons, the gripper closed."""

    columns = (*STATE_COLUMNS, Column("button_states", "prev_button_states", np.int64))
    oracles = ("button",)
    options: ClassVar[dict[str, bool]] = {"gripper_always_closed": True}

    def _draw_stacking(self) -> float:
        return 0.0

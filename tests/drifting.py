"""A small environment for online tests."""

import dataclasses

import gymnasium
import numpy as np


class Drift(gymnasium.Env):
    """A point that goes where the action points, and starts anew after some steps, or when it has gone far."""

    def __init__(self, horizon):
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float32)
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)
        self.horizon = horizon

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.at, self.steps = self.np_random.normal(size=2).astype(np.float32), 0
        return self.at.copy(), {}

    def step(self, action):
        self.at, self.steps = self.at + np.asarray(action, np.float32), self.steps + 1
        return self.at.copy(), -1.0, bool(np.abs(self.at).max() > 3), self.steps == self.horizon, {}


@dataclasses.dataclass(frozen=True)
class Drifting:
    """What makes it."""

    horizon: int
    name: str = "drift"

    def make(self):
        return Drift(self.horizon)

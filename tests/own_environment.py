"""An environment of a user's own, in a file of its own: a point that is to be moved to the origin."""

import gymnasium
import numpy as np


class Point(gymnasium.Env):
    """Moves by the action; success is near the origin."""

    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012 (Gymnasium's own form)
    observation_space = gymnasium.spaces.Box(-10.0, 10.0, (2,), np.float32)
    action_space = gymnasium.spaces.Box(-0.5, 0.5, (2,), np.float32)

    def __init__(self, render_mode=None):
        self.render_mode = render_mode

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place = self.np_random.uniform(-1, 1, 2).astype(np.float32)
        return self.place, {}

    def step(self, action):
        self.place = np.clip(self.place + action, -10, 10).astype(np.float32)
        distance = float(np.linalg.norm(self.place))
        return self.place, -distance, False, False, {"success": distance < 0.1}

    def render(self):
        """A dot on a sheet, in odd numbers of pixels."""
        if self.render_mode is None:
            return None
        sheet = np.full((61, 81, 3), 255, np.uint8)
        row, column = (30 + 5 * self.place[1], 40 + 7 * self.place[0])
        sheet[max(int(row) - 3, 0) : int(row) + 4, max(int(column) - 3, 0) : int(column) + 4] = (200, 30, 30)
        return sheet


gymnasium.register("lab/Point-v0", entry_point=Point)  # no time limit

"""An environment of a user's own, in a file of its own: a point that is to be moved to the origin."""

import gymnasium
import numpy as np


class Point(gymnasium.Env):
    """Moves by the action; success is near the origin."""

    observation_space = gymnasium.spaces.Box(-10.0, 10.0, (2,), np.float32)
    action_space = gymnasium.spaces.Box(-0.5, 0.5, (2,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place = self.np_random.uniform(-1, 1, 2).astype(np.float32)
        return self.place, {}

    def step(self, action):
        self.place = np.clip(self.place + action, -10, 10).astype(np.float32)
        distance = float(np.linalg.norm(self.place))
        return self.place, -distance, False, False, {"success": distance < 0.1}


gymnasium.register("lab/Point-v0", entry_point=Point)  # no time limit

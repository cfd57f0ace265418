"""An environment that is seen: a point must reach a coloured target, and the observation is a picture of both."""

import gymnasium
import numpy as np

SPEED, NEAR, STEPS = 0.15, 0.15, 30


class Reach(gymnasium.Env):
    """The point moves by SPEED times the action in a square from -1 to 1; success is near the target."""

    action_space = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)

    def __init__(self, size=64, near=NEAR):
        self.size, self.near = size, near
        self.observation_space = gymnasium.spaces.Box(0, 255, (size, size, 3), np.uint8)
        self._picture = np.empty((size, size, 3), np.uint8)  # drawn into again and again
        across = np.linspace(-1, 1, size)
        self._rows, self._columns = across[:, None], across[None]

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place, self.target = self.np_random.uniform(-0.9, 0.9, (2, 2))
        return self.picture(), {}

    def step(self, action):
        self.place = np.clip(self.place + SPEED * np.clip(action, -1, 1), -1, 1)
        reached = bool(np.linalg.norm(self.place - self.target) < self.near)
        return self.picture(), float(reached) - 1.0, reached, False, {"success": reached}

    def picture(self):
        """A red target and a blue point on grey."""
        picture = self._picture
        picture[:] = 40
        for (x, y), radius, colour in ((self.target, 0.2, (220, 40, 40)), (self.place, 0.14, (60, 90, 255))):
            inside = np.square(self._columns - x) + np.square(self._rows - y) < radius**2
            picture[inside] = colour
        return picture


def played(episodes, *, size=64, noise=0.5, seed=0):
    """The columns of episodes in which a noisy policy goes to the target: as a file of a recording has them."""
    environment, random = Reach(size), np.random.default_rng(seed)
    columns = {name: [] for name in ("observations", "actions", "rewards", "terminals", "truncations")}
    for _ in range(episodes):
        picture, _ = environment.reset(seed=int(random.integers(2**31)))
        for step in range(STEPS):
            way = environment.target - environment.place
            action = np.clip(way / max(np.linalg.norm(way), 1e-6) + noise * random.normal(size=2), -1, 1)
            seen = picture.copy()
            picture, reward, reached, _, _ = environment.step(action)
            row = (seen, action, reward, reached, step == STEPS - 1 and not reached)
            for column, value in zip(columns.values(), row, strict=True):
                column.append(value)
            if reached:
                break
    return {
        "observations": np.asarray(columns["observations"]),
        "actions": np.asarray(columns["actions"], np.float32),
        "rewards": np.asarray(columns["rewards"], np.float32),
        "terminals": np.asarray(columns["terminals"]),
        "truncations": np.asarray(columns["truncations"]),
    }


class FirstReach(Reach):
    """With channels first."""

    def __init__(self, size=16):
        super().__init__(size)
        self.observation_space = gymnasium.spaces.Box(0, 255, (3, size, size), np.uint8)

    def picture(self):
        return np.moveaxis(super().picture(), -1, 0)


gymnasium.register("seen/FirstReach-v0", entry_point=FirstReach, max_episode_steps=STEPS)
gymnasium.register("seen/Reach-v0", entry_point=Reach, max_episode_steps=STEPS)
gymnasium.register("seen/BriefReach-v0", entry_point=Reach, max_episode_steps=9, kwargs={"size": 16, "near": 0.9})
gymnasium.register("seen/SmallReach-v0", entry_point=Reach, max_episode_steps=STEPS, kwargs={"size": 16})

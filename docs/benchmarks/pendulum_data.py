"""The data of docs/estimates.md: pendulum.npz and pendulum-val.npz, by a scripted swing-up with much noise."""

import gymnasium
import numpy as np


def collect(path, episodes, seed):
    environment, noise = gymnasium.make("Pendulum-v1"), np.random.default_rng(seed)
    rows = {name: [] for name in ("observations", "actions", "rewards", "terminations", "truncations")}
    for episode in range(episodes):
        observation, _ = environment.reset(seed=seed * 100_000 + episode)
        over = False
        while not over:
            angle, speed = np.arctan2(observation[1], observation[0]), observation[2]
            wanted = -10 * angle - 2 * speed if abs(angle) < 1 else 2 * np.sign(speed)
            action = np.array([np.clip(wanted + 1.5 * noise.normal(), -2, 2)], np.float32)
            following, reward, terminated, truncated, _ = environment.step(action)
            for column, value in zip(rows.values(), (observation, action, reward, terminated, truncated), strict=True):
                column.append(value)
            observation, over = following, terminated or truncated
    np.savez(path, **{name: np.array(column) for name, column in rows.items()})


collect("pendulum.npz", 100, seed=1)
collect("pendulum-val.npz", 20, seed=2)

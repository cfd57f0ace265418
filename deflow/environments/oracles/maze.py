"""Navigate: a point walks the shortest way to random corners of the maze, one after the other (pointmaze)."""

from typing import Any

import gymnasium
import numpy as np

from .base import Behaviour

NOISE = 0.5
"""Standard deviation of the noise on each action coordinate."""


class Navigate(Behaviour):
    """Unit steps towards OGBench's oracle subgoal, with Gaussian noise; a new goal whenever one is reached."""

    def __init__(self, base_id: str):
        self.environment: Any = gymnasium.make(base_id, terminate_at_goal=False, disable_env_checker=True).unwrapped
        maze = self.environment.maze_map
        self._cells = [(i, j) for i, j in np.argwhere(maze == 0).tolist()]
        self._corners = [cell for cell in self._cells if not in_corridor(maze, *cell)]

    def begin(self, seed: int) -> np.ndarray:
        start, goal = draw(self._cells), draw(self._corners)
        observation, _ = self.environment.reset(seed=seed, options={"task_info": {"init_ij": start, "goal_ij": goal}})
        return observation

    def act(self) -> np.ndarray:
        position = self.environment.get_xy()
        subgoal, _ = self.environment.get_oracle_subgoal(position, self.environment.cur_goal_xy)
        direction = (subgoal - position) / (np.linalg.norm(subgoal - position) + 1e-6)
        return direction + np.random.normal(0, NOISE, direction.shape)

    def observe(self, observation: np.ndarray, info: dict[str, Any]) -> None:
        if info["success"]:
            # By coordinates: given a cell, OGBench 1.2.2 moves the goal but puts its marker at NaN.
            maze = self.environment
            maze.set_goal(goal_xy=maze.add_noise(maze.ij_to_xy(draw(self._corners))))


def draw(cells: list[tuple[int, int]]) -> tuple[int, int]:
    """One of the cells, from NumPy's global generator."""
    return cells[np.random.randint(len(cells))]


def in_corridor(maze: np.ndarray, i: int, j: int) -> bool:
    """Whether the cell only leads straight on: free on two opposite sides, walls on the two others."""
    vertical = not maze[i - 1, j] and not maze[i + 1, j] and maze[i, j - 1] and maze[i, j + 1]
    horizontal = not maze[i, j - 1] and not maze[i, j + 1] and maze[i - 1, j] and maze[i + 1, j]
    return bool(vertical or horizontal)

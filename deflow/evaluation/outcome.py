"""What is known of an episode, while it is played and when it has ended."""

from typing import NamedTuple


class Outcome(NamedTuple):
    """One episode: whether any step reported success (nan where none says), the sum of rewards, the steps."""

    success: float
    episode_return: float
    length: int


class Moment(NamedTuple):
    """The same until a moment of the episode, and whether it has ended."""

    success: float
    episode_return: float
    step: int
    done: bool

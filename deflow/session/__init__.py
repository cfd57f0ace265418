"""Sessions: a training from its first update, or from where it stopped, to its last, with all that is kept of it."""

from .schedule import OnNonfinite, Schedule
from .session import Session
from .state import Online, TrainingState, capture, resume

__all__ = ["OnNonfinite", "Online", "Schedule", "Session", "TrainingState", "capture", "resume"]

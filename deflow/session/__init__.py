"""Sessions: follow a training from its start, or from a checkpoint, to its end, and log, evaluate and save."""

from .schedule import OnNonfinite, Schedule
from .session import Session
from .state import Online, TrainingState, capture, resume

__all__ = ["OnNonfinite", "Online", "Schedule", "Session", "TrainingState", "capture", "resume"]

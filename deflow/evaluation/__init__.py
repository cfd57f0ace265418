"""Evaluation: playing episodes in worker processes to measure a policy's success and return, and to show them."""

from .evaluator import Evaluator, evaluate
from .film import Film
from .outcome import Moment, Outcome
from .recording import record
from .result import Evaluation
from .sharing import SharedEvaluator
from .video import Video, check_video, write_video

__all__ = [
    "Evaluation",
    "Evaluator",
    "Film",
    "Moment",
    "Outcome",
    "SharedEvaluator",
    "Video",
    "check_video",
    "evaluate",
    "record",
    "write_video",
]

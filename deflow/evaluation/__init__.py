"""Evaluation: playing episodes in worker processes to measure a policy's success and return."""

from .evaluator import Evaluator, evaluate
from .result import Evaluation

__all__ = ["Evaluation", "Evaluator", "evaluate"]

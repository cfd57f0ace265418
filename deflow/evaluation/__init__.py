"""Evaluation: episodes in worker processes, and the success and return of a policy in its real environment."""

from .evaluator import Evaluator, evaluate
from .result import Evaluation

__all__ = ["Evaluation", "Evaluator", "evaluate"]

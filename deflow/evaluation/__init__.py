"""Episodes in worker processes: the success and return of a policy in its real environment."""

from deflow.evaluation.errors import EvaluationError, EvaluationInterrupted
from deflow.evaluation.evaluator import Evaluator, evaluate
from deflow.evaluation.result import Evaluation

__all__ = ["Evaluation", "EvaluationError", "EvaluationInterrupted", "Evaluator", "evaluate"]

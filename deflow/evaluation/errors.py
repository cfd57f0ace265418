"""What can go wrong while evaluating."""


class EvaluationError(RuntimeError):
    """An episode failed, a worker process died, or the policy or the environment cannot be evaluated."""

"""What can go wrong while evaluating."""


class EvaluationError(RuntimeError):
    """An episode failed, a worker process died, or the policy or the environment cannot be evaluated."""


class EvaluationInterrupted(EvaluationError):  # noqa: N818 - what happened, not what went wrong
    """Whoever asked for the evaluation asked for its end."""

"""What judges a recipe's policies: an evaluator, started before the task's data is read, because workers take seconds
to be ready; or an estimator, where there is no environment."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

from ..data import NO_ENVIRONMENT, Task, is_at_hand
from ..environments import Environment
from ..estimation import Estimator
from ..evaluation import Evaluator


def early_evaluator(options: Any) -> AbstractContextManager[Evaluator | None]:
    """The evaluator of the recipe's environment, within `with`; None if there is no environment.

    Its workers start now, while the data is read. If that must be collected or downloaded first, they start when they
    are needed, since they would only take the memory that the collection's processes need.

    Raises:
        UnknownTaskError: If nothing has the environment's name.
    """
    if options.env == NO_ENVIRONMENT:
        return nullcontext()
    at_once = options.resume is not None or is_at_hand(options.env, options.source, data_dir=options.data_dir)
    environment = Environment(options.env, options.success_timing)
    return Evaluator(environment, workers=options.workers, at_once=at_once)


def estimator(options: Any, task: Task) -> Estimator | None:
    """What judges the policy where there is no environment; None if nothing shall."""
    return Estimator(task, steps=options.estimate_steps) if options.estimate_steps else None

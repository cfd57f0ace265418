"""What judges a recipe's policies: an evaluator, started before the task's data is read, because workers take seconds
to be ready; or an estimator, where there is no environment."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .. import hosts
from ..data import Task, is_at_hand, task_environment
from ..environments import Environment
from ..estimation import Estimator
from ..evaluation import Evaluator, SharedEvaluator
from ..runs import Run


@contextmanager
def early_evaluator(options: Any) -> Iterator[Evaluator | SharedEvaluator | None]:
    """The evaluator of the recipe's environment, within `with`; None if there is no environment. Processes that train
    together share its episodes.

    Its workers start now, while the data is read. If that must be collected or downloaded first, they start when they
    are needed, since they would only take the memory that the collection's processes need.

    Raises:
        DataError: If nothing has the environment's name, or the data names none that can be made.
    """
    if options.resume is not None:  # as the run remembers it
        described, at_once = Run.open(options.resume).config["environment"], True
        environment = None if described is None else Environment(**described)
    else:
        at_once = is_at_hand(options.env, options.source, data_dir=options.data_dir)
        made = {"success_timing": options.success_timing, "frame_stack": options.frame_stack}
        environment = task_environment(options.env, options.source, **made)
    if environment is None:
        yield None
        return
    with Evaluator(environment, workers=options.workers, at_once=at_once) as own:
        yield own if hosts.count() == 1 else SharedEvaluator(own)


def estimator(options: Any, task: Task) -> Estimator | None:
    """What judges the policy where there is no environment; None if nothing shall."""
    return Estimator(task, steps=options.estimate_steps) if options.estimate_steps else None

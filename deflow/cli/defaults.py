"""The defaults of a recipe that trains, which depend on some of its arguments."""

import dataclasses
from typing import Any

from ..agent import AgentConfig, agent_config, algorithm_name, task_settings
from ..critics import FlowCriticConfig
from ..runs import Run
from . import budgets
from .arguments import peek
from .behaviours import behaviour_config
from .data_options import settings_name
from .opening import check_imports
from .program import import_files
from .resuming import recorded_options
from .staged import proposals_needed, trains_from_proposals


def suggested(
    arguments: list[str], kind: type[Any], recipe: str, *, paper: Any, quickstart: Any
) -> tuple[Any, AgentConfig, str]:
    """The options, the agent and the algorithm's name that follow from the algorithm, the task and the budget, or from
    the run to be continued. `kind` is the recipe's class of options."""
    import_files(peek(arguments, "--import"))
    if resumed := peek(arguments, "--resume"):
        run = Run.open(resumed[-1])
        check_imports(run)
        return *recorded_options(run, kind, recipe), run.algorithm
    named = arguments and not arguments[0].startswith("-") and ":" not in arguments[0]
    algorithm = algorithm_name(arguments[0] if named else "deflow")
    settings = task_settings(settings_name(paper, arguments))
    quick = peek(arguments, "--budget")[-1:] == ["quickstart"]
    if quick:
        config = budgets.quickstart_agent(algorithm, settings, arguments)
    else:
        config = agent_config(algorithm, settings=settings)
    if given := peek(arguments, "--behaviour"):
        config = behaviour_config(given[0], config)
    if quick:
        proposals = max(quickstart.proposals, proposals_needed(config)) if trains_from_proposals(config) else 0
        return dataclasses.replace(budgets.fitting(quickstart, config), proposals=proposals), config, algorithm
    if isinstance(config.critic, FlowCriticConfig):
        paper = dataclasses.replace(paper, batch_size=settings.flow_batch_size)
    return dataclasses.replace(paper, steps=settings.steps), config, algorithm

"""Environments: what a task's name means, how its environment is made, adapted and seeded, and what success is."""

from .environment import Adapter, Environment, SuccessTiming, check_actions, check_observations, from_unit, spec_of
from .oracles import Behaviour, behaviour_of, episode_steps
from .seeding import nothing_from_the_system, seeded_reset
from .success import step_success
from .task_names import TaskName, parse_task_name, task_names
from .third_party_warnings import quiet_imports, quiet_spaces

__all__ = [
    "Adapter",
    "Behaviour",
    "Environment",
    "SuccessTiming",
    "TaskName",
    "behaviour_of",
    "check_actions",
    "check_observations",
    "episode_steps",
    "from_unit",
    "nothing_from_the_system",
    "parse_task_name",
    "quiet_imports",
    "quiet_spaces",
    "seeded_reset",
    "spec_of",
    "step_success",
    "task_names",
]

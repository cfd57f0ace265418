"""The agent: what it is, of which parts it is composed, and what changes from task to task."""

from .agent import Agent, Metrics
from .algorithms import ALGORITHMS, agent_config, resized
from .automatic_bounds import (
    has_automatic_bound,
    resolve_bound,
    resolve_bound_with_reason,
    suggested_bound,
    variance_factor,
    with_placeholder_bound,
)
from .configuration import KINDS, AgentConfig
from .serialization import describe_agent, describe_spec, restore_agent, restore_spec
from .settings import TaskSettings, task_settings

__all__ = [
    "ALGORITHMS",
    "KINDS",
    "Agent",
    "AgentConfig",
    "Metrics",
    "TaskSettings",
    "agent_config",
    "describe_agent",
    "describe_spec",
    "has_automatic_bound",
    "resized",
    "resolve_bound",
    "resolve_bound_with_reason",
    "restore_agent",
    "restore_spec",
    "suggested_bound",
    "task_settings",
    "variance_factor",
    "with_placeholder_bound",
]

"""DeFlow: offline reinforcement learning with flow policies, composed from parts."""

from . import constraints, critics, encoders, fields, refiners, solvers, trust_regions
from .agent import Agent
from .algorithms import ALGORITHMS, agent_config
from .composition import AgentConfig
from .data import Collected, Environment, Official, Task, UserFile, collect, load_task
from .evaluation import Evaluation, Evaluator, evaluate
from .loading import load
from .runs import Run
from .settings import TaskSettings, task_settings
from .training import Learner, train_offline
from .types import Batch, Spec

__version__ = "0.1.0"

__all__ = [
    "ALGORITHMS",
    "Agent",
    "AgentConfig",
    "Batch",
    "Collected",
    "Environment",
    "Evaluation",
    "Evaluator",
    "Learner",
    "Official",
    "Run",
    "Spec",
    "Task",
    "TaskSettings",
    "UserFile",
    "agent_config",
    "collect",
    "constraints",
    "critics",
    "encoders",
    "evaluate",
    "fields",
    "load",
    "load_task",
    "refiners",
    "solvers",
    "task_settings",
    "train_offline",
    "trust_regions",
]

"""Workers: how processes start and end, and how they react to Ctrl-C. Nothing here is about reinforcement learning."""

from .executor import BrokenProcessPool, WorkerPool
from .interrupts import Interrupt, graceful_interrupts
from .spawning import Process, end_with_parent, environment_variables, usable_cores

__all__ = [
    "BrokenProcessPool",
    "Interrupt",
    "Process",
    "WorkerPool",
    "end_with_parent",
    "environment_variables",
    "graceful_interrupts",
    "usable_cores",
]

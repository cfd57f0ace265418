"""Workers: how processes start, end and hear Ctrl-C. Nothing here knows of reinforcement learning."""

from .executor import BrokenProcessPool, WorkerPool
from .interrupts import Interrupt, patient_interrupts
from .spawning import Process, end_with_parent, usable_cores

__all__ = [
    "BrokenProcessPool",
    "Interrupt",
    "Process",
    "WorkerPool",
    "end_with_parent",
    "patient_interrupts",
    "usable_cores",
]

"""Launchers: lists of runs, and what carries them out."""

from .base import AbstractLauncher, register, registry
from .carrying import carry_out, check_unchanged
from .grid import axes_of, jobs_of, seeds_of
from .job import Job
from .local import Local
from .ray import Ray
from .record import Record
from .slurm import Slurm
from .sweep import Sweep

__all__ = [
    "AbstractLauncher",
    "Job",
    "Local",
    "Ray",
    "Record",
    "Slurm",
    "Sweep",
    "axes_of",
    "carry_out",
    "check_unchanged",
    "jobs_of",
    "register",
    "registry",
    "seeds_of",
]

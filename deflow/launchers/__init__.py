"""Launchers: lists of runs, and what carries them out."""

from .asha import RayAsha
from .base import AbstractLauncher, AbstractStoppingLauncher, register, registry
from .carrying import carry_out, check_unchanged
from .grid import axes_of, cells_of, seeds_of, with_seeds
from .job import Job
from .local import Local
from .ray import AbstractRay, Ray
from .record import Record
from .slurm import Slurm
from .sweep import Sweep

__all__ = [
    "AbstractLauncher",
    "AbstractRay",
    "AbstractStoppingLauncher",
    "Job",
    "Local",
    "Ray",
    "RayAsha",
    "Record",
    "Slurm",
    "Sweep",
    "axes_of",
    "carry_out",
    "cells_of",
    "check_unchanged",
    "register",
    "registry",
    "seeds_of",
    "with_seeds",
]

"""Solvers: field and noise -> proposal."""

from .adaptive import AbstractAdaptive, Dopri5, Tsit5
from .base import AbstractSolver, AbstractStochasticSolver, register, registry
from .fixed_step import AbstractFixedStep, Bosh3, Euler, Heun, Midpoint, Ralston

__all__ = [
    "AbstractAdaptive",
    "AbstractFixedStep",
    "AbstractSolver",
    "AbstractStochasticSolver",
    "Bosh3",
    "Dopri5",
    "Euler",
    "Heun",
    "Midpoint",
    "Ralston",
    "Tsit5",
    "register",
    "registry",
]

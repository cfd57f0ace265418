"""Deployment: a trained policy in its user's own units, and files that hold it outside of deflow."""

from .agreement import Agreement
from .export import export
from .format import AbstractFormat, register, registry
from .latency import Latency, latency
from .npz import NPZ
from .onnx import ONNX
from .policy import Origin, Policy
from .program import Program
from .stablehlo import StableHLO

__all__ = [
    "NPZ",
    "ONNX",
    "AbstractFormat",
    "Agreement",
    "Latency",
    "Origin",
    "Policy",
    "Program",
    "StableHLO",
    "export",
    "latency",
    "register",
    "registry",
]

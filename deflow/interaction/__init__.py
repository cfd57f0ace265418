"""Interaction: environments in their own processes, stepped together to produce online transitions."""

from .actors import Actors, Step

__all__ = ["Actors", "Step"]

"""Interaction: environments in processes of their own, stepped together: where online transitions come from."""

from .actors import Actors, Step

__all__ = ["Actors", "Step"]

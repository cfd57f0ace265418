"""Environments in worker processes of their own, stepped together: where online training's transitions come from."""

from deflow.interaction.actors import Actors, Step
from deflow.interaction.errors import InteractionError

__all__ = ["Actors", "InteractionError", "Step"]

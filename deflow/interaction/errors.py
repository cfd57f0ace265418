"""What can go wrong while acting."""


class InteractionError(RuntimeError):
    """An environment failed, its process died, it cannot be sent or resumed, or it was given actions it cannot take."""

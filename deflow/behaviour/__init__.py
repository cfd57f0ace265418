"""The behaviour flow on its own: the proposals that it makes for a dataset's states, drawn once."""

from .held_out import HeldOutLoss
from .proposals import Proposals, behaviour_digest, draw_proposals
from .proposals_file import find_proposals, open_proposals
from .source import proposal_source
from .states import States

__all__ = [
    "HeldOutLoss",
    "Proposals",
    "States",
    "behaviour_digest",
    "draw_proposals",
    "find_proposals",
    "open_proposals",
    "proposal_source",
]

"""The behaviour flow on its own: the proposals that it makes for a dataset's states, drawn once."""

from .held_out import HeldOutLoss
from .proposals import Proposals, behaviour_digest, draw_proposals, flow_alone
from .proposals_file import find_proposals, open_proposals
from .replay import ProposedReplay
from .source import proposal_source
from .states import States

__all__ = [
    "HeldOutLoss",
    "Proposals",
    "ProposedReplay",
    "States",
    "behaviour_digest",
    "draw_proposals",
    "find_proposals",
    "flow_alone",
    "open_proposals",
    "proposal_source",
]

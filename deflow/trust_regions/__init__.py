"""Trust regions: the size of a displacement, and the nearest one inside; or the size of an action, by the flow."""

from .anchored import Anchored
from .ball import Ball
from .base import (
    AbstractFlowRegion,
    AbstractRegion,
    AbstractTrustRegion,
    AbstractTrustRegionConfig,
    Bound,
    FlowInquiry,
    check_bound,
    register,
    registry,
)
from .box import Box
from .ellipsoid import Ellipsoid, EllipsoidConfig
from .geometry import root
from .mean_square import MeanSquare
from .none import NoTrustRegion
from .per_state import PerState, PerStateConfig

__all__ = [
    "AbstractFlowRegion",
    "AbstractRegion",
    "AbstractTrustRegion",
    "AbstractTrustRegionConfig",
    "Anchored",
    "Ball",
    "Bound",
    "Box",
    "Ellipsoid",
    "EllipsoidConfig",
    "FlowInquiry",
    "MeanSquare",
    "NoTrustRegion",
    "PerState",
    "PerStateConfig",
    "check_bound",
    "register",
    "registry",
    "root",
]

"""Trust regions: the size of a displacement, and the nearest one inside."""

from .ball import Ball
from .base import AbstractTrustRegion, AbstractTrustRegionConfig, Bound, check_bound, register, registry
from .box import Box
from .ellipsoid import Ellipsoid, EllipsoidConfig
from .geometry import root
from .mean_square import MeanSquare
from .none import NoTrustRegion
from .per_state import PerState, PerStateConfig

__all__ = [
    "AbstractTrustRegion",
    "AbstractTrustRegionConfig",
    "Ball",
    "Bound",
    "Box",
    "Ellipsoid",
    "EllipsoidConfig",
    "MeanSquare",
    "NoTrustRegion",
    "PerState",
    "PerStateConfig",
    "check_bound",
    "register",
    "registry",
    "root",
]

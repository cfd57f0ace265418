"""Trust regions: how large a displacement is, and the nearest one inside."""

from .base import AbstractTrustRegion, AbstractTrustRegionConfig, Bound, check_bound, register, registry
from .mean_square import MeanSquare
from .none import NoTrustRegion

__all__ = [
    "AbstractTrustRegion",
    "AbstractTrustRegionConfig",
    "Bound",
    "MeanSquare",
    "NoTrustRegion",
    "check_bound",
    "register",
    "registry",
]

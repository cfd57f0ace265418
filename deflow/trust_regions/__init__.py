"""Trust regions: how large a displacement is, and the nearest one inside."""

from .base import AbstractTrustRegion, AbstractTrustRegionConfig, check_bound, register, registry
from .mean_square import MeanSquare
from .none import NoTrustRegion

__all__ = [
    "AbstractTrustRegion",
    "AbstractTrustRegionConfig",
    "MeanSquare",
    "NoTrustRegion",
    "check_bound",
    "register",
    "registry",
]

"""Estimation: what a policy is worth before it runs, from logged data alone."""

from .estimate import estimate
from .estimator import Estimator
from .fitted_q import judging_critic
from .value_estimate import Diagnostics, ValueEstimate

__all__ = ["Diagnostics", "Estimator", "ValueEstimate", "estimate", "judging_critic"]

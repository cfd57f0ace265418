"""Training: a learner, and the loops that move it."""

from .learner import Learner, sample
from .offline import train_offline
from .precision import Precision

__all__ = ["Learner", "Precision", "sample", "train_offline"]

"""Training: the learner, and the offline and online loops that update it."""

from .learner import Learner
from .offline import train_offline
from .online import train_online
from .precision import Precision

__all__ = ["Learner", "Precision", "train_offline", "train_online"]

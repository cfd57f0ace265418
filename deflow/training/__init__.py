"""Training: the learner, and the offline and online loops that update it."""

from .dataset import DatasetPlacement
from .devices import Devices
from .learner import Learner
from .offline import train_offline
from .online import train_online
from .precision import Precision

__all__ = ["DatasetPlacement", "Devices", "Learner", "Precision", "train_offline", "train_online"]

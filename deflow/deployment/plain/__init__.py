"""The NumPy form of a policy: a traced program as steps and arrays, and the page of code that runs them.

`plain_policy.py` is the page, which is put beside every export and imports nothing of deflow. The other modules write
what it reads: `lowering.py` is where to begin.
"""

from .lowering import lower
from .plain_policy import PlainPolicy

__all__ = ["PlainPolicy", "lower"]

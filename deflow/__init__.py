"""DeFlow: offline reinforcement learning with flow policies, composed from parts.

What a user types is listed in `__init__.pyi` and imported when it is first used: worker processes need little of it.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

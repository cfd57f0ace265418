"""The agent: how it acts and learns, which parts it is composed of, and which settings change from task to task.

Names are listed in `__init__.pyi` and imported on first use.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

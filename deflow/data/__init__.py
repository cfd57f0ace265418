"""Data: a task's transitions, from OGBench's files, OGBench's oracles or your own files, checked before use.

Names are listed in `__init__.pyi` and imported on first use.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

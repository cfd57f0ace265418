"""Data: a task's transitions, from OGBench's files, OGBench's oracles or the user, checked before use.

What is listed in `__init__.pyi` is imported when it is first used.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

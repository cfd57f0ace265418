"""Environments: what a task's name means, how its environment is made, adapted and seeded, and what success is.

What is listed in `__init__.pyi` is imported when it is first used: a worker process needs little of it.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

"""Environments: what a task's name means, how its environment is made, adapted and seeded, and what success is.

Names are listed in `__init__.pyi` and imported on first use, because worker processes need few of them.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

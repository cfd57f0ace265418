"""Environments: the meaning of a task's name, and how an environment is made, adapted, seeded and judged.

Names are listed in `__init__.pyi` and imported on first use, because worker processes need few of them.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

"""DeFlow: offline reinforcement learning with flow policies, composed from parts.

Names are listed in `__init__.pyi` and imported on first use, because worker processes need few of them.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

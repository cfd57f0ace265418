"""The agent: what it is, of which parts it is composed, and what changes from task to task.

What is listed in `__init__.pyi` is imported when it is first used.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

"""Silence for warnings of other packages that a user can do nothing about."""

import contextlib
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def quiet_imports() -> Iterator[None]:
    """Hide what MuJoCo's viewer says on machines without a screen."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="glfw")
        warnings.filterwarnings("ignore", message=".*(GLFW|X11|DISPLAY).*")
        yield


@contextlib.contextmanager
def quiet_spaces() -> Iterator[None]:
    """Hide Gymnasium's remarks on the precision of OGBench's boxes."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*precision lowered by casting.*")
        warnings.filterwarnings("ignore", message=".*Overriding environment.*")
        yield

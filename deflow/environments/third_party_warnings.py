"""Suppresses warnings of other packages that users can do nothing about."""

import contextlib
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def quiet_imports() -> Iterator[None]:
    """Suppress the warnings of MuJoCo's viewer on machines without a screen."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="glfw")
        warnings.filterwarnings("ignore", message=".*(GLFW|X11|DISPLAY).*")
        yield


@contextlib.contextmanager
def quiet_spaces() -> Iterator[None]:
    """Suppress Gymnasium's warnings about the precision of OGBench's boxes."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*precision lowered by casting.*")
        warnings.filterwarnings("ignore", message=".*Overriding environment.*")
        yield

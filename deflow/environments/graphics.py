"""How MuJoCo draws on a machine without a screen: with the first of its OpenGL libraries that works."""

import os
import subprocess
import sys
from typing import Any

VARIABLE = "MUJOCO_GL"
"""MuJoCo reads it once, when it is imported: it must be set before a process that draws starts."""

PACKAGES = "libegl1 libopengl0 (or libosmesa6)"
"""What brings such a library on Debian and Ubuntu."""

_TRIAL = "import mujoco; mujoco.Renderer(mujoco.MjModel.from_xml_string('<mujoco/>'), 8, 8).render()"


def graphics_variables() -> dict[str, str]:
    """The environment variables of processes that draw; none if the user has chosen, or if no library works."""
    if os.environ.get(VARIABLE) or sys.platform != "linux":
        return {}
    screen = ["glfw"] if os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY") else []
    works = next(filter(_draws, [*screen, "egl", "osmesa"]), None)
    return {} if works is None else {VARIABLE: works}


def draws_observations(maker: Any) -> bool:
    """Whether it is known that the environment's observations are images that MuJoCo may draw."""
    return getattr(maker, "is_visual", False) or (getattr(maker, "frame_stack", None) or 1) > 1


def renders_here() -> bool:
    """Whether MuJoCo draws as the user has set it up, tried in a process of its own."""
    chosen = os.environ.get(VARIABLE)
    return sys.platform != "linux" or (chosen is not None and _draws(chosen))


def why_nothing_is_drawn() -> str:
    """In a process in which drawing failed: what MuJoCo lacks there, as a sentence; empty without MuJoCo."""
    if "mujoco" not in sys.modules or sys.platform != "linux":
        return ""
    if chosen := os.environ.get(VARIABLE):
        return f"MuJoCo draws with {VARIABLE}={chosen} here: unset it to have one chosen that works."
    return (
        f"MuJoCo has no OpenGL here (neither egl nor osmesa works): install one, on Debian by apt install {PACKAGES}."
    )


def _draws(library: str) -> bool:
    """Whether MuJoCo draws with it, tried in a process of its own: importing MuJoCo here would settle the choice."""
    try:
        tried = subprocess.run(
            [sys.executable, "-c", _TRIAL], env={**os.environ, VARIABLE: library}, capture_output=True, timeout=60
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return tried.returncode == 0

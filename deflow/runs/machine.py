"""What a run was made with: versions, device, commit and command line."""

import datetime
import importlib.metadata
import os
import platform
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax

from ..workers import usable_cores

PACKAGES = (
    "deflow",
    "jax",
    "jaxlib",
    "equinox",
    "optax",
    "diffrax",
    "mujoco",
    "ogbench",
    "numpy",
    "orbax-checkpoint",
)
"""Distributions whose versions can change a result."""

SOURCES = ("deflow", "recipes", "pyproject.toml")
"""Paths of a checkout that can change a result; other files do not make it dirty."""


def describe_machine() -> dict[str, Any]:
    """The machine and the software as JSON data: the content of a run's `environment.json`."""
    return {
        "started": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        "command": shlex.join(sys.orig_argv),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": _processor(),
        "cpu_count": os.cpu_count(),
        "usable_cores": usable_cores(),
        "backend": jax.default_backend(),
        "devices": [device.device_kind for device in jax.local_devices()],
        "versions": {name: _version(name) for name in PACKAGES},
        "git": _git_state(Path(__file__).resolve().parents[2]),
    }


def _processor() -> dict[str, Any]:
    """The processor's name and, on Linux, its wide and half-precision instructions."""
    try:
        lines = dict(line.split(":", 1) for line in Path("/proc/cpuinfo").read_text().splitlines() if ":" in line)
    except OSError:
        return {"name": platform.processor() or platform.machine(), "instructions": []}
    facts = {name.strip(): value.strip() for name, value in lines.items()}
    flags = set(facts.get("flags", "").split())
    wanted = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")
    return {
        "name": facts.get("model name", platform.machine()),
        "instructions": [name for name in wanted if name in flags],
    }


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _git_state(checkout: Path) -> dict[str, Any] | None:
    """The commit, and whether files differ from it; `None` if deflow does not run from a checkout."""
    # A virtual environment may lie inside someone else's repository: that one's commit says nothing about deflow.
    if not (checkout / ".git").exists():
        return None
    commit = _git(checkout, "rev-parse", "HEAD")
    changes = _git(checkout, "status", "--porcelain", "--", *SOURCES)
    if commit is None or changes is None:
        return None
    return {"commit": commit, "dirty": bool(changes)}


def _git(checkout: Path, *arguments: str) -> str | None:
    command = ["git", "--no-optional-locks", "-C", str(checkout), *arguments]
    # Inside a git hook these variables name another repository.
    variables = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True, env=variables)
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()

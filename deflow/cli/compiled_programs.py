"""Compiled programs are kept between processes: a recipe that ran before starts without compiling again."""

import contextlib
import hashlib
import os
import platform
from pathlib import Path

import jax

LARGEST = 2_000_000_000
"""Bytes that all programs may take; those that were not used for the longest time go first."""


def keep_compiled_programs() -> None:
    """Turns on JAX's persistent cache, here and in worker processes, in the user's cache folder.

    Its keys are the programs themselves, with JAX's version and options. Programs for the CPU use the instructions of
    the processor they were compiled on, so each kind of processor has a folder of its own. A folder or a size that the
    user chose with JAX's own variables stays, and JAX_ENABLE_COMPILATION_CACHE=false turns the cache off.
    """
    if "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "deflow" / f"compiled-{_processor()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return  # a home that cannot be written: programs are compiled each time
    settings = {
        "jax_compilation_cache_dir": str(folder),
        "jax_compilation_cache_max_size": LARGEST,
        "jax_persistent_cache_min_compile_time_secs": 0.0,  # many small ones take seconds, too
    }
    for name, value in settings.items():
        os.environ.setdefault(name.upper(), str(value))
        jax.config.update(name, value)


def _processor() -> str:
    """A short name of this kind of processor."""
    facts = platform.machine() + platform.processor()
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        facts += "".join(dict.fromkeys(line for line in lines if line.startswith(("model name", "flags", "Features"))))
    return hashlib.sha256(facts.encode()).hexdigest()[:12]

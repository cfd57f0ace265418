"""How every test runs: shapes and types are checked at each call, and nothing is promoted or broadcast silently."""

import atexit
import ctypes
import gc
import importlib.metadata
import os
import platform
import shutil
import signal
import tempfile

# One folder of compiled programs for all of a session's processes: those of pytest, and the recipes that tests run.
if "PYTEST_XDIST_WORKER" not in os.environ:
    os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="deflow-compiled-")
    atexit.register(shutil.rmtree, os.environ["JAX_COMPILATION_CACHE_DIR"], ignore_errors=True)
os.environ |= {
    "JAX_COMPILATION_CACHE_MAX_SIZE": str(10**10),  # with a limit, JAX locks the folder
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.1",
    # Tiny programs run for milliseconds: compile them fast, and alike in every process.
    "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
}
# Half of what a test does is compilation, which takes half as long without the emitters. Without them, some programs
# contract a product and a sum that others do not, and tests demand the same bits of both: so none may contract them.
# A later XLA has no such flag, and ends a process that names it.
if platform.machine() in ("x86_64", "AMD64"):
    emitters = "--xla_cpu_use_fusion_emitters=false" if importlib.metadata.version("jaxlib") < "0.11" else ""
    flags = f"{emitters} --xla_cpu_max_isa=AVX"
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flags}".strip()

import jax
import pytest
from jaxtyping import install_import_hook

CHECKED = (
    "agent.agent agent.automatic_bounds agent.configuration agent.measuring agent.serialization agent.settings "
    "constraints critics data.n_step encoders fields keys networks refiners replay solvers testing training "
    "trust_regions types"
)
"""Where arrays have shapes. The rest refuses what a user gets wrong by itself, and its tests give it such things."""

# Before anything imports deflow. (`typechecking` stands beside this file.)
install_import_hook([f"deflow.{name}" for name in CHECKED.split()], "typechecking.check")

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

# Started in the background of a script, tests inherit that Ctrl-C is ignored, and so would the processes they send it.
signal.signal(signal.SIGINT, signal.default_int_handler)


LONG = (
    "newest kill_and_resume hosts launchers early_stop installing staged learning_from_pixels docs recipes visual "
    "bounds interaction behaviour data_report online_proposals chunks_online plugin readers_formats algorithms"
)
"""The files that take longest begin first: one that is left for the end would keep one process busy and others idle."""


def pytest_collection_modifyitems(items):
    order = {f"test_{name}.py": number for number, name in enumerate(LONG.split())}
    items.sort(key=lambda item: order.get(item.path.name, len(order)))


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory):
    """Where recipes keep their data: the first that runs collects a tiny set, the others find it, in all processes."""
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "shared-data"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="module", autouse=True)
def memory():
    """Compiled programs are forgotten once a process has two gigabytes: after all files, it would have six."""
    yield
    if platform.system() == "Linux" and resident_bytes() > 2e9:
        jax.clear_caches()
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)  # the C library would keep it


def resident_bytes():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.fixture
def registered():
    """Registers a class for the length of one test: `registered(registry, name, cls)`."""
    undo = []

    def register(registry, name, cls):
        undo.append((registry, name))
        return registry.register(name)(cls)

    yield register
    for registry, name in undo:
        registry._members.pop(name, None)
        registry._distributions.pop(name, None)


@pytest.fixture(autouse=True)
def files_of_its_own():
    """What one test imports from files, no other test's workers run."""
    yield
    from deflow.environments import user_files

    for path in [path for path in user_files._imported if path.name != "own_environment.py"]:
        del user_files._imported[path]


def pytest_collection_finish():
    """What was imported and collected stays: the garbage collector, which JAX listens to, need not look at it."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)

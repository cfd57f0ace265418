"""Compiled programs are kept between processes."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROGRAM = """
import jax
from deflow.cli.compiled_programs import keep_compiled_programs
keep_compiled_programs()
print(jax.jit(lambda x: x * 2 + 1)(jax.numpy.arange(3.0)), jax.config.jax_compilation_cache_dir)
"""


def run(**variables):
    known = {name: value for name, value in os.environ.items() if not name.startswith(("JAX_COMPILATION", "XDG_"))}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=ROOT,
        env={**known, **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    values, _, folder = done.stdout.strip().partition("] ")
    assert values == "[1. 3. 5."
    return folder


def programs(folder):
    return {path.name for path in Path(folder).glob("*-cache")}


def test_a_second_process_compiles_nothing(tmp_path):
    folder = run(XDG_CACHE_HOME=str(tmp_path))
    assert Path(folder).is_relative_to(tmp_path / "deflow")
    first = programs(folder)
    assert first
    assert run(XDG_CACHE_HOME=str(tmp_path)) == folder
    assert programs(folder) == first


def test_the_users_own_folder_stays(tmp_path):
    assert run(XDG_CACHE_HOME=str(tmp_path / "a"), JAX_COMPILATION_CACHE_DIR=str(tmp_path / "b")) == str(tmp_path / "b")
    assert not (tmp_path / "a" / "deflow").exists()


def test_a_home_that_cannot_be_written_is_no_obstacle(tmp_path):
    (tmp_path / "home").write_text("a file in its place")
    assert run(XDG_CACHE_HOME=str(tmp_path / "home")) == "None"

"""The short form of `kill_and_resume.py`: two seeds, both phases, one kill in the middle of a save."""

import os

import kill_and_resume


def test_killed_and_resumed_ends_like_one_that_was_not(tmp_path):
    variables = {
        **os.environ,
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path / "compiled"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    lines = kill_and_resume.main(kills=3, seeds=[0, 1], seed=1, directory=tmp_path, environment=variables)
    assert any(line.startswith("offline") for line in lines)
    assert any(line.startswith("online") for line in lines)

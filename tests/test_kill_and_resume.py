"""The short form of `kill_and_resume.py`: two seeds, all phases, one kill in the middle of a save."""

import os

import kill_and_resume
import pytest


@pytest.fixture(scope="module")
def variables(data_dir):
    return {**os.environ, "DATA_DIR": str(data_dir)}


def test_killed_and_resumed_ends_like_one_that_was_not(variables, tmp_path):
    """With chunks, so that actions wait to be executed, too."""
    lines = kill_and_resume.main(
        kills=3, seeds=[0, 1], seed=1, directory=tmp_path, environment=variables, algorithm="deflow-chunked"
    )
    assert any(line.startswith("offline") for line in lines)
    assert any(line.startswith("online") for line in lines)


def test_killed_in_each_of_three_phases(variables, tmp_path):
    lines = kill_and_resume.main(
        kills=4, seeds=[0, 1], seed=1, directory=tmp_path, environment=variables, proposals=1024
    )
    for phase in ("behaviour", "proposals", "improvement"):
        assert any(line.startswith(phase) for line in lines)

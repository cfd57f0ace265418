"""A package of somebody else's: its parts are found, train, are recorded and load; elsewhere they are missed."""

import importlib.metadata
import shutil
from pathlib import Path

import pytest
from test_recipes import ENV, TINY, in_process, refused
from virtual_environment import VirtualEnvironment

import deflow
from deflow.errors import SerializationError

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    environment = VirtualEnvironment(tmp_path_factory.mktemp("plugin"))
    # A copy, so that neither building it nor its tests leave anything in the repository.
    shutil.copytree(
        ROOT / "tests" / "plugin", environment.folder / "source", ignore=shutil.ignore_patterns("__pycache__", ".*")
    )
    environment.install(environment.folder / "source")
    return environment


def test_its_own_tests_pass_there(elsewhere):
    assert "passed" in elsewhere("python", "-m", "pytest", "-q", "-p", "no:cacheprovider", elsewhere.folder / "source")


@pytest.fixture(scope="module")
def trained(elsewhere, data_dir):
    """A run of an agent with both parts, trained there."""
    elsewhere(
        *(
            "python",
            ROOT / "recipes" / "offline.py",
            "--env",
            ENV,
            "--data-dir",
            data_dir,
            "--output-dir",
            "runs",
            *TINY,
        ),
        *("--critic.width", 8, "--critic.depth", 1, "--eval-every", 30, "--episodes", 1),
        *("solver:adams-bashforth", "--solver.steps", 3, "trust-region:l1-ball", "--trust-region.bound", 0.3),
    )
    (path,) = (elsewhere.folder / "runs" / ENV / "deflow").glob("seed0-*")
    return path


def test_a_run_names_the_package_and_its_version(trained):
    described = deflow.Run.open(trained).config["agent"]
    assert described["solver"] == {"name": "adams-bashforth", "from": "deflow-extras 0.1.0", "fields": {"steps": 3}}
    assert described["trust_region"] == {"name": "l1-ball", "from": "deflow-extras 0.1.0", "fields": {"bound": 0.3}}
    assert described["critic"]["from"] == f"deflow {deflow.__version__}"


ACTS = """
import sys, deflow, jax, numpy
policy = deflow.load(sys.argv[1]).agent
print(type(policy.solver).__name__, policy(numpy.zeros(28, numpy.float32), key=jax.random.key(0)).shape)
"""


def test_its_checkpoint_acts_there(elsewhere, trained):
    assert elsewhere("python", "-c", ACTS, trained).split(maxsplit=1) == ["AdamsBashforth", "(5,)\n"]


def test_its_checkpoint_is_refused_where_the_package_is_missing(trained, monkeypatch, capfd):
    with pytest.raises(importlib.metadata.PackageNotFoundError):
        importlib.metadata.version("deflow-extras")
    with pytest.raises(SerializationError) as caught:
        deflow.load(trained)
    sentence = str(caught.value)
    for words in (
        "the solver 'adams-bashforth' of deflow-extras 0.1.0 and the trust region 'l1-ball' of deflow-extras 0.1.0",
        "pip install deflow-extras==0.1.0",
    ):
        assert words in sentence
    assert sentence in " ".join((ROOT / "docs" / "extending.md").read_text().split())
    assert refused(in_process("evaluate", [str(trained)], monkeypatch, capfd)) == f"error: {sentence}\n"

"""A package of somebody else's: its parts are found, train, are recorded and load; elsewhere they are missed."""

import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import sysconfig
import venv
from pathlib import Path

import pytest
from test_recipes import ENV, TINY, in_process, refused

import deflow
from deflow.errors import SerializationError

ROOT = Path(__file__).parents[1]


class Environment:
    """A virtual environment of its own in which the package is installed, and programs that compile fast and once."""

    def __init__(self, folder):
        # The tests' environment lends all that it has, pip too: nothing is downloaded, and nothing is added to it. A
        # line of a `.pth` file that is a program, unlike a path, makes the .pth files over there count, too: that of
        # an editable deflow.
        venv.create(folder / "environment", with_pip=importlib.util.find_spec("pip") is None)
        (own,) = (folder / "environment").glob("lib/python*/site-packages")
        lent = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
        (own / "lent.pth").write_text("".join(f"import site; site.addsitedir({path!r})\n" for path in lent))
        self.folder = folder
        self.variables = {**os.environ, "COLUMNS": "200", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        # A copy, so that neither building it nor its tests leave anything in the repository.
        self.source = shutil.copytree(
            ROOT / "tests" / "plugin", folder / "source", ignore=shutil.ignore_patterns("__pycache__", ".*")
        )
        self("-m", "pip", "install", "--no-deps", "--no-build-isolation", "--no-index", self.source)

    def __call__(self, *arguments):
        """What a program of that environment prints."""
        command = [self.folder / "environment" / "bin" / "python", *map(str, arguments)]
        done = subprocess.run(command, cwd=self.folder, env=self.variables, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    return Environment(tmp_path_factory.mktemp("plugin"))


def test_its_own_tests_pass_there(elsewhere):
    assert "passed" in elsewhere("-m", "pytest", "-q", "-p", "no:cacheprovider", elsewhere.source)


@pytest.fixture(scope="module")
def trained(elsewhere, data_dir):
    """A run of an agent with both parts, trained there."""
    elsewhere(
        *(ROOT / "recipes" / "offline.py", "--env", ENV, "--data-dir", data_dir, "--output-dir", "runs", *TINY),
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
    assert elsewhere("-c", ACTS, trained).split(maxsplit=1) == ["AdamsBashforth", "(5,)\n"]


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

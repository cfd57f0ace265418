"""What people see of objects in a notebook, of warnings and of errors raised in Python."""

import ast
import pathlib
import re
import warnings

import equinox as eqx
import jax
import numpy as np
import pytest

import deflow
from deflow.errors import DeflowWarning, warn
from deflow.testing import example_data

SPEC = deflow.Spec(observation_shape=(3,), action_size=2)
PACKAGE = pathlib.Path(deflow.__file__).parent


def test_agents_and_learners_are_printed_by_part():
    config = deflow.agent_config(width=512, depth=4, refiner="iterated")
    keys = jax.random.split(jax.random.key(0), 2)
    learner = deflow.Learner.create(config, SPEC, example_data(SPEC), key=keys)
    for printed in (repr(learner), repr(learner.agent), str(learner.agent)):
        assert "solver=Euler(steps=10)" in printed
        assert "trust_region=MeanSquare(bound=0.001)" in printed
        assert "Dense" not in printed
        assert len(printed.splitlines()) < 12
    assert repr(learner).startswith("Learner(step=[0, 0], learning_rate=0.0003, agent=Agent(\n  field=MLPField()")
    one = learner.seed(0)
    assert f"{one.parameters:,} trained parameters" in repr(one)
    assert "Learner(step=" in eqx.filter_jit(repr)(one)  # while it is traced


def test_registries_and_evaluations_are_printed():
    assert repr(deflow.constraints.registry).startswith("Registry(constraint: ")
    assert "penalty" in repr(deflow.constraints.registry)
    result = deflow.Evaluation(np.ones(200), np.full(200, -3.0), np.full(200, 7.0))
    assert repr(result) == f"Evaluation({result})"
    assert len(repr(result)) < 120


def test_the_packages_help_begins_with_what_a_user_wants():
    text = deflow.__doc__
    for name in re.findall(r"`(\w+)`", text):
        assert name == "registry" or hasattr(deflow, name) or hasattr(deflow.errors, name), name
    example = text.partition("    task = ")[2].partition("\n\n")[0]
    for name in re.findall(r"deflow\.(\w+)", example):
        assert hasattr(deflow, name)


# --- warnings and errors


def test_a_warning_points_at_the_users_line():
    learner = deflow.Learner.create(deflow.agent_config(width=8, depth=1), SPEC, key=jax.random.key(0))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        list(deflow.train_offline(learner, example_data(SPEC), steps=0, key=jax.random.key(1)))
        warn("here", DeflowWarning)
    lines = pathlib.Path(__file__).read_text().splitlines()
    assert [warning.filename for warning in caught] == [__file__] * 2
    assert "train_offline" in lines[caught[0].lineno - 1]
    assert 'warn("here"' in lines[caught[1].lineno - 1]


def test_warnings_are_given_in_one_way():
    for path in PACKAGE.rglob("*.py"):
        if path.name != "errors.py":
            assert "warnings.warn(" not in path.read_text(), path


ABOUT_OTHER_PROGRAMS = {
    *("workers/spawning.py", "runs/machine.py"),
    *("launchers/carrying.py", "launchers/grid.py", "launchers/local.py"),
}
"""XLA's flags, git's, nvidia-smi's, and those of the commands that a sweep runs."""


@pytest.mark.parametrize(
    "path",
    [path for path in PACKAGE.rglob("*.py") if path.relative_to(PACKAGE).parts[0] not in ("cli", "__main__.py")],
    ids=lambda path: path.relative_to(PACKAGE).as_posix(),
)
def test_what_python_raises_quotes_no_flags(path):
    """Unless as part of a whole command, or where it says that it speaks of the command line."""
    if path.relative_to(PACKAGE).as_posix() in ABOUT_OTHER_PROGRAMS:
        return
    tree = ast.parse(path.read_text())
    documentation = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and isinstance(node.body[0], ast.Expr)
    }
    in_commands = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("command", "resume_command")
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        text = ""
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation:
            text = node.value
        elif isinstance(node, ast.JoinedStr):
            text = "".join(part.value if isinstance(part, ast.Constant) else "..." for part in node.values)
        if re.search(r"(^|[ `(])--[a-z]", text):
            whole = [n for n in ast.walk(tree) if isinstance(n, ast.JoinedStr) and node in ast.walk(n)] or [node]
            said = " ".join(ast.unparse(one) for one in whole)
            assert id(node) in in_commands or "on the command line" in said, f"line {node.lineno}: {text}"

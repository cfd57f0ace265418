"""A user's program is type-checked: pyright and mypy at their strictest pass what is right and find what is wrong."""

import dataclasses
import importlib
import inspect
import json
import os
import pathlib
import re
import subprocess
import sys
import textwrap
import typing

import pytest
from test_docs import PAGES, python_blocks

import deflow
from deflow.agent import KINDS, choices

ROOT = pathlib.Path(__file__).resolve().parents[1]

COMPLETE = "A complete member:\n"
IMPORTS = "import equinox as eqx, jax, jax.numpy as jnp, optax\nimport deflow\n"
"""What the complete members in the docstrings of the bases take for granted."""

RIGHT = """
from typing import assert_type

import jax
import jax.numpy as jnp

import deflow
from deflow.types import Action, Observation, Scalar


@deflow.trust_regions.register("diamond")
class Diamond(deflow.trust_regions.AbstractTrustRegion):
    bound: deflow.trust_regions.Bound = 0.1

    def size(self, displacement: Action, observation: Observation) -> Scalar:
        return jnp.sum(jnp.abs(displacement))

    def project(self, displacement: Action, observation: Observation) -> Action:
        return displacement * jnp.minimum(1.0, self.limit / self.size(displacement, observation))


def train(task: deflow.Task, algorithm: str) -> deflow.Learner:
    row = deflow.agent.algorithm_name(algorithm)
    settings = deflow.task_settings(task.name)
    config = deflow.agent_config(row, settings=settings, width=64, depth=2, trust_region=Diamond(bound="auto"))
    config = deflow.resolve_bound(config, task)
    learner = deflow.Learner.create(config, task.spec, task.train, key=jax.random.key(0))
    for step, learner, metrics in deflow.train_offline(learner, task.train, steps=9, key=jax.random.key(1)):
        assert_type(step, int)
        print(step, float(metrics["flow_loss"]), learner.parameters)
    run = deflow.create_run("runs", task, config, learner, seed=0)
    run.save(9, learner)
    return learner


task = deflow.load_task("cube-single-play-singletask-task2-v0", deflow.Collected(rows=1_000))
assert_type(task, deflow.Task)
learner = train(task, "deflow")
assert_type(learner.agent, deflow.Agent)
success = deflow.evaluate(learner.agent, task, episodes=50, seed=0)
assert_type(success, deflow.Evaluation)
policy = deflow.load("runs/a-run")
assert_type(policy, deflow.Policy)
assert_type(policy.agent, deflow.Agent)
action = policy.act(task.train.observation[0], key=jax.random.key(2))
print(success, action.shape)

try:
    deflow.Run.open("runs/another")
except deflow.DeflowError as error:
    print(error)
for name in deflow.ALGORITHMS:
    assert_type(deflow.agent_config(name), deflow.AgentConfig)
deflow.agent_config("deflow", solver="heun", critic="categorical", n_step=3, discount=0.995)
deflow.agent_config("deflow", solver=deflow.solvers.Heun, trust_region=Diamond)
deflow.agent_config("fql", solver=deflow.solvers.Heun(steps=5), constraint=deflow.constraints.Penalty(10.0))
deflow.agent_config(trust_region=deflow.trust_regions.NoTrustRegion(), critic=deflow.critics.NoCritic())
"""

WRONG = """
import deflow

deflow.agent_config("deflw")
deflow.agent_config("deflow", solver="huen")
deflow.agent_config("deflow", solver=deflow.trust_regions.Ball(0.1))
deflow.agent_config("deflow", solver=deflow.trust_regions.Ball)
deflow.agent_config("deflow", critic=None)
deflow.agent_config("deflow", width="64")
deflow.agent_config("deflow", sovler="heun")
deflow.agent_config("deflow", critic=deflow.solvers.Heun())
deflow.agent_config("deflow", n_step=0.5)
deflow.solvers.Heun(step=5)
deflow.load_task("cube-single-play-singletask-v0", deflow.Collected(row=1_000))
deflow.load_task("cube-single-play-singletask-v0").trian
deflow.evaluate(deflow.load("runs/a-run"), 7)
deflow.Leaner
"""
"""Every call is wrong."""


def pages_with_parts(folder):
    """Writes the Python of every page, and of every base's docstring, that defines a part; gives the files' names."""
    texts = {page.stem: python_blocks(page) for page in PAGES}
    for registry in KINDS.values():
        _, _, code = (importlib.import_module(f"deflow.{registry.plural}.base").__doc__ or "").partition(COMPLETE)
        texts[f"base_{registry.plural}"] = [(None, IMPORTS + textwrap.dedent(code))]
    files = []
    for name, blocks in texts.items():
        if any("s.register(" in code for _, code in blocks):  # of a kind, not Gymnasium's
            files.append(f"{name.lower().replace('-', '_')}_page.py")
            told = [code if title is None else f"import {title.removesuffix('.py')}" for title, code in blocks]
            (folder / files[-1]).write_text("\n".join(told))
            for title, code in blocks:
                if title is not None:
                    (folder / title).write_text(code)
                    files.append(title)
    return sorted(set(files))


def names_of_the_doors():
    """`deflow.name` for all that can be imported from deflow and its packages, methods included."""
    doors = [("deflow", deflow)]
    doors += [(f"deflow.{name}", door) for name in deflow.__all__ if inspect.ismodule(door := getattr(deflow, name))]
    for path, door in doors:
        for name in getattr(door, "__all__", ()):
            value = getattr(door, name)
            if not inspect.ismodule(value) and not name.startswith("__"):
                yield f"{path}.{name}"
            if isinstance(value, type) and value.__module__.startswith("deflow"):
                yield from (f"{path}.{name}.{member}" for member in sorted(vars(value)) if not member.startswith("_"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Holds both programs."""
    folder = tmp_path_factory.mktemp("programs")
    (folder / "right.py").write_text(f"# pyright: strict\n{RIGHT}")
    (folder / "wrong.py").write_text(f"# pyright: strict\n{WRONG}")
    return folder


LINES = {number for number, line in enumerate(WRONG.splitlines(), 2) if line.startswith("deflow.")}
"""Where `wrong.py` is wrong."""


def run(arguments, folder):
    """What a checker prints; it finds deflow as it would find an installed package."""
    variables = {**os.environ, "MYPYPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-m", *arguments], cwd=folder, env=variables, capture_output=True, text=True)
    assert done.returncode == 1, f"{done.stdout}\n{done.stderr}"  # they found something
    return done.stdout


def test_pyright_sees_what_is_wrong_in_a_program(folder):
    """It finds nothing in the parts of the documentation, and knows the types of all that can be imported."""
    pages = pages_with_parts(folder)
    assert len(pages) > 5
    every = "import deflow\n\n" + "".join(f"print({name})\n" for name in names_of_the_doors())
    (folder / "every.py").write_text(f"# pyright: strict, reportUnknownArgumentType=false\n{every}")
    settings = {
        "typeCheckingMode": "standard",
        "pythonVersion": "3.11",
        "extraPaths": [str(ROOT)],
        "reportPossiblyUnbound": False,  # the last step of a loop
        "enableTypeIgnoreComments": False,
    }
    (folder / "pyrightconfig.json").write_text(json.dumps(settings))
    printed = run(
        ["pyright", "--pythonpath", sys.executable, "--outputjson", "right.py", "wrong.py", "every.py", *pages], folder
    )
    found = json.loads(printed)["generalDiagnostics"]
    assert not [entry for entry in found if not entry["file"].endswith("wrong.py")]
    assert {entry["range"]["start"]["line"] + 1 for entry in found} == LINES
    assert not [page for page in pages if "pyright:" in (folder / page).read_text()]


def test_mypy_sees_what_is_wrong_in_a_program(folder):
    settings = ["--strict", "--python-version=3.11", "--follow-imports=silent"]
    printed = run(["mypy", *settings, "right.py", "wrong.py"], folder)
    assert not [line for line in printed.splitlines() if not line.startswith(("wrong.py", "Found"))]
    assert {int(line) for line in re.findall(r"^wrong\.py:(\d+): error", printed, re.MULTILINE)} == LINES


def test_the_names_that_a_type_checker_knows_are_those_that_deflow_registers():
    assert typing.get_args(choices.AlgorithmName) == tuple(deflow.ALGORITHMS)
    for field, registry in KINDS.items():
        names = typing.get_args(getattr(choices, f"{field.title().replace('_', '')}Name"))
        assert set(names) == {name for name in registry if registry.distribution(name) == "deflow"}, field
        for name in names:
            assert type(getattr(deflow.agent_config(**{field: name}), field)) is registry[name]


def test_agent_config_takes_every_field_of_the_configuration():
    takes = typing.get_type_hints(choices.AgentParts)
    has = {field.name: field.type for field in dataclasses.fields(deflow.AgentConfig)}
    assert list(takes) == list(has)
    for name, kind in has.items():
        if name in KINDS:
            names = getattr(choices, f"{name.title().replace('_', '')}Name")
            assert set(typing.get_args(takes[name])) == {names, *(typing.get_args(kind) or [kind]), type[kind]}, name
        else:
            assert takes[name] == kind, name

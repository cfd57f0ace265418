"""Registries: what they refuse, what they suggest, and parts that other packages bring."""

import json
import os
import subprocess
import sys
import textwrap
import types

import jax.numpy as jnp
import pytest

from deflow import solvers, trust_regions
from deflow.agent import KINDS
from deflow.errors import RegistrationError, UnknownNameError
from deflow.registry import Registry
from deflow.solvers import AbstractSolver, Euler, Heun
from deflow.trust_regions import AbstractTrustRegion


class Jump(AbstractSolver):
    """One jump."""

    def __call__(self, velocity, noise):
        return noise + velocity(jnp.zeros(()), noise)


def test_members_by_name():
    assert solvers.registry["heun"] is Heun
    assert list(solvers.registry) == ["tsit5", "dopri5", "euler", "midpoint", "heun", "ralston", "bosh3"]
    assert len(solvers.registry) == 7
    assert "heun" in solvers.registry
    assert "nothing" not in solvers.registry
    assert solvers.registry.name_of(Heun) == "heun"
    assert solvers.registry.name_of(Heun(steps=3)) == "heun"
    assert solvers.registry.distribution("heun") == "deflow"
    assert {kind: registry.choice for kind, registry in KINDS.items()}["trust_region"] == "trust-region"


def test_own_member(registered):
    registered(solvers.registry, "jump", Jump)
    assert solvers.registry["jump"] is Jump
    assert solvers.registry.name_of(Jump()) == "jump"
    assert solvers.registry.distribution("jump") == __name__


def test_unknown_name_gives_nearest_and_all():
    with pytest.raises(UnknownNameError) as caught:
        solvers.registry["huen"]
    message = str(caught.value)
    assert message.startswith("Unknown solver 'huen'. Did you mean 'heun'?")
    assert all(name in message for name in solvers.registry)
    with pytest.raises(UnknownNameError) as caught:
        trust_regions.registry["xyzzy"]
    assert "Did you mean" not in str(caught.value)
    assert "mean-square" in str(caught.value)
    assert isinstance(caught.value, KeyError)


def test_unregistered_member():
    with pytest.raises(UnknownNameError, match=r"Jump is not registered as a solver.*@deflow.solvers.register"):
        solvers.registry.name_of(Jump())


def test_registering_takes_a_name():
    with pytest.raises(RegistrationError, match=r'Registering a solver takes a name: @register\("a-name"\), got Jump'):
        solvers.register(Jump)  # pyright: ignore


def test_refuses_duplicates(registered):
    registered(solvers.registry, "jump", Jump)

    class Other(AbstractSolver):
        def __call__(self, velocity, noise):
            return noise

    with pytest.raises(RegistrationError, match=r"'jump' is already registered, by .*Jump"):
        solvers.register("jump")(Other)
    with pytest.raises(RegistrationError, match=r"'euler' is already registered, by .*Euler"):
        solvers.register("euler")(Other)
    assert solvers.registry["jump"] is Jump
    assert solvers.registry["euler"] is Euler


@pytest.mark.parametrize("member", [trust_regions.MeanSquare, int])
def test_refuses_another_kind(member):
    with pytest.raises(RegistrationError, match=r"'other' must be a subclass of AbstractSolver, got .*"):
        solvers.register("other")(member)
    assert "other" not in solvers.registry


@pytest.mark.parametrize("name", ["", "Jump", "one jump", "one_jump"])
def test_refuses_malformed_names(name):
    with pytest.raises(RegistrationError, match="must be lower case, with hyphens"):
        solvers.register(name)(Jump)


def test_refuses_abstract_classes():
    class NoProject(AbstractTrustRegion):
        bound: float = 0.1

        def size(self, displacement, observation):
            return jnp.zeros(())

    class NoBound(AbstractTrustRegion):
        def size(self, displacement, observation):
            return jnp.zeros(())

        def project(self, displacement, observation):
            return displacement

    with pytest.raises(RegistrationError, match=r"still abstract: define project\."):
        trust_regions.register("no-project")(NoProject)
    with pytest.raises(RegistrationError, match=r"still abstract: define bound\."):
        trust_regions.register("no-bound")(NoBound)
    assert not {"no-project", "no-bound"} & set(trust_regions.registry)


def test_defined_again_replaces():
    """A notebook cell that is run twice."""
    registry = Registry("solver", "solvers_of_a_notebook", (AbstractSolver,))
    source = textwrap.dedent("""
        @registry.register("mine")
        class Mine(AbstractSolver):
            factor = FACTOR
            def __call__(self, velocity, noise):
                return noise
    """)
    notebook = types.ModuleType("notebook")
    notebook.__dict__.update(registry=registry, AbstractSolver=AbstractSolver)
    for factor in (1, 2):
        exec(source.replace("FACTOR", str(factor)), notebook.__dict__)
        assert registry["mine"].factor == factor
    assert list(registry) == ["mine"]


PLUGIN = """
import jax.numpy as jnp
import deflow
class Jump(deflow.solvers.AbstractSolver):
    def __call__(self, velocity, noise):
        return noise + velocity(jnp.zeros(()), noise)
"""

LOOKS = """
import json, sys, warnings
import deflow
assert "tiny_plugin" not in sys.modules, "plug-ins are loaded at the first look-up"
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    names = list(deflow.solvers.registry)
    again = list(deflow.solvers.registry)
jump = deflow.solvers.registry["jump"]()
config = deflow.agent_config(width=8, depth=2, solver=jump)
from deflow.agent import describe_agent, restore_agent
described = describe_agent(config)
assert restore_agent(json.loads(json.dumps(described))).solver == jump
print(json.dumps({
    "names": names,
    "again": again,
    "from": described["solver"]["from"],
    "warnings": [[type(w.message).__name__, str(w.message)] for w in caught],
}))
"""


def test_entry_points(tmp_path):
    """An installed distribution with a sound member, a broken one and one that takes a name of ours."""

    (tmp_path / "tiny_plugin.py").write_text(PLUGIN)
    information = tmp_path / "tiny_plugin-1.2.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: tiny-plugin\nVersion: 1.2\n")
    (information / "entry_points.txt").write_text(
        "[deflow.solvers]\nbroken = tiny_plugin:Absent\neuler = tiny_plugin:Jump\njump = tiny_plugin:Jump\n"
        "[deflow.solver]\nlost = tiny_plugin:Jump\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *filter(None, sys.path)])}
    run = subprocess.run([sys.executable, "-c", LOOKS], env=environment, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout)
    assert found["names"][-1] == "jump"
    assert "broken" not in found["names"]
    assert found["again"] == found["names"]
    assert found["from"] == "tiny-plugin 1.2"
    assert [kind for kind, _ in found["warnings"]] == ["PluginWarning"] * 3
    messages = " ".join(message for _, message in found["warnings"])
    assert "The solver 'broken' of tiny-plugin could not be loaded and was skipped: AttributeError" in messages
    assert "(lost) are in the group 'deflow.solver', which is not read: solvers belong in 'deflow.solvers'" in messages
    assert "'euler' is already registered" in messages

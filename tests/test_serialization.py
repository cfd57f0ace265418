"""A configuration as JSON and back: for every registered member, equal; and what cannot be read says which part."""

import dataclasses
import importlib.metadata
import json

import equinox as eqx
import pytest
import stubs
from small import SPEC

from deflow import agent_config, solvers
from deflow.agent import KINDS, describe_agent, describe_spec, restore_agent, restore_spec
from deflow.errors import SerializationError
from deflow.types import Spec

MEMBERS = [(kind, name) for kind, registry in KINDS.items() for name in registry]


def other(value):
    """Another value of the same kind, near enough to be sound."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    return value + 1 if isinstance(value, int) else value * 0.75


def there_and_back(config):
    return restore_agent(json.loads(json.dumps(describe_agent(config))))


@pytest.mark.parametrize(("kind", "name"), MEMBERS, ids=lambda text: text)
def test_every_member(kind, name):
    """Described, written, read and restored it is equal, with default values and with others."""
    for change in (lambda value: value, other):
        part = KINDS[kind][name]()
        part = dataclasses.replace(
            part, **{field.name: change(getattr(part, field.name)) for field in dataclasses.fields(part)}
        )
        config = dataclasses.replace(agent_config(), discount=0.9, candidates=3, **{kind: part})
        restored = there_and_back(config)
        assert restored == config
        assert type(getattr(restored, kind)) is KINDS[kind][name]
        described = describe_agent(config)[kind]
        assert described["name"] == name
        assert described["from"].startswith("deflow")
        values = {field.name: getattr(part, field.name) for field in dataclasses.fields(part)}
        assert described["fields"].keys() == values.keys()
        # A part in a part is described in its turn: test_nested_parts.
        plain = {name: value for name, value in values.items() if not isinstance(value, KINDS[kind].bases)}
        plain = {name: list(value) if isinstance(value, tuple) else value for name, value in plain.items()}
        assert {name: described["fields"][name] for name in plain} == plain


def test_difference_shows():
    assert there_and_back(agent_config()) != agent_config(discount=0.5)
    assert there_and_back(agent_config(solver=solvers.Euler(steps=3))) != agent_config()


class Wrapping(solvers.AbstractSolver):
    """A part with a part in it."""

    inner: solvers.AbstractSolver = solvers.Heun()
    grid: tuple[float, ...] = (0.0, 0.5)

    def __call__(self, velocity, noise):
        return self.inner(velocity, noise)


def test_nested_parts(registered):
    registered(solvers.registry, "wrapping", Wrapping)
    config = agent_config(solver=Wrapping(solvers.Euler(steps=4), (0.25, 1.0)))
    restored = there_and_back(config)
    assert eqx.tree_equal(restored, config)
    assert restored.solver.inner == solvers.Euler(steps=4)
    assert restored.solver.grid == (0.25, 1.0)


def test_unknown_part_names_itself_and_its_origin(registered):
    registered(solvers.registry, "wrapping", Wrapping)
    described = describe_agent(agent_config(solver=Wrapping()))
    described["solver"]["fields"]["inner"]["name"] = "lost"
    described["critic"] = {"name": "gone", "from": "their-package 1.2", "fields": {}}
    with pytest.raises(SerializationError) as caught:
        restore_agent(described)
    message = str(caught.value)
    assert "the solver 'lost' of deflow" in message
    assert "the critic 'gone' of their-package 1.2" in message
    packages = f"deflow=={importlib.metadata.version('deflow')} their-package==1.2"
    assert f"not registered here: install what it came from (pip install {packages})." in message
    described["critic"]["from"] = "my_parts"
    with pytest.raises(SerializationError, match=r"pip install deflow==.*\), and import the file .* --import FILE\)\."):
        restore_agent(described)
    described["solver"] = {"name": "lost", "from": "my_parts", "fields": {}}
    with pytest.raises(SerializationError, match=r"not registered here: import the file .* --import FILE\)\."):
        restore_agent(described)


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d["solver"]["fields"].update(speed=3),
        lambda d: d["solver"]["fields"].update(steps=0),
        lambda d: d.pop("critic"),
        lambda d: d.update(something=1),
    ],
    ids=["unknown field", "refused value", "missing part", "unknown number"],
)
def test_what_does_not_fit(change):
    described = json.loads(json.dumps(describe_agent(agent_config())))
    change(described)
    with pytest.raises(SerializationError, match="does not fit this version"):
        restore_agent(described)


def test_unregistered_parts_are_not_described():
    with pytest.raises(
        KeyError, match=r"CountingFieldConfig is not registered as a field: put @deflow.fields.register"
    ):
        describe_agent(dataclasses.replace(agent_config(), field=stubs.CountingFieldConfig()))


@pytest.mark.parametrize("spec", [SPEC, Spec((64, 64, 9), 5, "uint8", 500)])
def test_spec(spec):
    assert restore_spec(json.loads(json.dumps(describe_spec(spec)))) == spec

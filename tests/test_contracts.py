"""The rules of the house: abstract or final, documented, and checked while the tests run."""

import ast
import builtins
import importlib
import inspect
import pkgutil
import re
import types
from concurrent.futures import process
from pathlib import Path

import equinox as eqx
import griffe
import jax
import jax.numpy as jnp
import pytest
from jaxtyping import TypeCheckError

import deflow
from deflow import AgentConfig, Batch, Learner, Spec, TaskSettings
from deflow.agent import KINDS
from deflow.refiners import Inquiry
from deflow.solvers import Euler
from deflow.trust_regions import AbstractTrustRegion, MeanSquare
from deflow.types import Context

ROOT = Path(deflow.__file__).parent
SOURCES = sorted(ROOT.rglob("*.py"))
DOORS = [importlib.import_module(f"deflow.{path.parent.name}") for path in sorted(ROOT.glob("*/__init__.py"))]


def modules():
    """Every module of the package."""
    return [importlib.import_module(info.name) for info in pkgutil.walk_packages([str(ROOT)], "deflow.")]


def parts():
    """Every Equinox module that deflow defines."""
    found = {
        value
        for module in modules()
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, eqx.Module) and value.__module__ == module.__name__
    }
    assert len(found) > 30
    return sorted(found, key=lambda cls: (cls.__module__, cls.__qualname__))


def is_abstract(cls):
    return inspect.isabstract(cls) or bool(cls.__abstractvars__) or cls.__name__.startswith("Abstract")


def is_concrete_attribute(cls, name):
    """Whether the class itself gives a body to the name."""
    value = vars(cls).get(name)
    function = value.fget if isinstance(value, property) else value
    return callable(function) and not getattr(function, "__isabstractmethod__", False)


def overridden(cls):
    """Concrete methods and properties of a base that the class defines again."""
    generated = {
        f"__{name}__" for name in ("init", "check_init", "eq", "hash", "repr", "setattr", "delattr", "replace")
    }
    ours = [base for base in cls.__mro__[1:] if base.__module__.partition(".")[0] in ("deflow", __name__)]
    return [
        f"{cls.__qualname__}.{name} over {base.__qualname__}"
        for name in sorted(set(vars(cls)) - generated)
        for base in ours
        if is_concrete_attribute(cls, name) and is_concrete_attribute(base, name)
    ]


def test_abstract_or_final():
    """A class is abstract, or nothing derives from it; no concrete method is overridden."""
    for cls in parts():
        for base in cls.__bases__:
            if base.__module__.startswith("deflow"):
                assert is_abstract(base), f"{cls.__qualname__} derives from the concrete {base.__qualname__}"
        assert not overridden(cls)


def test_abstract_or_final_can_fail():
    class AbstractBase(eqx.Module):
        def project(self, x):
            return x

    class Over(AbstractBase):
        def project(self, x):
            return -x

    Over.__module__ = AbstractBase.__module__ = __name__
    assert overridden(Over) == [f"{Over.__qualname__}.project over {AbstractBase.__qualname__}"]


def test_abstract_names():
    """Abstract classes say so in their names."""
    for cls in parts():
        named = cls.__name__.startswith("Abstract")
        assert named or not (inspect.isabstract(cls) or cls.__abstractvars__), cls


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_annotations_are_evaluated(path):
    """`from __future__ import annotations` would switch AbstractVar off."""
    assert "from __future__ import annotations" not in path.read_text()


def test_abstract_variables_are_on():
    assert set(AbstractTrustRegion.__abstractvars__) == {"bound"}

    class Unbounded(AbstractTrustRegion):
        def size(self, displacement, observation):
            return jnp.zeros(())

        def project(self, displacement, observation):
            return displacement

    with pytest.raises(TypeError, match="bound"):
        Unbounded()


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_public_names_have_docstrings(path):
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree) or not tree.body, "the module"
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{node.name} has no docstring"


RECIPES = sorted(ROOT.parent.glob("recipes/*.py"))
SECTIONS = {"Args", "Returns", "Yields", "Raises"}
LOOKS_LIKE_A_SECTION = re.compile(
    r"^\s*(\**)(Arg\w*|Param\w*|Keyword\w*|Return\w*|Yield\w*|Raise\w*|Except\w*)(:?\1:?)\s*$"
)
OTHER_STYLES = re.compile(r"\*\*\w+:\*\*|:(param|raises?|returns?)\b|\b[Rr]aises\s+(`|\w*(Error|Exit|Interrupt))")


def docstrings(path):
    """Name and docstring of a module and of everything in it, private functions included."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            yield getattr(node, "name", path.stem), ast.get_docstring(node) or ""


def faults_of_style(text, known):
    """What is wrong with a docstring's sections; `known` are the names of exceptions that its module knows."""
    faults = [f"another style: {match.group()}" for match in OTHER_STYLES.finditer(text)]
    titles = [match for match in map(LOOKS_LIKE_A_SECTION.match, text.splitlines()) if match]
    faults += [f"not a section: {m.group()}" for m in titles if m.group().strip().rstrip(":") not in SECTIONS]
    sections = griffe.Docstring(text, parser="google").parse(warnings=False)
    kinds = [section.kind.value for section in sections]
    faults += ["a section in the text"] * (
        len(titles) - sum(kind in ("parameters", "returns", "yields", "raises") for kind in kinds)
    )
    for entry in (entry for section in sections if section.kind.value == "raises" for entry in section.value):
        sentence = entry.description
        if str(entry.annotation) not in known:
            faults.append(f"no exception: {entry.annotation}")
        if not sentence[:1].isupper() or not sentence.endswith("."):
            faults.append(f"no sentence: {sentence}")
    return faults


@pytest.mark.parametrize("path", [*SOURCES, *RECIPES], ids=lambda path: str(path.relative_to(ROOT.parent)))
def test_docstrings_have_sections_of_one_style(path):
    """Google's, which mkdocs.yml names, so that the pages show them as sections."""
    tree = ast.parse(path.read_text())
    own = {node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}
    public = {**vars(builtins), **vars(process), **vars(deflow.errors)}
    known = own | {
        name for name, value in public.items() if isinstance(value, type) and issubclass(value, BaseException)
    }
    for name, text in docstrings(path):
        assert not faults_of_style(text, known), name


@pytest.mark.parametrize(
    "text",
    [
        "A run. Raises `RunError` where there is none.",
        "A run; raises RunError where there is none.",
        "A run.\n\n**Raises:** `RunError` where there is none.",
        "A run.\n\nRaises:\n    RunError: where there is none",
        "A run.\n\nRaises:\n    RnError: Where there is none.",
        "A run.\n\nRaises:\n    RunError, ValueError: Where there is none.",
        "A run.\n\nArguments:\n    path: Where it is.",
        "A run.\n\nRaises\n    RunError: Where there is none.",
    ],
)
def test_other_styles_are_refused(text):
    assert faults_of_style(text, {"RunError", "ValueError"})


@pytest.mark.parametrize("path", [*SOURCES, *RECIPES], ids=lambda path: str(path.relative_to(ROOT.parent)))
def test_papers_are_cited_in_one_form(path):
    """`arXiv 2601.10471, equation 3`, so that searching for the paper or the equation finds the place."""
    text = re.sub(r"\s+", " ", path.read_text())
    places = re.finditer(r"(\b(equation|section|eq\.|sec\.)s?|§) ?\(?\d", text, re.IGNORECASE)
    for before in (text[: place.start()][-30:] for place in places):
        assert re.search(r"(arXiv \d{4}\.\d{5}|[A-Z]\w+ (19|20)\d\d), $", before), before
    for cited in re.findall(r"arxiv.{0,12}", text, re.IGNORECASE):
        assert re.match(r"arXiv \d{4}\.\d{5}", cited), cited


def test_the_refinement_loss_is_found_by_its_number():
    found = {path.name for path in SOURCES if "arXiv 2601.10471, equation 3" in path.read_text()}
    assert {"agent.py", "residual.py"} <= found


def documented_names(path):
    """The classes, functions and values at the top of a module that have a docstring, or a sentence below them."""
    body = ast.parse(path.read_text()).body
    for node, after in zip(body, [*body[1:], None], strict=True):
        below = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node):
            yield node.name
        elif isinstance(node, ast.Assign | ast.AnnAssign) and below:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from (target.id for target in targets if isinstance(target, ast.Name))


def is_foreign(value):
    """Whether a class or a function is from another package; of other values nobody knows."""
    return isinstance(value, type | types.FunctionType) and value.__module__.partition(".")[0] != "deflow"


@pytest.mark.parametrize("door", [deflow, *DOORS], ids=lambda door: door.__name__)
def test_what_a_door_lists_is_documented(door):
    """Values, too: a sentence stands below each."""
    documented = {name for path in SOURCES for name in documented_names(path)}
    values = {name: getattr(door, name) for name in door.__all__ if not name.startswith("__")}
    ours = {name: value for name, value in values.items() if not is_foreign(value)}
    assert ours
    for name, value in ours.items():
        assert value.__doc__ if inspect.ismodule(value) else name in documented, f"{door.__name__}.{name}"


def raised(path):
    """(line, name) of every class that the file raises or warns with."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Raise) and node.exc is not None:
            what = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
            yield node.lineno, ast.unparse(what)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "warnings.warn":
            given = [*node.args[1:2], *(keyword.value for keyword in node.keywords if keyword.arg == "category")]
            yield node.lineno, ast.unparse(given[0]) if given else "a UserWarning"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_is_raised_is_a_deflow_error_or_built_in(path):
    """A private class may steer one module's own flow; what was caught may be raised again."""
    tree = ast.parse(path.read_text())
    own = {node.name for node in tree.body if isinstance(node, ast.ClassDef) and node.name.startswith("_")}
    known = own | set(vars(deflow.errors)) | set(vars(builtins))
    for line, name in raised(path):
        assert name in known or (name.islower() and name.isidentifier()), (
            f"line {line} raises {name}, which is not in errors.py"
        )


def test_exceptions_live_in_one_module_below_two_classes():
    found = {
        value
        for module in modules()
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, BaseException) and value.__module__.startswith("deflow")
    }
    public = {cls for cls in found if not cls.__name__.startswith("_")}
    assert len(public) > 20
    for cls in public:
        assert cls.__module__ == "deflow.errors", cls
        assert issubclass(cls, deflow.errors.DeflowWarning if issubclass(cls, Warning) else deflow.DeflowError), cls


def documented_fields(cls):
    """The class's own annotated names -> whether a sentence stands below each."""
    tree = ast.parse(inspect.getsource(cls))
    body = tree.body[0].body
    following = [*body[1:], None]
    return {
        node.target.id: isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
        for node, after in zip(body, following, strict=True)
        if isinstance(node, ast.AnnAssign) and "ClassVar" not in ast.unparse(node.annotation)
    }


def configurations():
    members = {cls for registry in KINDS.values() for cls in registry.values()}
    every = {base for cls in members for base in cls.__mro__ if base.__module__.startswith("deflow")}
    return sorted(every | {AgentConfig, Spec, Context, TaskSettings, Inquiry}, key=lambda cls: cls.__qualname__)


@pytest.mark.parametrize("cls", configurations(), ids=lambda cls: cls.__qualname__)
def test_fields_have_docstrings(cls):
    """They are the command line's help."""
    assert all(documented_fields(cls).values()), documented_fields(cls)


@pytest.mark.parametrize("cls", configurations(), ids=lambda cls: cls.__qualname__)
def test_keys_are_keyword_only_and_last(cls):
    for name in vars(cls):
        function = inspect.unwrap(getattr(cls, name))
        if inspect.isfunction(function) and "key" in inspect.signature(function).parameters:
            *_, last = inspect.signature(function).parameters.values()
            assert last.name == "key", function
            assert last.kind is inspect.Parameter.KEYWORD_ONLY, function


def test_shapes_are_checked():
    """The hook of conftest.py: (B,) against (B, 1) cannot pass, nor can a wrong type."""
    with pytest.raises(TypeCheckError):
        MeanSquare().size(jnp.zeros((2, 2)), jnp.zeros(3))
    with pytest.raises(TypeCheckError):
        MeanSquare().size(jnp.zeros(2, jnp.int32), jnp.zeros(3))
    with pytest.raises(TypeCheckError):
        Euler(steps=1)(lambda time, point: jnp.concatenate([point, point]), jnp.zeros((1, 2)))
    with pytest.raises(TypeCheckError):
        Batch(jnp.zeros((4, 3)), jnp.zeros((4, 2)), jnp.zeros((4, 1)), jnp.zeros(4), jnp.zeros((4, 3)))
    with pytest.raises(TypeCheckError):
        Learner.create(3, Spec((3,), 2), key=jax.random.key(0))


def test_promotion_is_strict():
    with pytest.raises(jax.dtypes.TypePromotionError, match="strict"):
        jnp.zeros(2, jnp.int32) + jnp.zeros(2, jnp.float32)
    with pytest.raises(ValueError, match="rank_promotion"):
        jnp.zeros((2, 1)) + jnp.zeros(2)

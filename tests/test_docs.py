"""The documentation holds: its examples run, its commands, links and citation are right, and the site builds."""

import importlib
import inspect
import json
import os
import pathlib
import pkgutil
import re
import runpy
import shlex
import subprocess
import sys
import textwrap
import tomllib
import types

import nbclient
import nbformat
import pytest
import yaml

import deflow
from deflow.agent import KINDS, task_settings
from deflow.cli import budgets
from deflow.commands import RECIPES, said

ROOT = pathlib.Path(__file__).resolve().parents[1]
SITE = sorted((ROOT / "docs").glob("*.md"))
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "recipes" / "README.md", *SITE]
TASK = "cube-single-play-singletask-task2-v0"

BLOCK = re.compile(
    r"(?:^<!-- test: (?P<note>.*?) -->\n)?^```python(?: title=\"(?P<title>[^\"]+)\")?\n(?P<code>.*?)^```$", re.M | re.S
)
"""A Python block, perhaps below a comment: `<!-- test: skip -->`, or `<!-- test: this -> that; other -> another -->`
for sizes that take too long. A title is the name of a file that later commands import."""


def name_of(page):
    return page.relative_to(ROOT).as_posix()


def python_blocks(page):
    """(title, code) of each block that is to be run, sizes replaced."""
    blocks = []
    for match in BLOCK.finditer(page.read_text()):
        note, code = match["note"] or "", match["code"]
        if note == "skip":
            continue
        for change in filter(None, note.split("; ")):
            size, smaller = change.split(" -> ")
            assert size in code, f"{name_of(page)}: {size!r} is not in the block below its comment"
            code = code.replace(size, smaller)
        blocks.append((match["title"], code))
    return blocks


@pytest.fixture(scope="session")
def surroundings(tmp_path_factory):
    """Environment variables of a fresh home with a tiny collected set."""
    home = tmp_path_factory.mktemp("home")
    variables = {
        **os.environ,
        "HOME": str(home),
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")]),
        "PYTHONWARNINGS": "ignore",
    }
    run([ROOT / "recipes/collect.py", "--env", TASK, "--rows", "1000", "--validation-rows", "1000"], home, variables)
    return variables


def run(arguments, directory, variables, given=None):
    command = [sys.executable, *map(str, arguments)]
    done = subprocess.run(command, cwd=directory, env=variables, input=given, capture_output=True, text=True)
    assert done.returncode == 0, f"{shlex.join(command)} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


ALONE = ROOT / "docs/extending.md"
"""The page whose examples stand alone."""

README = ROOT / "README.md"
"""The page whose examples are cells of a notebook."""


@pytest.mark.parametrize(
    "page", [page for page in PAGES if python_blocks(page) and page not in (ALONE, README)], ids=name_of
)
def test_the_examples_of_a_page_run_one_after_the_other(page, surroundings, tmp_path):
    blocks = python_blocks(page)
    for title, code in blocks:
        if title is not None:
            (tmp_path / title).write_text(code)
    script = tmp_path / "page.py"
    script.write_text("\n".join(code if title is None else f"import {title[:-3]}" for title, code in blocks))
    run([script], tmp_path, surroundings)


PASTED = r"""
import json, sys
for code in json.load(sys.stdin):
    exec(compile(code, code, "exec"), {"__name__": "pasted"})
"""


def test_every_example_of_extending_runs_when_it_is_pasted_alone(surroundings, tmp_path):
    blocks = python_blocks(ALONE)
    for title, code in blocks:
        if title is not None:
            (tmp_path / title).write_text(code)
    run(["-c", PASTED], tmp_path, surroundings, json.dumps([code for title, code in blocks if title is None]))


def test_the_readme_runs_in_a_notebooks_kernel(surroundings, tmp_path):
    """Each block is a cell, and the first one of training is run again, as people do."""
    blocks = [code for _, code in python_blocks(README)]
    cells = [nbformat.v4.new_code_cell(code) for code in [*blocks, "print(repr(learner)[:8], repr(run)[:4])"]]
    notebook = nbformat.v4.new_notebook(cells=cells)
    place = {"metadata": {"path": tmp_path}}
    nbclient.NotebookClient(notebook, timeout=300, resources=place).execute(env=surroundings)
    printed = [output.get("text", "") for output in notebook.cells[-1].outputs]
    assert printed == ["Learner( Run(\n"]


EXAMPLES = r"""
import importlib, json, sys
import equinox as eqx, jax, jax.numpy as jnp, optax
import deflow
from deflow import testing

batch = deflow.Batch(jnp.ones((6, 4)), jnp.zeros((6, 2)), jnp.zeros(6), jnp.ones(6), jnp.ones((6, 4)))
for kind, name, code in json.load(sys.stdin):
    exec(code)
    part = importlib.import_module(f"deflow.{kind}").registry[name]()
    field = kind.removesuffix("s")
    getattr(testing, f"check_{field}")(part)
    parts = {field: part, **({"constraint": "none"} if field == "refiner" else {})}  # which learns nothing
    config = deflow.agent_config(width=8, depth=1, **parts)
    learner = deflow.Learner.create(config, deflow.Spec((4,), 2), batch, key=jax.random.key(0))
    learner, metrics = eqx.filter_jit(lambda learner: learner.update(batch, key=jax.random.key(1)))(learner)
    assert all(jnp.isfinite(value) for value in metrics.values()), (name, metrics)
    print(name)
"""


def test_the_complete_members_in_the_docstrings_of_the_bases_run(surroundings, tmp_path):
    examples = []
    for registry in KINDS.values():
        text = importlib.import_module(f"deflow.{registry.plural}.base").__doc__
        said, _, code = text.partition("A complete member:\n")
        if code:
            (name,) = re.findall(r'register\("([\w-]+)"\)', code)
            examples.append((registry.plural, name, textwrap.dedent(code)))
        else:
            (file,) = re.findall(r"A complete member is `(\w+\.py)`", said)
            assert (ROOT / "deflow" / registry.plural / file).exists()
    printed = run(["-c", EXAMPLES], tmp_path, surroundings, json.dumps(examples))
    assert printed.split() == [name for _, name, _ in examples]


def test_the_tables_of_how_far_are_those_of_the_files_that_were_measured(surroundings, tmp_path):
    printed = run([ROOT / "docs/benchmarks/how_far.py"], tmp_path, surroundings)
    lines = (ROOT / "docs/how-far.md").read_text().splitlines()
    assert not [line for line in printed.splitlines() if line not in lines]
    assert printed.count("|---") > 5


def test_the_sizes_of_tasks_in_how_far():
    families = runpy.run_path(str(ROOT / "docs/benchmarks/how_far.py"))["FAMILIES"]
    for family, environment in (("cube-single", "cube-single-play"), ("antmaze-large", "antmaze-large-navigate")):
        spec = deflow.Environment(f"{environment}-singletask-task1-v0").spec()
        assert (spec.observation_size, spec.action_size, spec.horizon) == families[family]


# --- commands


def commands(text):
    """The arguments of every `python recipes/...` in a text, comments and line continuations removed, and those of
    every `deflow RECIPE ...`."""
    joined = re.sub(r"\\\n\s*", "", text)
    for name in RECIPES:
        joined = re.sub(rf"(^|`)deflow {said(name)}(?![\w-])", rf"\1python recipes/{name}.py", joined, flags=re.M)
    found = re.findall(r"python (recipes/\w+\.py[^\n`|]*)", joined)
    return [shlex.split(command.partition(" && ")[0], comments=True) for command in found]


PARSE = r"""
import importlib.util, json, pathlib, sys
import tyro
from deflow import cli

def load(path):
    specification = importlib.util.spec_from_file_location(path.stem, path)
    module = sys.modules[path.stem] = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module

folder = pathlib.Path(sys.argv[1]) / "recipes"
sys.path.insert(0, str(folder))
recipes = {path.stem: load(path) for path in folder.glob("*.py")}
for words in json.load(sys.stdin):
    name, arguments = pathlib.Path(words[0]).stem, words[1:]
    files = {"--data"} if any(argument.endswith(".npz") for argument in arguments) else set()
    for flag in {"--from", "--resume", "--behaviour", *files} & set(arguments):  # runs and files that are nowhere
        del arguments[arguments.index(flag) : arguments.index(flag) + 2]
    if name == "resume":  # what follows the run are flags of the recipe that made it
        assert not arguments[0].startswith("-"), words
        continue
    module = recipes[name]
    if name == "sweep" and "--" in arguments:
        arguments, given = arguments[: arguments.index("--")], arguments[arguments.index("--") + 1 :]
        cli.parse(*recipes["offline"].defaults(given)[:2], given, program=name, description="")
    try:
        if hasattr(module, "defaults"):
            options, agent, algorithm = module.defaults(arguments)
            arguments = arguments[1:] if arguments[:1] == [algorithm] else arguments
            cli.parse(options, agent, arguments, program=name, description="")
        elif "--help" not in arguments:
            tyro.cli(getattr(module, name.title().replace("_", "")), args=arguments)
    except SystemExit as stop:
        assert stop.code in (0, None), words
    except Exception as error:
        raise SystemExit(f"{words}: {error}")
"""


def test_every_command_in_the_documentation_has_flags_that_exist(surroundings, tmp_path):
    texts = [page.read_text() for page in PAGES]
    texts += [path.read_text().split('"""')[1] for path in (ROOT / "recipes").glob("*.py")]
    found = [words for text in texts for words in commands(text)]
    assert {words[0] for words in found} == {f"recipes/{path.name}" for path in (ROOT / "recipes").glob("*.py")}
    for page in PAGES:
        for title, code in python_blocks(page):
            if title is not None:
                (tmp_path / title).write_text(code)
    run(["-c", PARSE, ROOT], tmp_path, surroundings, json.dumps(found))


# --- links, site, citation


def slugs(page):
    """The anchors of a page's headings, as both GitHub and the site make them."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S), re.M)
    return {re.sub(r"[\s]+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower()) for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_between_pages_lead_somewhere(page):
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{name_of(page)} links to {target}"
        assert not anchor or anchor in slugs(file), f"{name_of(page)} links to {target}: no such heading"


def rows_of(page, heading):
    """The cells of the table below a heading, header and rule left out."""
    section = page.read_text().partition(f"{heading}\n")[2].partition("\n## ")[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in re.findall(r"^\|.*\|$", section, re.M)][
        2:
    ]


def test_the_table_of_budgets_is_the_recipes(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "recipes")
    offline = importlib.import_module("offline")
    paper, quick, network, less = offline.Offline(), offline.QUICKSTART, budgets.NETWORK, budgets.FROM_IMAGES
    table = {row[0]: row[1:4] for row in rows_of(ROOT / "docs/budgets.md", "# Budgets")}
    for name, field in {
        "transitions": "rows",
        "updates": "steps",
        "evaluated every": "eval_every",
        "episodes per evaluation": "episodes",
    }.items():
        values = [getattr(budget, field) for budget in (paper, quick)]
        assert table[name] == [f"{value:,}" for value in (*values, less.get(field, values[-1]))]
    assert table["hidden layers"] == ["4 x 512", *[f"{network['depth']} x {network['width']}"] * 2]
    assert (paper.data, quick.data) == ("official", "collected")
    online = importlib.import_module("offline_to_online")
    steps = [f"{budget.online_steps:,}" for budget in (online.OfflineToOnline(), online.QUICKSTART)]
    assert table["environment steps, online"] == [*steps, f"{less['online_steps']:,}"]
    (line,) = (row for row in rows_of(ROOT / "docs/online.md", "## Settings") if row[0] == "`--online-steps`")
    assert line[1] == f"{steps[0]} (quickstart: {steps[1]}; from images {less['online_steps']:,})"


def test_the_table_of_settings_is_the_codes():
    for names, *cells in rows_of(ROOT / "docs/algorithms.md", "## Settings per task"):
        for name in names.split(", "):
            settings = task_settings(f"{name}-singletask-v0")
            assert settings.borrowed_from is None
            assert cells == [
                *(f"{settings.discount}", settings.aggregation, f"{settings.bound}", f"{settings.steps:,}"),
                f"{settings.fql_weight:,.0f}",
                f"{settings.fan_weight:g} / {settings.fan_penalty:g}",
                f"{settings.reward_min:.0f}",
            ]


MAP = ROOT / "docs/contributors-map.md"


def test_files_that_the_map_names_exist():
    paths = re.findall(r"`([\w/]+(?:\.pyi?|/))`", MAP.read_text())
    assert len(paths) > 80
    for path in set(paths) - {"deflow/"}:
        assert (ROOT / path if path.startswith("recipes/") else ROOT / "deflow" / path).exists(), path


def test_the_rooms_of_the_map_are_the_layers_that_are_checked():
    rooms: dict[int, set[str]] = {}
    for layer, names, _ in rows_of(MAP, "## The rooms"):
        rooms.setdefault(int(layer), set()).update(re.findall(r"`(\w+)(?:/|\.py)`", names))
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    (contract,) = (one for one in settings["tool"]["importlinter"]["contracts"] if one["type"] == "layers")
    program, *others = contract["layers"]
    layers = [{"recipes", program}, *(set(layer.split(" | ")) for layer in others)]
    assert [rooms[number] for number in sorted(rooms)] == layers


def test_the_tables_of_parts_name_every_member():
    for page in (ROOT / "README.md", ROOT / "docs/parts.md"):
        text = page.read_text()
        for registry in KINDS.values():
            names = [name for name in registry if registry.distribution(name) == "deflow"]
            missing = [name for name in names if f"`{name}`" not in text]
            assert not missing, f"{name_of(page)} does not name {registry.kind} {missing}"


def test_the_api_pages_name_members_that_exist():
    """The site leaves out a name that does not, and says nothing."""
    listed = 0
    for page in (ROOT / "docs/api").glob("*.md"):
        for entry in re.split(r"^::: ", page.read_text(), flags=re.MULTILINE)[1:]:
            module = entry.split("\n", 1)[0].strip()
            for names in re.findall(r"members: \[(.*?)\]", entry, flags=re.DOTALL):
                for name in re.split(r",\s*", names.strip()):
                    assert hasattr(pkgutil.resolve_name(module), name), f"{name_of(page)}: no {name} in {module}"
                    listed += 1
    assert listed > 20


def documented_names():
    """Whatever an API page shows or names, as (door, name) of the package it is in."""
    found = set()
    for page in (ROOT / "docs/api").glob("*.md"):
        text = page.read_text()
        found |= set(re.findall(r"deflow\.(\w+)\.(\w+)", text)) | {
            ("", name) for name in re.findall(r"deflow\.(\w+)", text)
        }
        for entry in re.split(r"^::: ", text, flags=re.MULTILINE)[1:]:
            path = entry.split("\n", 1)[0].strip()
            listed = re.findall(r"members: \[(.*?)\]", entry, flags=re.DOTALL)
            shown = pkgutil.resolve_name(path)
            names = [name for some in listed for name in re.split(r",\s*", some.strip())]
            if not inspect.ismodule(shown):
                names = [path.rpartition(".")[2]]
            elif not listed:
                names = re.findall(r"^(?:class |def )?([A-Za-z]\w*)", inspect.getsource(shown), re.MULTILINE)
            found |= {(path.split(".")[1], name) for name in names}
    return found


def test_the_api_pages_show_everything_that_can_be_imported():
    """What `deflow` lists, and what each of its packages lists."""
    shown = documented_names()
    for name in deflow.__all__:
        door = getattr(deflow, name)
        if not inspect.ismodule(door):
            assert name.startswith("__") or name in {inside for _, inside in shown}, f"deflow.{name}"
            continue
        assert ("", name) in shown, f"deflow.{name}"
        for inside in getattr(door, "__all__", ()):
            home = getattr(getattr(door, inside), "__module__", door.__name__)  # LawError is shown among the errors
            homes = {name, *home.split(".")[1:2]}
            if inspect.ismodule(getattr(door, inside)):  # a room in the room: each of its names
                for further in getattr(door, inside).__all__:
                    assert (name, further) in shown, f"deflow.{name}.{inside}.{further}"
                continue
            assert {(home, inside) for home in homes} & shown, f"deflow.{name}.{inside}"


NAMED = r"""
import json, sys
import deflow

for name in json.load(sys.stdin):
    here = deflow
    for part in name.split(".")[1:]:
        public = getattr(here, "__all__", None)  # what was imported by accident does not count
        assert hasattr(here, part) and (public is None or part in public or part == "__version__"), name
        here = getattr(here, part)
"""


def test_what_the_documentation_names_is_there_after_import_deflow(surroundings, tmp_path):
    texts = [page.read_text() for page in [*PAGES, *(ROOT / "docs/api").glob("*.md")]]
    texts = [re.sub(r"^::: .*$", "", text, flags=re.M) for text in texts]  # modules, checked below
    names = {name for text in texts for name in re.findall(r"\bdeflow(?:\.[A-Za-z_]\w*)+", text)}
    assert {"deflow.runs.RunGroup.open", "deflow.session.Session", "deflow.load"} <= names
    run(["-c", NAMED], tmp_path, surroundings, json.dumps(sorted(names)))


def test_what_the_api_pages_document_is_public():
    """It is in `deflow` or in its room, wherever it is defined; the rows of the table are in `ALGORITHMS`."""
    deflow = importlib.import_module("deflow")
    for page in (ROOT / "docs/api").glob("*.md"):
        for entry in re.split(r"^::: ", page.read_text(), flags=re.MULTILINE)[1:]:
            path = entry.split("\n", 1)[0].strip()
            found = pkgutil.resolve_name(path)
            module, _, name = path.rpartition(".")
            names = [name]
            if isinstance(found, types.ModuleType):
                module = path
                (listed,) = re.findall(r"members: \[(.*?)\]", entry, flags=re.DOTALL) or [""]
                names = re.split(r",\s*", listed.strip()) if listed else _documented(found)
            above = [importlib.import_module(".".join(module.split(".")[:depth])) for depth in (2, 3)]
            rooms = [above[0], *(room for room in above[1:] if hasattr(room, "__path__"))]
            for name in names:
                public = {*deflow.__all__, *(each for room in rooms for each in getattr(room, "__all__", dir(room)))}
                row = name.replace("_", "-") in deflow.ALGORITHMS
                assert name in public or row, f"{name_of(page)}: {name} of {module} is not public"


def _documented(module):
    return [
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__ and value.__doc__
    ]


def test_the_site_builds_strictly(tmp_path):
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "NO_MKDOCS_2_WARNING": "1"}
    run(["-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", tmp_path / "site"], ROOT, variables)
    agent, parts = ((tmp_path / f"site/api/{page}/index.html").read_text() for page in ("agent", "parts"))
    assert re.search(r"doc-section-title[^>]*>Raises:", agent)
    for attribute in ("trust_regions.base.AbstractRegion.bound", "critics.base.AbstractCritic.next_actions"):
        assert f'id="deflow.{attribute}"' in parts  # behind TYPE_CHECKING


def test_the_citation_file_has_what_a_citation_needs():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "version", "license", "authors", "references"} <= citation.keys()
    assert citation["version"] == importlib.import_module("deflow").__version__
    (paper,) = citation["references"]
    assert {"type", "title", "authors", "year", "url"} <= paper.keys()
    assert paper["url"].endswith("2601.10471")
    (words,) = re.findall(r"title\s+= \{(.*)\},", (ROOT / "README.md").read_text())
    assert re.sub(r"[{}]", "", words) == paper["title"]


def test_the_picture_is_small():
    assert (ROOT / "docs/images/parts.png").stat().st_size < 200_000

"""Installed from a wheel, far from the checkout: the library, the recipes as commands, and completion in a shell."""

import ast
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import warnings
import zipfile
from pathlib import Path

import pytest
from test_docs import rows_of
from test_recipes import ENV, TINY
from virtual_environment import VirtualEnvironment

import deflow
from deflow.__main__ import main, purpose
from deflow.commands import RECIPES, as_called, command, said

ROOT = Path(__file__).parents[1]
FILES = {path.stem for path in (ROOT / "recipes").glob("*.py")}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The archive of the sources, and the wheel that is built from it."""
    folder = tmp_path_factory.mktemp("built")
    build = [sys.executable, "-m", "hatchling", "build", "-d", folder, "-t"]
    subprocess.run([*build, "sdist"], cwd=ROOT, check=True, capture_output=True)
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        opened.extractall(folder, filter="data")
    subprocess.run(
        [*build, "wheel"], cwd=folder / archive.name.removesuffix(".tar.gz"), check=True, capture_output=True
    )
    (wheel,) = folder.glob("*.whl")
    return archive, wheel


@pytest.fixture(scope="module")
def elsewhere(built, tmp_path_factory):
    environment = VirtualEnvironment(tmp_path_factory.mktemp("elsewhere"))
    environment.variables.pop("PYTHONPATH", None)
    environment.install(built[1])
    place = Path(environment("python", "-c", "import deflow; print(deflow.__file__)").strip())
    assert place.is_relative_to(environment.folder)
    return environment


# --- what is in the packages


def python_files(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*.py")}


def test_a_wheel_has_the_package_and_the_recipes_and_nothing_else(built):
    names = set(zipfile.ZipFile(built[1]).namelist())
    (about,) = {name.partition("/")[0] for name in names if ".dist-info/" in name}
    code = {name for name in names if not name.startswith(about)}
    expected = {f"deflow/{name}" for name in python_files(ROOT / "deflow")}
    expected |= {f"deflow/_recipes/{name}" for name in python_files(ROOT / "recipes")}
    stubs = {f"deflow/{path.relative_to(ROOT / 'deflow').as_posix()}" for path in (ROOT / "deflow").rglob("*.pyi")}
    assert code == expected | stubs | {"deflow/py.typed", "deflow/_recipes/README.md"}
    assert f"{about}/licenses/LICENSE" in names


def test_a_wheel_says_its_version_and_what_it_needs(elsewhere):
    program = "import importlib.metadata as m; print(m.version('deflow')); print(*m.requires('deflow'), sep='\\n')"
    version, *requirements = elsewhere("python", "-c", program).splitlines()
    assert version == deflow.__version__
    assert "mujoco<3.5" in requirements
    assert any(re.match(r"h5py.*extra == ['\"]data['\"]", one) for one in requirements)


def test_the_sources_have_the_tests_and_the_documentation(built):
    with tarfile.open(built[0]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "README.md", "LICENSE", "constraints.txt", "docs/index.md", "mkdocs.yml"} <= names
    assert {f"tests/{path.name}" for path in (ROOT / "tests").glob("*.py")} <= names
    assert not [name for name in names if name.endswith(".pyc") or "__pycache__" in name or name.startswith("runs/")]


# --- the command


def test_the_help_lists_the_recipes_as_their_readme_does(elsewhere):
    assert set(RECIPES) == FILES
    listed = rows_of(ROOT / "recipes" / "README.md", "# Recipes")
    sentences = [purpose(ROOT / "recipes" / f"{name}.py") for name in RECIPES]
    assert [row[0] for row in listed] == [f"`{name}.py`" for name in RECIPES]
    assert [row[1] for row in listed] == [text[0].lower() + text[1:].rstrip(".") for text in sentences]
    text = elsewhere("deflow")
    assert text.startswith("usage: deflow RECIPE [OPTIONS]\n")
    lines = [line.split(maxsplit=1) for line in text.partition("RECIPES\n")[2].partition("\n\n")[0].splitlines()]
    assert [(name, sentence.rstrip()) for name, sentence in lines] == list(
        zip(map(said, RECIPES), sentences, strict=True)
    )
    assert elsewhere("deflow", "--help") == text
    assert elsewhere("python", "-m", "deflow") == text.replace(": deflow ", ": python -m deflow ")


def test_the_help_imports_no_jax():
    program = (
        "import sys; sys.argv = ['deflow', '--help']; from deflow.__main__ import main; main(); print(*sys.modules)"
    )
    imported = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout.split()
    assert "rich" in imported
    assert not {"jax", "numpy", "tyro", "gymnasium", "deflow.cli"} & set(imported)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("offlin", "There is no recipe 'offlin'; did you mean 'offline'? deflow --help lists the recipes."),
        ("inspect", "There is no recipe 'inspect'; did you mean 'inspect-data'? deflow --help lists the recipes."),
        ("recipes/offline.py", "There is no recipe 'recipes/offline.py'; did you mean 'offline'? deflow --help lists"),
        ("qqq", "There is no recipe 'qqq'. deflow --help lists the recipes."),
        ("--steps 3", "The name of a recipe comes first, got --steps: deflow --help lists the recipes."),
        ("--completion tcsh", "Completion is there for bash and zsh, got 'tcsh': choose one of them."),
        ("offline --stpes 3", "There is no flag --stpes. Did you mean --steps? --help lists all flags."),
        ("resume", "Give the run to continue: deflow resume RUN"),
    ],
)
def test_a_mistake_is_answered_in_one_sentence(words, sentence, monkeypatch, capfd):
    monkeypatch.setattr(sys, "argv", ["/somewhere/bin/deflow", *words.split()])
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)  # a recipe replaces it
    with pytest.raises(SystemExit) as stop:
        sys.exit(main())
    assert stop.value.code == 2
    said, told = capfd.readouterr()
    assert said == ""
    assert told.startswith(f"error: {sentence}")
    assert told.count("\n") == 1


def test_a_run_from_begin_to_end(elsewhere, data_dir):
    """Interrupted, continued, evaluated and compared, in a folder that has nothing, by what each says comes next."""
    assert elsewhere("deflow", "--version") == f"deflow {deflow.__version__}\n"
    sizes = ["--critic.width", 8, "--critic.depth", 1, "--steps", 10**8, "--eval-every", 10**8]
    process = elsewhere.start("deflow", "offline", "--env", ENV, "--data-dir", data_dir, *TINY, *sizes)
    deadline = time.monotonic() + 120
    while not list(elsewhere.folder.glob("runs/*/*/*/train.csv")) and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    said, told = process.communicate(timeout=120)
    assert process.returncode == 130, told
    assert "Traceback" not in told
    (path,) = elsewhere.folder.glob("runs/*/*/*")
    assert f"saved in {path}. Go on with: deflow resume {path}\n" in said + told
    step = deflow.Run.open(path).checkpoints.steps()[-1]
    said = elsewhere("deflow", "resume", path, "--steps", step + 10)
    (following,) = re.findall(r"^Next: (.*)$", said, re.MULTILINE)
    assert following == f"deflow evaluate {path} --episodes 100"
    result = elsewhere(*shlex.split(following)[:-1], 1, "--workers", 1)
    assert f"{path}, at step {step + 10:,}, seed 0:" in result
    assert "Table: report.md" in elsewhere("deflow", "report", "runs")
    assert "deflow report runs" in (elsewhere.folder / "report.md").read_text()
    assert not [name for name in os.listdir(elsewhere.folder) if name in ("deflow", "recipes", "tests")]


def test_ctrl_c_while_a_recipe_imports_ends_in_one_sentence(elsewhere):
    """The wheel's file is replaced by one that is interrupted at an import of its own."""
    (file,) = elsewhere.folder.glob("environment/lib/*/site-packages/deflow/_recipes/collect.py")
    text = file.read_text()
    file.write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n" + text)
    try:
        process = elsewhere.start("deflow", "collect", "--list")
        said, told = process.communicate()
    finally:
        file.write_text(text)
    assert (said, told) == ("", "error: interrupted.\n")
    assert process.returncode in (130, -signal.SIGINT)


# --- completion

COMPLETED = """
source {script}
complete -p deflow
for words in "deflow off" "deflow offline --est" "deflow offline fql solver : he" "deflow inspect_data --term" \
"deflow offline --budget q" "deflow evaluate --ep" "deflow resume x"; do
  COMP_WORDS=($words) COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)) COMPREPLY=()
  _deflow
  echo "$words: ${{COMPREPLY[*]}}"
done
"""


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_completion_in_bash(elsewhere):
    """It runs every recipe of the wheel, too: each writes its part."""
    script = elsewhere.folder / "completion.bash"
    script.write_text(elsewhere("deflow", "--completion", "bash"))
    program = COMPLETED.format(script=script)
    done = subprocess.run(["bash", "--norc", "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "complete -o default -F _deflow deflow",
        "deflow off: offline offline-to-online",
        "deflow offline --est: --estimate-steps",
        "deflow offline fql solver : he: heun",
        "deflow inspect_data --term: --terminals",
        "deflow offline --budget q: quickstart",
        "deflow evaluate --ep: --episodes",
        "deflow resume x: ",
    ]


ZSH = """
compadd() {{ shift; print -rn -- "$* "; }}
_describe() {{ print -rn -- "$2: ${{(P)2}} "; }}
words=() CURRENT=2
source {script} > /dev/null
words=(deflow off) CURRENT=2; _deflow; print
words=(deflow offline --est) CURRENT=3; _deflow; print
"""


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
def test_completion_in_zsh(elsewhere):
    script = elsewhere.folder / "completion.zsh"
    script.write_text(elsewhere("deflow", "--completion", "zsh"))
    program = ZSH.format(script=script)
    done = subprocess.run(["zsh", "-f", "-c", program], capture_output=True, text=True, check=True)
    names, flags = done.stdout.splitlines()
    assert names.split() == [*map(said, RECIPES), "--help", "--version"]
    assert "--estimate-steps" in flags


# --- how a command is spelled


@pytest.mark.parametrize(
    ("started", "spelled"),
    [
        ("recipes/resume.py", "python recipes/offline_to_online.py"),
        (str(ROOT / "recipes" / "offline.py"), "python recipes/offline_to_online.py"),
        ("/somewhere/bin/deflow", "deflow offline-to-online"),
        (str(ROOT / "deflow" / "__main__.py"), "python -m deflow offline-to-online"),
        ("/home/me/recipes/cake.py", "deflow offline-to-online"),
        ("my_program.py", "deflow offline-to-online"),
        ("", "deflow offline-to-online"),
    ],
)
def test_a_command_is_spelled_as_the_program_was_called(started, spelled, monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "argv", [started])
    assert command("offline_to_online", "--from", "a b", 3) == f"{spelled} --from 'a b' 3"
    assert as_called("first\n    python recipes/offline_to_online.py --x\n") == f"first\n    {spelled} --x\n"


def test_no_message_spells_a_command_itself():
    for path in {*(ROOT / "deflow").rglob("*.py"), *(ROOT / "recipes").rglob("*.py")} - {ROOT / "deflow/commands.py"}:
        tree = ast.parse(path.read_text())
        documentation = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation:
                spelled = re.search(r"recipes/\w+\.py|python recipes|deflow resume", node.value)
                assert not spelled, f"{path}, line {node.lineno}: {node.value}"

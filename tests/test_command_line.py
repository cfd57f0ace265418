"""The command line: choices, defaults, and what mistakes are answered with."""

import ast
import dataclasses
import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import jax
import pytest
from rich.table import Table

import deflow
from deflow import cli
from deflow.agent import KINDS, describe_agent, restore_agent
from deflow.cli.parsing import filled
from deflow.errors import UsageError

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def offline():
    return load_recipe("offline")


def load_recipe(name):
    import importlib.util

    specification = importlib.util.spec_from_file_location(f"recipe_{name}", ROOT / "recipes" / f"{name}.py")
    module = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = module
    specification.loader.exec_module(module)
    return module


def parsed(offline, *arguments):
    options, agent, algorithm = offline.defaults(list(arguments))
    rest = [argument for argument in arguments if argument != algorithm]
    command = cli.parse(options, agent, rest, program="offline.py", description="")
    return command.options, command.agent


def test_defaults_are_the_papers(offline):
    options, agent = parsed(offline)
    assert (options.steps, options.batch_size, options.learning_rate) == (1_000_000, 256, 3e-4)
    assert agent.field == deflow.fields.MLPFieldConfig(width=512, depth=4)
    assert agent.critic == deflow.critics.EnsembleCriticConfig(members=2, aggregation="mean", width=512, depth=4)
    assert agent.solver == deflow.solvers.Euler(steps=10)
    assert agent.trust_region == deflow.trust_regions.MeanSquare(bound=0.001)


def test_settings_come_with_the_task_and_a_flag_wins(offline):
    name = "antmaze-giant-navigate-singletask-v0"
    _, agent = parsed(offline, "--env", name)
    assert (agent.discount, agent.critic.aggregation, agent.trust_region.bound) == (0.995, "min", 0.01)
    _, agent = parsed(offline, f"--env={name}", "--discount", "0.9", "--trust-region.bound", "0.2")
    assert (agent.discount, agent.critic.aggregation, agent.trust_region.bound) == (0.9, "min", 0.2)
    _, agent = parsed(offline, "--env", name, "critic:ensemble", "--critic.members", "5")
    assert (agent.critic.members, agent.critic.aggregation) == (5, "min")  # the task's, though the choice was named
    options, _ = parsed(offline, "--env", "visual-cube-single-play-singletask-v0")
    assert options.steps == 500_000


def test_choices_in_any_order(offline):
    expected = (deflow.solvers.Tsit5(rtol=1e-4), deflow.trust_regions.MeanSquare(bound=0.1))
    for arguments in (
        "solver:tsit5 --solver.rtol 1e-4 trust-region:mean-square --trust-region.bound 0.1",
        "trust-region:mean-square --seeds 0 1 solver:tsit5 --trust-region.bound 0.1 --solver.rtol 1e-4",
        "deflow --solver.rtol 1e-4 --trust-region.bound 0.1 solver:tsit5",
        "solver:heun --solver.rtol 1 --steps 3 --trust-region.bound 0.1 --steps 4 solver:tsit5 --solver.rtol=1e-4",
    ):
        _, agent = parsed(offline, *arguments.split())
        assert (agent.solver, agent.trust_region) == expected


def test_every_member_can_be_chosen(offline):
    for kind, registry in KINDS.items():
        for name in registry:
            _, agent = parsed(offline, f"{registry.choice}:{name}")
            assert registry.name_of(getattr(agent, kind)) == name


@pytest.mark.parametrize(
    "arguments",
    [
        "refiner:iterated refiner.inner:value-gradient --refiner.inner.rate 0.3 --refiner.times 2",
        "--refiner.times 2 --refiner.inner.rate 0.3 refiner.inner:value-gradient refiner:iterated",
        "refiner.inner:value-gradient --refiner.inner.rate=0.3 --seeds 0 1 refiner:iterated --refiner.times 2",
        "refiner:none refiner.inner:none refiner:iterated --refiner.times 9 refiner.inner:value-gradient "
        "--refiner.times 2 --refiner.inner.rate 0.3",
    ],
)
def test_a_part_in_a_part_in_any_order(offline, arguments):
    """It is read back from its description, too."""
    _, agent = parsed(offline, *arguments.split())
    expected = deflow.refiners.IteratedConfig(deflow.refiners.ValueGradient(rate=0.3), times=2)
    assert agent.refiner == expected
    assert type(agent.refiner.inner) is deflow.refiners.ValueGradient
    restored = restore_agent(json.loads(json.dumps(describe_agent(agent))))
    assert restored == agent
    assert restored.refiner == expected


def test_a_part_in_a_part_has_the_budgets_sizes(offline):
    """The one that is there by default, and one that is named; a flag wins."""
    _, agent = parsed(offline, "--budget", "quickstart", "refiner:iterated")
    sizes = (agent.field.width, agent.field.depth)
    assert sizes != (512, 4)
    assert agent.refiner.inner == deflow.refiners.ResidualRefinerConfig(*sizes)
    arguments = "--budget quickstart refiner:iterated refiner.inner:residual --refiner.inner.width 7"
    _, agent = parsed(offline, *arguments.split())
    assert agent.refiner.inner == deflow.refiners.ResidualRefinerConfig(7, sizes[1])


def test_help_for_a_part_in_a_part(offline, capsys):
    with pytest.raises(SystemExit) as stop:
        parsed(offline, "refiner:iterated", "refiner.inner:value-gradient", "--help-all")
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert "refiner:iterated" in text
    assert "--refiner.inner" in text


def test_quickstart_is_smaller_but_else_the_papers(offline):
    options, agent = parsed(offline, "--budget", "quickstart")
    assert options.data == "collected"
    assert options.steps < 100_000
    assert agent.field.width < 512
    options, _ = parsed(offline, "--budget", "quickstart", "--steps", "7")
    assert options.steps == 7


def test_quickstart_from_images(offline):
    """OGBench's visual tasks, and an encoder that is named; flags win."""
    options, agent = parsed(offline, "--budget", "quickstart", "--env", "visual-scene-play-singletask-task1-v0")
    assert (options.rows, options.batch_size, options.proposals) == (20_000, 64, 8)
    assert agent.encoder == deflow.encoders.ImpalaSmallConfig((8, 16, 32), 0, 256)
    assert agent.augmentation == deflow.augmentations.RandomCrop()
    assert agent.field.width == 256
    own = "--budget quickstart --env lab/Seen-v0 encoder:impala --encoder.blocks 1 --steps 9"
    options, agent = parsed(offline, *own.split())
    assert (options.steps, options.field_steps) == (9, 6_000)
    assert agent.encoder == deflow.encoders.ImpalaConfig((8, 16, 32), 1, 256)
    _, agent = parsed(offline, "--budget", "quickstart", "encoder:impala-small", "encoder:impala")
    assert agent.encoder == deflow.encoders.ImpalaConfig((8, 16, 32), 0, 256)
    options, agent = parsed(offline, "--budget", "paper", "--env", "visual-scene-play-singletask-task1-v0")
    assert (options.batch_size, options.proposals, options.steps) == (256, 0, 500_000)
    assert agent.encoder == deflow.encoders.ImpalaSmallConfig()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("solver:hen", ["Unknown solver 'hen'", "'heun'", "tsit5"]),
        ("solvr:heun", ["Unknown kind of part 'solvr'", "'solver'"]),
        ("--stpes 3", ["There is no flag --stpes. Did you mean --steps? --help lists all flags."]),
        ("--solver.rtol 1e-3", ["belongs to solver:tsit5 or solver:dopri5", "add solver:tsit5"]),
        ("--trust-region.bund 0.1", ["Did you mean --trust-region.bound?"]),
        ("refiner:iterated refiner.inner:value-gradint", ["Unknown refiner 'value-gradint'", "'value-gradient'"]),
        (
            "refiner.inner:value-gradient refiner:iterated --refiner.inner.rat 0.3",
            ["There is no flag --refiner.inner.rat. Did you mean --refiner.inner.rate?"],
        ),
        ("--refiner.inner.rate 0.3", ["a part wrapped by refiner:iterated", "add refiner:iterated"]),
        ("refiner:iterated --refiner.inner.rate 1", ["belongs to refiner.inner:value-gradient", "add refiner.inner:"]),
        ("refiner:iterated refiner.inner:iterated", ["choose another refiner.inner"]),
        ("refiner:iterated refiner.innr:residual", ["'refiner.innr'. Did you mean 'refiner.inner'"]),
        ("refiner:iterated --refiner.tims 3", ["There is no flag --refiner.tims. Did you mean --refiner.times?"]),
    ],
)
def test_mistyped_names_get_the_nearest(offline, arguments, expected):
    with pytest.raises(UsageError) as error:
        parsed(offline, *arguments.split())
    assert all(part in str(error.value) for part in expected), error.value
    assert "\n" not in str(error.value)


def test_unknown_algorithm(offline):
    with pytest.raises(
        KeyError, match=r"Unknown algorithm 'deflw'. Did you mean 'deflow'\? Choose from: deflow, .*flow-bc"
    ):
        parsed(offline, "deflw")


@pytest.fixture
def forgotten():
    """What a test's files register is gone afterwards."""
    yield
    deflow.solvers.registry._members.pop("for-this-test", None)


@pytest.mark.usefixtures("forgotten")
def test_import_runs_a_users_file(offline, tmp_path):
    file = tmp_path / "my_parts.py"
    file.write_text(
        "import deflow\n"
        "@deflow.solvers.register('for-this-test')\n"
        "class MySolver(deflow.solvers.AbstractSolver):\n"
        "    '''Mine.'''\n"
        "    jump: float = 0.5\n"
        "    '''How far.'''\n"
        "    def __call__(self, velocity, noise):\n"
        "        return noise * self.jump\n"
    )
    options, agent = parsed(offline, "--import", str(file), "solver:for-this-test", "--solver.jump", "0.25")
    assert (type(agent.solver).__name__, agent.solver.jump) == ("MySolver", 0.25)
    assert options.import_ == (file,)
    with pytest.raises(UsageError, match="the file does not exist"):
        parsed(offline, "--import", str(tmp_path / "nothing.py"))
    file.write_text("import deflow\n1 / 0\n")
    with pytest.raises(UsageError, match="line 2: ZeroDivisionError"):
        parsed(offline, "--import", str(file))


def test_help_shows_every_choice_and_every_fields_sentence():
    outcome = subprocess.run(
        [sys.executable, "recipes/offline.py", "--help-all"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "400"},
        check=True,
    )
    text = outcome.stdout
    for registry in KINDS.values():
        for name in (name for name in registry if registry.distribution(name) == "deflow"):
            assert f"{registry.choice}:{name}" in text
            sentences = cli.field_docstrings(registry[name])
            for field in dataclasses.fields(registry[name]):
                assert f"--{registry.choice}.{field.name.replace('_', '-')}" in text
                assert sentences[field.name][:40] in text


INTERRUPTED = """
import os, signal, sys
from deflow.workers import graceful_interrupts

with graceful_interrupts() as interrupt:
    for signum in map(int, sys.argv[1:]):
        os.kill(os.getpid(), signum)
        print("set" if interrupt.is_set() else "not set", interrupt.code, flush=True)
print("the end", flush=True)
sys.exit(interrupt.code)
"""


@pytest.mark.parametrize(
    ("signals", "said", "code"),
    [
        ([], "the end\n", 0),
        ([signal.SIGINT], "set 130\nthe end\n", 130),
        ([signal.SIGTERM], "set 143\nthe end\n", 143),
        ([signal.SIGINT, signal.SIGINT], "set 130\n", 130),
        ([signal.SIGTERM, signal.SIGINT], "set 143\n", 130),
    ],
)
def test_the_first_signal_asks_and_the_second_ends(signals, said, code):
    command = [sys.executable, "-c", INTERRUPTED, *(str(int(signum)) for signum in signals)]
    outcome = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (outcome.stdout, outcome.returncode) == (said, code), outcome.stderr
    assert ("finishing and saving" in outcome.stderr) == bool(signals)


def test_what_is_printed_is_not_read_as_markup_and_commands_can_be_pasted(capsys):
    cli.say("runs/lr [v2]/[/a]/[bold]", "second", "host:abc:1")
    cli.show(Table("[v2]", title="x"))
    command = cli.command("evaluate", "runs/lr [a]/it's", "--episodes", 100)
    said = capsys.readouterr().out
    assert said.startswith("runs/lr [v2]/[/a]/[bold]\nsecond\nhost:abc:1\n")
    assert shlex.split(command) == ["deflow", "evaluate", "runs/lr [a]/it's", "--episodes", "100"]


@pytest.mark.parametrize(
    ("env", "aggregation", "reward_min", "depth"),
    [
        ("antmaze-large-navigate-singletask-task1-v0", "min", -1.0, 4),
        ("puzzle-4x4-play-singletask-task4-v0", "mean", -16.0, 4),
        ("cube-single-play-singletask-task2-v0", "mean", -1.0, 2),
    ],
)
def test_a_part_chosen_by_hand_has_the_tasks_settings(offline, env, aggregation, reward_min, depth):
    _, agent = parsed(offline, "deflow", "--env", env, "critic:categorical")
    assert (agent.critic.aggregation, agent.critic.reward_min) == (aggregation, reward_min)
    _, agent = parsed(offline, "fql", "--env", env, "critic:categorical", "--critic.reward-min", "-3")
    assert agent.critic.reward_min == -3.0
    _, agent = parsed(offline, "deflow", "--env", env, "critic:flow")
    assert agent.critic.depth == depth


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--env", "x", "fql"], "The algorithm comes first: put fql before all flags"),
        (["--algorithm", "fql"], "The algorithm comes first and has no flag: deflow offline fql"),
        (["--lr", "1e-4"], "There is no flag --lr: it is --learning-rate here"),
        (["--seed", "1"], "There is no flag --seed: it is --seeds here"),
        (["--solver", "heun"], "A part is chosen without dashes: solver:heun instead of --solver heun"),
        (["--trust-region=ball"], "trust-region:ball instead of --trust-region ball"),
        (["critic:none", "--critic.width", "8"], "critic:none has no width: leave --critic.width out, or choose"),
    ],
)
def test_what_was_meant_is_said(offline, arguments, words):
    with pytest.raises(UsageError, match=words) as caught:
        parsed(offline, *arguments) if arguments[0] != "--env" else cli.parse(
            offline.Offline(), deflow.agent_config(), arguments, program="offline.py", description=""
        )
    assert "\n" not in str(caught.value)


def test_flags_of_several_values_add_up(offline, tmp_path):
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.py").write_text("")
    files = [str(tmp_path / f"{name}.py") for name in ("a", "b", "c")]
    options, _ = parsed(offline, "--import", files[0], "--seeds", "0", f"--import={files[1]}", files[2], "--seeds", "1")
    assert [str(path) for path in options.import_] == files
    assert options.seeds == (0, 1)


def test_a_platform_that_is_not_there(monkeypatch):
    monkeypatch.setattr(jax, "devices", lambda: (_ for _ in ()).throw(AssertionError))
    monkeypatch.setenv("JAX_PLATFORMS", "cuda")
    with pytest.raises(UsageError, match="JAX finds no device with JAX_PLATFORMS=cuda"):
        cli.program.check_platform()


def test_the_first_screen_folds_no_path(capsys):
    path = "/a/path/that/is/longer/than/a/terminal/" + "x" * 100
    cli.print_facts("Title", {"data": "[v2] and more", "files": f"{path}\n{path}"})
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["Title", " data   [v2] and more", f" files  {path}", f"        {path}"]


def test_ctrl_c_while_a_recipe_imports_ends_in_one_sentence():
    code = "import deflow.workers.early_interrupt; raise KeyboardInterrupt"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert ended.stderr == "error: interrupted.\n"
    assert ended.returncode in (130, -signal.SIGINT)
    for recipe in (ROOT / "recipes").glob("*.py"):
        (first, *_) = (
            node for node in ast.parse(recipe.read_text()).body if isinstance(node, ast.Import | ast.ImportFrom)
        )
        assert ast.unparse(first) == "import deflow.workers.early_interrupt", recipe


def test_a_locale_that_cannot_write_the_folder_is_said_before_anything_is_made(tmp_path):
    code = "import sys; from deflow.runs.atomic_files import writable_directory; writable_directory(sys.argv[1])"
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = [sys.executable, "-c", code, str(tmp_path / "Läufe")]
    ended = subprocess.run(command, capture_output=True, cwd=ROOT, env={**os.environ, **ascii_only})
    if b"locale is ascii: set PYTHONUTF8=1" not in ended.stderr:  # macOS reads names as UTF-8 in any locale
        assert ended.returncode == 0
        assert sys.platform == "darwin"
    else:
        assert not list(tmp_path.iterdir())


def test_of_a_switch_and_its_negation_the_last_wins(offline):
    on, off = "--normalize-value", "--no-normalize-value"
    assert not parsed(offline, on, off, on, off)[1].normalize_value
    assert parsed(offline, off, on, off, on)[1].normalize_value


def test_a_flags_value_may_look_like_a_part(offline):
    assert parsed(offline, "--env", "my_module:Point-v0", "solver:heun")[0].env == "my_module:Point-v0"
    assert cli.peek(["--env", "my_module:Point-v0", "solver:heun"], "--env") == ["my_module:Point-v0"]
    assert cli.peek(["--import=a.py", "b.py", "--steps", "3"], "--import") == ["a.py", "b.py"]


@pytest.mark.parametrize("arguments", ["-steps 5", "--data= --steps 5", "fql", "--output-dir="])
def test_more_mistakes_end_in_one_sentence(offline, arguments):
    with pytest.raises(UsageError) as caught:
        parsed(offline, "--steps", "5", *arguments.split())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("seed", [-1, 1 << 32, 1 << 80])
def test_seeds_that_jax_takes_for_others_are_refused(offline, seed):
    """`jax.random.key(2**32)` is `jax.random.key(0)`."""
    with pytest.raises(ValueError, match=rf"^--seeds must be from 0 to 4,294,967,295, got {seed}\.$"):
        parsed(offline, "--seeds", "0", str(seed))


@dataclasses.dataclass(frozen=True)
class Wide:
    """Options that warn, and refuse."""

    width: int = 4

    def __post_init__(self):
        sys.stderr.write(f"careful with {self.width}\n")
        if self.width > 9:
            raise ValueError(f"width {self.width} is too wide")


def test_what_is_refused_is_a_sentence_and_a_warning_is_not_lost(capsys):
    """What tyro prints is held back, since the refusal takes the place of its box."""
    assert filled(Wide, ["--width", "5"], program="p") == Wide(5)
    assert "careful with 5\n" in capsys.readouterr().err
    with pytest.raises(ValueError, match=r"^width 10 is too wide$"):
        filled(Wide, ["--width", "10"], program="p")
    assert not capsys.readouterr().err

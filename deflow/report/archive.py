"""Results that outlive their runs: evaluations and settings in small CSV files, which reports read like runs."""

import csv
import hashlib
import io
import json
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ReportError
from .labels import TRAINED_WITH
from .reading import RunFiles

FIRST = "# deflow results, version 1: "
"""How such a file begins; what the runs have in common follows as JSON."""

_NAME = FIRST[: FIRST.index("version")].encode()

OPTIONS = (
    *("seeds", "budget", "steps", "online_steps", "eval_every", "episodes", "proposals"),
    *("field_steps", "field_learning_rate", *TRAINED_WITH),
)
"""The options of a recipe that are kept: those that change what comes out."""

PLACES = ("data-dir", "output-dir", "output", "resume", "archive")
"""Flags of a command that say where something lies, which nobody else's machine has."""


def write_archive(runs: Sequence[RunFiles], folder: Path) -> list[Path]:
    """One file for all seeds that were trained together, with every row of their eval.csv. What it writes again is the
    same, as long as the runs are. Runs without an evaluation, and what is archived already, are left out.

    Raises:
        ReportError: If a file cannot be written, or has seeds that would be lost; if two runs would be one.
    """
    groups: dict[Path, list[RunFiles]] = {}
    for run in (run for run in runs if run.path.is_dir() and len(run.evaluation["step"])):
        groups.setdefault(folder / _file_name(run), []).append(run)
    for path, group in groups.items():
        seeds = [run.seed for run in group]
        if len(set(seeds)) < len(seeds):
            raise ReportError(
                f"{' and '.join(str(run.path) for run in group)} have the same settings and time, and a seed in "
                "common: archive them one by one, into folders of their own."
            )
        if lost := sorted({run.seed for run in read_archive(path)} - set(seeds)) if path.exists() else []:
            raise ReportError(f"{path} has the seeds {lost}, too, whose runs were not given: choose another folder.")
    try:
        for path, group in groups.items():
            folder.mkdir(parents=True, exist_ok=True)
            part = path.with_suffix(".part")
            part.write_text(_text(sorted(group, key=lambda run: run.seed)), encoding="utf-8")
            part.replace(path)
    except OSError as error:
        raise ReportError(f"Cannot write to {folder}: {error.strerror or error}; choose another folder.") from error
    return list(groups)


def is_archive(path: Path) -> bool:
    """Whether a file was written by `write_archive`."""
    try:
        if path.suffix != ".csv" or not path.is_file():
            return False
        with path.open("rb") as file:
            return file.read(len(_NAME)) == _NAME
    except OSError:
        return False


def read_archive(path: Path) -> list[RunFiles]:
    """The runs of such a file.

    Raises:
        ReportError: If it is damaged, or of a later version of deflow.
    """
    try:
        first, _, rest = path.read_text(encoding="utf-8").partition("\n")
        if first.encode().startswith(_NAME) and not first.startswith(FIRST):
            raise ReportError(f"{path} was written by a later version of deflow ({first[:40]}...): upgrade deflow.")
        known = json.loads(first.removeprefix(FIRST))
        names, *lines = list(csv.reader(io.StringIO(rest)))
        rows = np.array([[float(cell or "nan") for cell in line] for line in lines]).reshape(len(lines), len(names))
        columns = dict(zip(names, rows.T, strict=True))
        if np.isnan(columns["seed"]).any() or np.isnan(columns["step"]).any():
            raise ValueError("a row has no seed or no step")
        found = []
        for seed in known["seeds"]:
            own = columns["seed"] == seed
            table = {name: column[own] for name, column in columns.items() if name != "seed"}
            table["step"] = table["step"].astype(int)
            about = known["environment"], known["algorithm"], int(seed), known["online_from"]
            empty = {"step": np.zeros(0, int)}
            found.append(RunFiles(path, *about, empty, table, dict(known["config"]), known["commit"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ReportError(
            f"{path} is damaged or cannot be read ({error}): take it from the repository again."
        ) from error
    return found


def _file_name(run: RunFiles) -> str:
    """The same for seeds that were trained together, and another one for other settings or another folder. A run keeps
    its own when it is continued with other options."""
    begun = run.config if run.begun_with is None else {**run.config, "options": run.begun_with}
    facts = json.dumps([_portable(begun), run.online_from, run.commit, str(run.path.resolve().parent)])
    digest = hashlib.sha256(facts.encode()).hexdigest()[:8]
    return f"{_beginning(run)}{time_of(run)}-{digest}.csv".replace("/", "_")


def time_of(run: RunFiles) -> str:
    """The part of a run's name after the seed, which an archive's file name has, too."""
    if run.path.suffix == ".csv":
        return run.path.stem.removeprefix(_beginning(run)).rpartition("-")[0]
    return run.path.name.partition("-")[2] or run.path.name


def _beginning(run: RunFiles) -> str:
    return f"{run.environment}-{run.algorithm}-".replace("/", "_")


def _text(runs: list[RunFiles]) -> str:
    first = runs[0]
    machine = _machine(first.path)
    known = {
        "environment": first.environment,
        "algorithm": first.algorithm,
        "seeds": [run.seed for run in runs],
        "online_from": first.online_from,
        "commit": first.commit,
        "command": portable_command(str(machine.get("command", ""))),
        **({"continued_by": [portable_command(each) for each in first.continued_by]} if first.continued_by else {}),
        "devices": machine.get("devices"),
        "versions": machine.get("versions"),
        "config": _portable(first.config),
    }
    names = list(dict.fromkeys(name for run in runs for name in run.evaluation if name != "step"))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["seed", "step", *names])
    for run in runs:
        for row, step in enumerate(run.evaluation["step"]):
            cells = [run.evaluation[name][row] if name in run.evaluation else np.nan for name in names]
            writer.writerow([run.seed, step, *("" if np.isnan(cell) else f"{cell:.6g}" for cell in cells)])
    return f"{FIRST}{json.dumps(known)}\n{text.getvalue()}"


def portable_command(command: str) -> str:
    """The command as somebody else would type it in a checkout: without places of this machine."""
    kept, skips = [], False
    for word in shlex.split(command):
        flag, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
        place = flag.removeprefix("--").replace("_", "-") in PLACES
        if skips or place:
            skips = place and not equals
        elif kept == ["python"] and Path(word).name == "deflow":
            kept = ["deflow"]
        elif "recipes/" in word and word.endswith(".py"):
            kept.append(word[word.rindex("recipes/") :])
        elif not kept and Path(word).name.startswith("python"):
            kept.append("python")
        else:
            kept.append(f"{flag}{equals}{_short(value)}")
    return shlex.join(kept)


def _portable(config: Mapping[str, Any]) -> dict[str, Any]:
    """What decides about a run's result and its label, without places of this machine."""
    names = ("agent", "environment", "learning_rate", "rewards", "action_bounds")
    kept: dict[str, Any] = {name: config[name] for name in names if name in config}
    if spec := config.get("spec"):
        kept["spec"] = {"frame_stack": spec.get("frame_stack", 1)}
    if data := config.get("data"):
        kept["data"] = {name: value for name, value in data.items() if not name.endswith("path")}
    if (behaviour := config.get("behaviour")) is not None:
        known = {name: behaviour[name] for name in ("own", "steps") if name in behaviour}
        kept["behaviour"] = {**known, "runs": [_short(path) for path in behaviour.get("runs", ())]}
    options = config.get("options") or {}
    return {**kept, "options": {name: options[name] for name in OPTIONS if name in options}}


def _short(word: str) -> str:
    """Of an absolute path, a run's task, algorithm and name, or another file's name."""
    path = Path(word)
    if not path.is_absolute():
        return word
    return "/".join(path.parts[-3:]) if re.match(r"seed\d+", path.name) else path.name


def _machine(run: Path) -> dict[str, Any]:
    try:
        return dict(json.loads((run / "environment.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return {}  # the numbers are none the worse

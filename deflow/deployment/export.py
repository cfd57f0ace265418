"""Exporting a policy: a file that holds it outside of deflow, checked when it is made."""

import hashlib
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import filelock
import numpy as np
from jaxtyping import Num

from .. import __version__
from ..errors import ExportError
from ..types import check_number
from .agreement import TOLERANCE, Agreement, agreement
from .format import AbstractFormat, registry
from .policy import Policy
from .program import Program

CHECKED = 1_000
"""Observations on which an exported file is compared with the policy."""


def export(
    policy: Policy,
    path: str | os.PathLike[str],
    *,
    format: str | AbstractFormat | None = None,
    observations: Num[np.ndarray, "rows ..."] | None = None,
    seed: int = 0,
) -> Agreement:
    """Write a policy into a file that runs without deflow, and its description beside it, `policy.npz.json`.

    The file maps raw observations (B, *observation) and standard normal noise (B, candidates, noise) to actions in the
    user's units, (B, A) or (B, execute, A). All else is inside: standardisation, the solve, refinement, the best of
    several candidates, clipping and units. It is read back and compared with the policy before it gets its name.

    Args:
        policy: What `deflow.load` gives.
        path: The file; of a known suffix if no `format` is given.
        format: A format, or its name: `stablehlo`, `onnx`, `numpy`.
        observations: What to compare on, such as `task.train.observation`: 1,000 of them, evenly spaced. Standard
            normal numbers if not given.
        seed: Of the noise to compare with, and of what else is random.

    Returns:
        How well the file agrees with the policy.

    Raises:
        ExportError: If the policy cannot be expressed, the file differs by more than 1e-5, a package is missing, or the
            file cannot be written. Nothing that was there is changed.
        TypeError: If it is no policy.
        UnknownNameError: If no format has this name.
        ValueError: If the observations have another shape.
    """
    if not isinstance(policy, Policy):
        raise TypeError(
            f"export takes a policy, got {type(policy).__name__}: give what deflow.load gives, or "
            "deflow.Policy.of(agent, task)."
        )
    check_number("export", "seed", seed, int)
    if seed < 0:
        raise ValueError(f"seed must be at least 0, got {seed}.")
    path = Path(path).expanduser()
    chosen = _format(path, format)
    _check_usable(path, chosen)
    program = Program.of(policy)
    compared = _compared(policy, observations, seed)
    about = description(policy, program, registry.name_of(chosen))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
            draft = Path(folder) / path.name
            chosen.write(program, about, draft)
            found = agreement(policy, chosen.read(draft), *compared)
            _check(found)
            where = "standard normal numbers" if observations is None else "given observations"
            checked = {"on": where, "observations": found.observations, "largest difference": found.largest}
            described = Path(folder) / f"{path.name}.json"
            whole = {**about, "sha256": hashlib.sha256(draft.read_bytes()).hexdigest(), "check": checked}
            described.write_text(json.dumps(whole, indent=2) + "\n")
            pages = [Path(shutil.copy(file, folder)) for file in chosen.beside]
            with _alone(path):  # the description is that of the file
                for file in (*pages, described, draft):  # each is complete when it gets its name
                    file.replace(path.with_name(file.name))
    except OSError as error:
        raise ExportError(f"{path} cannot be written: {error.strerror or error}; choose another place.") from error
    return found


def _check_usable(path: Path, chosen: AbstractFormat) -> None:
    """Raises an ExportError if the path cannot be that of a file, or what is not an export would be replaced."""
    if not path.name or "\0" in str(path) or path.is_dir():
        raise ExportError(f"{str(path)!r} is not the name of a file: give one such as policy.npz.")
    described = path.with_name(f"{path.name}.json")
    if path.exists() and not described.exists():
        raise ExportError(f"{path} is there and is no export: remove it, or choose another name.")
    if described.exists() and '"deflow"' not in described.read_text(encoding="utf-8", errors="replace"):
        raise ExportError(f"{described} is there and describes no export: remove it, or choose another name.")
    for page in chosen.beside:
        there = path.with_name(page.name)
        if there == path or (there.exists() and not there.read_bytes().startswith(page.read_bytes()[:40])):
            raise ExportError(f"{there} is not the page that deflow writes there: choose another folder or name.")


def _alone(path: Path) -> filelock.BaseFileLock:
    """A lock against other exports to the same path, which leaves nothing beside it."""
    digest = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:16]
    return filelock.FileLock(Path(tempfile.gettempdir()) / f"deflow-export-{digest}.lock")


def _check(found: Agreement) -> None:
    """Raises an ExportError if a file does not do what the policy does, or if nobody knows."""
    if found.ties > found.observations:
        raise ExportError(
            f"On {found.ties:,} of {found.ties + found.observations:,} observations the critic finds candidates "
            "equally good, so the file could not be compared with the policy: train the critic, or act with one "
            "candidate."
        )
    if found.largest > TOLERANCE:
        raise ExportError(
            f"The exported policy differs from the policy by up to {found.largest:.1e} on {found.beyond:,} of "
            f"{found.observations:,} observations, more than {TOLERANCE:g}: choose another format, or compare on "
            "observations like those that it will see."
        )


def description(policy: Policy, program: Program, format: str) -> dict[str, Any]:
    """What an exported policy is, as JSON data: names, shapes, units, and where it came from."""
    names = {name: {"names": list(each)} for name, each in policy.names.items()}
    entries = {"entries": list(policy.keys)} if policy.keys else {}
    count = policy.agent.spec.frame_stack
    stacked = {"frames": f"{count}, the oldest first among the channels"} if count > 1 else {}
    return {
        "task": policy.origin.task,
        "algorithm": policy.origin.algorithm,
        "step": policy.origin.step,
        "run": policy.origin.run,
        "deflow": __version__,
        "format": format,
        "inputs": {
            "observation": {
                "shape": ["batch", *program.observation.shape],
                "type": str(program.observation.dtype),
                "units": "the environment's own",
                **stacked,
                **entries,
                **names.get("observations", {}),
            },
            "noise": {
                "shape": ["batch", *program.noise.shape],
                "type": str(program.noise.dtype),
                "units": "standard normal numbers; 0 for a deterministic action",
            },
        },
        "outputs": {
            "action": {
                "shape": ["batch", *program.action_shape],
                "type": "float32",
                "units": "the environment's own",
                "low": list(policy.bounds.low),
                "high": list(policy.bounds.high),
                **names.get("actions", {}),
            }
        },
    }


def _format(path: Path, format: str | AbstractFormat | None) -> AbstractFormat:
    if format is not None:
        return registry.member(format)
    known = {registry[name].suffix: name for name in registry}
    if path.suffix not in known:
        raise ExportError(
            f"The name {path.name!r} does not say which format is wanted: end it in {' or '.join(known)}, or name the "
            "format."
        )
    return registry[known[path.suffix]]()


def _compared(policy: Policy, observations: Any, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Observations and noises to compare on."""
    spec, random = policy.agent.spec, np.random.default_rng(seed)
    if observations is None:
        if spec.observation_dtype == "uint8":
            observations = random.integers(0, 256, (CHECKED, *spec.observation_shape), np.uint8)
        else:
            observations = random.standard_normal((CHECKED, *spec.observation_shape), np.float32)
    observations = observations if hasattr(observations, "dtype") else np.asarray(observations)
    if (
        observations.shape[1:] != spec.observation_shape
        or not len(observations)
        or observations.dtype.kind not in "fiub"
    ):
        raise ValueError(
            f"The observations to compare on must be numbers in rows of shape {spec.observation_shape}, got the shape "
            f"{observations.shape} and the type {observations.dtype}."
        )
    rows = np.unique(np.linspace(0, len(observations) - 1, CHECKED).astype(int))
    chosen = np.asarray(observations[rows], spec.observation_dtype)
    return chosen, random.standard_normal((len(chosen), *policy.noise_shape), np.float32)

"""Proposals on disk: drawn once, verified whenever they are read, and used again by every run of the same behaviour.

<folder>/<K>-<identity>.npy     the proposals, float32 of shape (M, K, A), which NumPy reads
<folder>/<K>-<identity>.json    what they belong to, and the digest of the file; written last
<folder>/<K>-<identity>.part    a drawing that is going on or was interrupted
"""

import dataclasses
import hashlib
import io
import json
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import filelock
import jax
import numpy as np
from jaxtyping import Array, Key

from ..agent import Agent
from ..data.provenance import digest
from ..errors import ProposalsError, ProposalsInterrupted
from ..keys import check_key
from ..progress import Bar
from .proposals import Proposals, behaviour_digest, block_size, check_drawing, solved_blocks
from .states import States


@dataclasses.dataclass(frozen=True)
class _Identity:
    """What determines proposals, besides their number."""

    behaviour: str
    states: str
    key: tuple[int, ...]

    @property
    def short(self) -> str:
        return hashlib.sha256(repr(self).encode()).hexdigest()[:12]


def open_proposals(
    folder: str | os.PathLike[str],
    agent: Agent,
    states: States,
    count: int,
    *,
    key: Key[Array, ""],
    interrupt: threading.Event | None = None,
    progress: bool = True,
) -> Proposals:
    """The proposals of an agent's flow for a dataset's states: those in the folder, if it has as many or more of them;
    otherwise they are drawn into it. An interrupted drawing goes on, with the same result.

    Args:
        folder: Where they are kept; it is created if needed.
        agent: The agent whose field and solver propose.
        states: The dataset's states.
        count: Number of proposals for a state, K.
        key: What the proposals' noises are made from.
        interrupt: Ends the drawing after the current block, if it is set.
        progress: Whether to show a bar.

    Raises:
        ProposalsError: If a file is damaged, or cannot be written.
        ProposalsInterrupted: If `interrupt` is set before everything is drawn.
        ValueError: If `count` is less than 1, or the data's shapes are not the agent's.
    """
    check_key(key)
    check_drawing(agent, states, count)
    identity = _Identity(behaviour_digest(agent), states.digest, _key_data(key))
    folder = Path(folder)
    if (found := _finished(folder, identity, count)) is not None:
        return _read(found, identity, count, key)
    path = folder / f"{count}-{identity.short}.npy"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(path.with_suffix(".lock")):  # who comes second waits, and finds them drawn
            if not path.with_suffix(".json").exists():
                _draw(path, agent, states, count, key, interrupt or threading.Event(), progress)
                facts = {"proposals": count, "state_count": len(states), "action_size": agent.action_size}
                facts |= {"solver": repr(agent.solver), **dataclasses.asdict(identity), "sha256": digest(path)}
                _write(path.with_suffix(".json"), (json.dumps(facts, indent=2) + "\n").encode())
    except OSError as error:
        raise ProposalsError(
            f"The proposals cannot be written to {path} ({error.strerror or error}): free some space, or draw fewer."
        ) from error
    return _read(path, identity, count, key)


def find_proposals(
    folder: str | os.PathLike[str], agent: Agent, states: States, count: int, *, key: Key[Array, ""]
) -> Path | None:
    """The file that `open_proposals` would read; None if it would draw."""
    return _finished(Path(folder), _Identity(behaviour_digest(agent), states.digest, _key_data(key)), count)


def _finished(folder: Path, identity: _Identity, count: int) -> Path | None:
    """The smallest finished file with at least this many proposals."""
    found = {int(path.name.partition("-")[0]): path for path in folder.glob(f"*-{identity.short}.json")}
    enough = [number for number in found if number >= count]
    return found[min(enough)].with_suffix(".npy") if enough else None


def _draw(
    path: Path,
    agent: Agent,
    states: States,
    count: int,
    key: Key[Array, ""],
    interrupt: threading.Event,
    progress: bool,
) -> None:
    """Appends block after block to the file beside `path`, which gets its name when it is complete."""
    part, shape = path.with_suffix(".part"), (len(states), count, agent.action_size)
    if path.exists():  # complete, but killed before its description was written
        os.replace(path, part)
    row, header = 4 * count * agent.action_size, _header(shape)
    with open(part, "a+b") as file:
        file.seek(0)
        begun = file.read(len(header)) == header
        # The last block may not have reached the disk as a whole.
        blocks = max((file.seek(0, os.SEEK_END) - len(header)) // (row * block_size(count)) - 1, 0) * begun
        start = min(blocks * block_size(count), len(states))
        file.truncate(len(header) + start * row if start else 0)
        if start == 0:
            file.write(header)
        with Bar(total=len(states), initial=start, desc="proposals", unit="state", disable=not progress) as bar:
            for first, block in solved_blocks(agent, states, count, key=key, start=start):
                file.write(np.ascontiguousarray(block).data)
                file.flush()
                os.fsync(file.fileno())
                bar.update(len(block))
                done = first + len(block)
                if interrupt.is_set() and done < len(states):
                    raise ProposalsInterrupted(
                        f"Interrupted after the proposals of {done:,} of {len(states):,} states, which are kept."
                    )
    os.replace(part, path)


def _header(shape: tuple[int, ...]) -> bytes:
    """The first bytes of an .npy file of this shape."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
    return file.getvalue()


def _read(path: Path, identity: _Identity, count: int, key: Key[Array, ""]) -> Proposals:
    """The first `count` proposals of a finished file, memory-mapped, after a look at every byte."""
    remedy = f"delete it and {path.with_suffix('.json').name} beside it, and they are drawn again"
    try:
        facts: Mapping[str, Any] = json.loads(path.with_suffix(".json").read_text())
        sound = facts["sha256"] == digest(path)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ProposalsError(f"The proposals in {path} cannot be read ({error}): {remedy}.") from error
    if not sound:
        raise ProposalsError(f"The proposals in {path} are damaged, or not what was drawn: {remedy}.")
    actions = np.load(path, mmap_mode="r")
    return Proposals(actions[:, :count], key, identity.behaviour, identity.states)


def _write(path: Path, content: bytes) -> None:
    temporary = path.with_suffix(".json.part")
    with open(temporary, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def _key_data(key: Key[Array, ""]) -> tuple[int, ...]:
    return tuple(int(word) for word in np.asarray(jax.random.key_data(key)).ravel())

"""Measure online environment steps per second, with and without overlap, from proposals, and the cost of a checkpoint.
Prints JSON.

    python recipes/benchmark_online.py --output docs/benchmarks/online-cpu.json

There is one update per environment step, in OGBench's cube-single environment. The variants take turns, as in
benchmark.py.
"""

import deflow.workers.early_interrupt  # isort: split

import dataclasses
import itertools
import statistics
import tempfile
import time
from pathlib import Path

import jax
import numpy as np
from benchmark import publish, take_turns
from plain.turns import SPEC, Turn, calls_per_second, random_data, random_proposals

import deflow
from deflow import cli, runs
from deflow.runs.machine import describe_machine

TASK = "cube-single-play-singletask-task2-v0"


@dataclasses.dataclass(frozen=True)
class BenchmarkOnline:
    """Options of the benchmark."""

    rounds: int = 7
    """Number of rounds in which the variants take turns; medians are over rounds."""

    seconds: float = 5.0
    """Approximate duration of one variant's turn."""

    width: int = 512
    """Units of each hidden layer of every network."""

    depth: int = 4
    """Hidden layers of every network."""

    batch_size: int = 256
    """Transitions per update."""

    rows: int = 100_000
    """Transitions in the (random) dataset."""

    proposals: int = 8
    """Actions for each state, of the variant that trains from proposals."""

    transitions: int = 1_000_000
    """Online transitions in the larger of the two checkpoints."""

    output: Path | None = None
    """File for the JSON, which is also printed."""

    def __post_init__(self):
        for name in ("rounds", "width", "depth", "batch_size", "rows", "proposals", "transitions"):
            if getattr(self, name) < 1:
                raise ValueError(f"--{name} must be at least 1, got {getattr(self, name)}.")
        if not self.seconds > 0:
            raise ValueError(f"--seconds must be positive, got {self.seconds}.")


def main(options: BenchmarkOnline) -> None:
    """Measure, and print what was measured."""
    data = random_data(options.rows)
    with deflow.Actors(deflow.Environment(TASK), seeds=[0]) as actors:
        start = actors.state()
        turns = {
            name: online_turn(options, data, actors, start, overlap=overlap)
            for name, overlap in (("in turn", False), ("overlapped", True))
        }
        turns["from proposals"] = online_turn(options, data, actors, start, overlap=True, proposals=options.proposals)
        measured = take_turns(options.rounds, turns)
    ratios = {
        f"{name} / {other}": round(
            statistics.median(a / b for a, b in zip(measured[name], measured[other], strict=True)), 3
        )
        for name, other in (("overlapped", "in turn"), ("from proposals", "overlapped"))
    }
    publish(
        {
            "device": f"{jax.devices()[0].device_kind} ({jax.default_backend()})",
            "machine": describe_machine(),
            "options": {k: v for k, v in dataclasses.asdict(options).items() if k != "output"},
            "steps_per_second": {name: round(statistics.median(values), 2) for name, values in measured.items()},
            "ratios": ratios,
            "checkpoints": checkpoint_costs(options),
            "rounds": {name: [round(value, 2) for value in values] for name, values in measured.items()},
        },
        options.output,
    )


def online_turn(
    options: BenchmarkOnline,
    data: deflow.Batch,
    actors: deflow.Actors,
    start: dict[str, np.ndarray],
    *,
    overlap: bool,
    proposals: int = 0,
) -> Turn:
    """Environment steps with one update each, in OGBench's own environment; with `proposals`, of a frozen flow."""
    config = deflow.agent_config(width=options.width, depth=options.depth)
    learner = deflow.Learner.create(config, SPEC, key=jax.random.key(0))
    if proposals:
        given = random_proposals(learner.agent, data, proposals)
        replay = deflow.ProposedReplay(learner.agent, data, given, steps=1_000_000)
    else:
        replay = deflow.make_replay(data, SPEC, steps=1_000_000)
    rounds = deflow.train_online(
        learner, replay, actors, steps=1_000_000, key=jax.random.key(0), batch_size=options.batch_size, overlap=overlap
    )

    def run() -> None:
        *_, (_, after, _) = itertools.islice(rounds, 10)
        jax.block_until_ready(after.step)

    def turn() -> float:
        actors.restore(start)  # all variants play the same episodes
        return 10 * calls_per_second(run, options.seconds)

    return turn


def checkpoint_costs(options: BenchmarkOnline) -> dict[str, dict[str, float]]:
    """Of a checkpoint of the learner alone, and with online transitions: its size, how long training waits for it, and
    how long it takes to be whole (medians of five)."""
    config = deflow.agent_config(width=options.width, depth=options.depth)
    learner = deflow.Learner.create(config, SPEC, key=jax.random.key(0))
    numbers = 2 * SPEC.observation_size + SPEC.action_size + 2
    transitions = np.ones((options.transitions, numbers), np.float32)
    costs = {}
    for name, state in (
        ("learner", {"learner": learner}),
        ("with_transitions", {"learner": learner, "transitions": transitions}),
    ):
        with tempfile.TemporaryDirectory() as folder:
            saver, whole = runs.Saver([runs.Checkpoints(Path(folder))], keep=1), []
            for step in range(5):
                began = time.perf_counter()
                saver.save(step, [state], [{}])
                saver.wait()
                whole.append(time.perf_counter() - began)
        costs[name] = {
            "bytes": saver.costs[0].bytes,
            "seconds_blocked": round(statistics.median(cost.blocked for cost in saver.costs), 4),
            "seconds_until_whole": round(statistics.median(whole), 3),
        }
    return costs


if __name__ == "__main__":
    cli.run_plain(main, BenchmarkOnline, description=__doc__)

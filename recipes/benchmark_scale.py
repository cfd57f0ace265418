"""Measure what limits many trainings at once: the memory of each, and the CPU time of evaluation and collection.

    python recipes/benchmark_scale.py --output docs/benchmarks/scale-cpu.json

It prints JSON. Sizes are those of real arrays, and of buffers in the compiled programs. What a process takes is its
highest resident memory so far. docs/how-far.md says what follows from these numbers.
"""

import deflow.workers.early_interrupt  # isort: split

import dataclasses
import resource
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
from benchmark import publish
from plain.turns import SPEC, lever_config, proposed, random_data

import deflow
from deflow import cli
from deflow.data.collection import collect
from deflow.replay import AbstractSource, Dataset
from deflow.runs.machine import describe_machine
from deflow.training.updates import FusedUpdates

TASK = "cube-single-play-singletask-task2-v0"


@dataclasses.dataclass(frozen=True)
class BenchmarkScale:
    """Options of the benchmark."""

    width: int = 512
    """Units of each hidden layer of every network."""

    depth: int = 4
    """Hidden layers of every network."""

    batch_size: int = 256
    """Transitions per update."""

    seeds: tuple[int, ...] = (1, 2, 4, 8)
    """How many seeds to train together, ascending, since a process's highest memory never falls."""

    rows: int = 100_000
    """Transitions in the (random) dataset."""

    proposals: int = 16
    """Actions for each state, of the program that trains from proposals."""

    episodes: int = 50
    """Episodes of an evaluation whose CPU time is measured; 0 does without."""

    collected: int = 20_000
    """Transitions of a collection whose CPU time is measured; 0 does without."""

    output: Path | None = None
    """File for the JSON, which is also printed."""

    def __post_init__(self):
        for name in ("width", "depth", "batch_size", "rows", "proposals"):
            if getattr(self, name) < 1:
                raise ValueError(f"--{name.replace('_', '-')} must be at least 1, got {getattr(self, name)}.")
        for name, least in (("episodes", 2), ("collected", 2_000)):
            if 0 != getattr(self, name) < least:
                raise ValueError(f"--{name} must be 0 or at least {least}, got {getattr(self, name)}.")
        if not self.seeds or min(self.seeds) < 1 or list(self.seeds) != sorted(set(self.seeds)):
            raise ValueError(f"--seeds must be ascending numbers from 1 up, got {' '.join(map(str, self.seeds))}.")


def main(options: BenchmarkScale) -> None:
    """Measure, and print what was measured."""
    data, learner = random_data(options.rows), fresh_learner(options, 1)
    process, programs = {"before": peak()}, {"joint": {}, "from proposals": {}}
    # The first of all: on Linux, a new process counts what the one that starts it takes.
    evaluated = evaluation(options, learner.seed(0).agent) if options.episodes else {}
    for count in options.seeds:
        programs["joint"][str(count)] = program(options, count, Dataset(data.on_device()))
        process[str(count)] = peak()
    for count in options.seeds:
        source = proposed(learner.seed(0).agent, data, options.proposals)
        programs["from proposals"][str(count)] = program(options, count, source, frozen=True)
    publish(
        {
            "device": f"{jax.devices()[0].device_kind} ({jax.default_backend()})",
            "machine": describe_machine(),
            "options": {k: v for k, v in dataclasses.asdict(options).items() if k != "output"},
            "learner": learner_bytes(learner),
            "data": {
                "bytes_of_a_transition": sum(leaf.nbytes for leaf in jax.tree.leaves(data.columns)) / options.rows,
                "bytes_of_a_states_proposals": 4 * options.proposals * SPEC.action_size,
            },
            "programs": programs,
            "process_bytes": process,
            "evaluation": evaluated,
            "collection": collection(options) if options.collected else {},
        },
        options.output,
    )


def fresh_learner(options: BenchmarkScale, seeds: int) -> deflow.Learner:
    """A learner of so many seeds."""
    keys = jax.random.split(jax.random.key(0), seeds)
    return deflow.Learner.create(lever_config(options, "deflow"), SPEC, key=keys)


def learner_bytes(learner: deflow.Learner) -> dict[str, Any]:
    """Bytes of one seed's arrays: of each part of the agent, and of the optimizer's state."""
    agent = learner.agent
    parts = {field.name: array_bytes(getattr(agent, field.name)) for field in dataclasses.fields(agent)}
    return {
        "parameters": learner.parameters,
        "bytes": array_bytes(learner),
        "agent": {name: size for name, size in parts.items() if size},
        "optimizer": array_bytes(learner.optimizer_state),
    }


def program(options: BenchmarkScale, seeds: int, source: AbstractSource, *, frozen: bool = False) -> dict[str, Any]:
    """The buffers of the program of many updates in bytes, as XLA planned them, after it has run once; on devices that
    say so, also the most that was allocated so far."""
    learner, count = fresh_learner(options, seeds), 2
    updates = FusedUpdates(
        learner.freeze_field() if frozen else learner, batch_size=options.batch_size, precision="float32"
    )
    keys = jax.random.split(jax.random.key(0), seeds)
    planned = updates.lowered(source, count, keys).compile().memory_analysis()
    jax.block_until_ready(updates(source, count, keys))
    found = {"learner": array_bytes(learner), "source": array_bytes(source)}
    if planned is not None:
        found |= {"results": planned.output_size_in_bytes, "temporary": planned.temp_size_in_bytes}
    statistics = jax.local_devices()[0].memory_stats() or {}
    return found | {name: statistics[name] for name in ("peak_bytes_in_use",) if name in statistics}


def evaluation(options: BenchmarkScale, agent: deflow.Agent) -> dict[str, float]:
    """The highest memory of a worker process, and CPU time per environment step with an action of the policy."""
    largest = []

    def evaluate(episodes: int) -> int:
        with deflow.Evaluator(deflow.Environment(TASK), workers=1) as evaluator:
            steps = int(evaluator(agent, episodes=episodes, seed=0).lengths.sum())
        largest.append(peak(resource.RUSAGE_CHILDREN))
        return steps

    spent = milliseconds_of_one(evaluate, options.episodes, 1)
    return {"worker_bytes": largest[0], "cpu_milliseconds_per_step": spent}


def collection(options: BenchmarkScale) -> dict[str, float]:
    """CPU time per transition that OGBench's oracle plays."""

    def play(rows: int) -> int:
        with tempfile.TemporaryDirectory() as folder:
            settings = deflow.Collected(rows=rows, validation_rows=1_000)
            collect(TASK, settings, data_dir=folder, workers=1, progress=False)
        return rows

    return {"cpu_milliseconds_per_transition": milliseconds_of_one(play, options.collected, 1_000)}


def milliseconds_of_one(work: Callable[[int], int], long: int, short: int) -> float:
    """CPU time that processes spend on one of what `work` returns the number of. The difference between a long and a
    short one leaves out what it takes to start."""
    spent, done = [], []
    for size in (long, short):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done.append(work(size))
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return round(1e3 * (spent[0] - spent[1]) / (done[0] - done[1]), 3)


def array_bytes(tree: Any) -> int:
    """Bytes of a tree's arrays; a random key counts with the numbers in it."""
    arrays = jax.tree.leaves(eqx.filter(tree, eqx.is_array))
    return sum(leaf.nbytes for leaf in arrays)


def peak(whose: int = resource.RUSAGE_SELF) -> int:
    """The highest resident memory so far: of this process, or of the largest of those that it started and that have
    ended."""
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(whose).ru_maxrss


if __name__ == "__main__":
    cli.run_plain(main, BenchmarkScale, description=__doc__)

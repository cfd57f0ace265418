"""Measure updates per second of fused training against plain loops in the same process. Prints JSON.

    python recipes/benchmark.py --output docs/benchmarks/cpu.json

The plain loops (recipes/plain/loop.py) are written as single-file research code is, and share nothing with deflow.
Because timings are noisy, the variants take turns: each round gives one ratio, and the reported one is the median.
"""

import deflow.workers.early_interrupt  # isort: split

import dataclasses
import json
import statistics
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
from plain.pixels import pixel_costs, pixel_turns
from plain.turns import (
    SPEC,
    Turn,
    acting_turn,
    fused_turn,
    plain_acting_turn,
    plain_turn,
    product_turn,
    random_data,
)
from rich.console import Console

import deflow
from deflow import cli
from deflow.runs.machine import describe_machine


@dataclasses.dataclass(frozen=True)
class Benchmark:
    """Options of the benchmark."""

    rounds: int = 7
    """Number of rounds in which the variants take turns."""

    seconds: float = 3.0
    """Approximate duration of one variant's turn."""

    width: int = 512
    """Units of each hidden layer of every network."""

    depth: int = 4
    """Hidden layers of every network."""

    batch_size: int = 256
    """Transitions per update."""

    seeds: tuple[int, ...] = (1, 2, 4, 8)
    """How many seeds to train together, for the cost of one."""

    rows: int = 100_000
    """Transitions in the (random) dataset."""

    sizes: bool = False
    """Also measure training from 1 and 32 proposals for each state of 100,000 and 1,000,000 transitions."""

    levers: bool = False
    """Also measure what more candidates, chunks of actions and pessimistic ensembles cost, from proposals."""

    pixels: bool = False
    """Instead of all else, measure agents that see three stacked images of 64 x 64. Take fewer rows: 12 KB each."""

    output: Path | None = None
    """File for the JSON, which is also printed."""

    def __post_init__(self):
        for name in ("rounds", "width", "depth", "batch_size", "rows"):
            if getattr(self, name) < 1:
                raise ValueError(f"--{name.replace('_', '-')} must be at least 1, got {getattr(self, name)}.")
        if not self.seconds > 0 or not self.seeds or min(self.seeds) < 1:
            raise ValueError("--seconds and --seeds must be positive.")


GRID = ((1, 100_000), (32, 100_000), (1, 1_000_000), (32, 1_000_000))
"""Numbers of proposals and of transitions over which the cost of an update should not change."""


LEVERS: dict[str, dict[str, Any]] = {
    "4 candidates in the target": {"target_candidates": 4},
    "16 candidates in the target": {"target_candidates": 16},
    "32 candidates in the target": {"target_candidates": 32},
    "10 members, mean - 0.5 std": {"members": 10, "aggregation": "mean-std"},
    "chunks of 5": {"chunk": 5},
    "chunks of 5, 32 candidates in the target": {"chunk": 5, "target_candidates": 32},
}
"""What an agent from 32 proposals can have more of."""

PLAIN_LEVER = "deflow from 32 proposals"

CANDIDATES = (4, 16, 32)
"""Candidates in acting."""


def main(options: Benchmark) -> None:
    """Measure, and print what was measured."""
    if options.pixels:
        publish(pixel_summary(options, take_turns(options.rounds, pixel_turns(options))), options.output)
        return
    data = random_data(options.rows)
    turns: dict[str, Turn] = {"product": product_turn(options), "plain": plain_turn(options, data, "deflow")}
    for precision in ("float32", "bfloat16"):
        turns[precision] = fused_turn(options, data, precision)
    turns |= {"plain fql": plain_turn(options, data, "fql"), "fql": fused_turn(options, data, algorithm="fql")}
    turns["frozen"] = fused_turn(options, data, frozen=True)
    turns["proposals"] = fused_turn(options, data, proposals=16)
    turns["proposals, 4 in the target"] = fused_turn(options, data, proposals=16, target_candidates=4)
    turns["proposals fql"] = fused_turn(options, data, algorithm="fql", proposals=16)
    for count, rows in GRID if options.sizes else ():
        turns[f"{count} proposals, {rows:,} rows"] = fused_turn(options, random_data(rows), proposals=count)
    for name, numbers in {PLAIN_LEVER: {}, **LEVERS}.items() if options.levers else ():
        turns[name] = fused_turn(options, data, proposals=32, **numbers)
    for count in CANDIDATES if options.levers else ():
        turns[f"act, best of {count}"] = acting_turn(options, data, 1, candidates=count)
    for size in (1, 1000):
        turns[f"plain act {size}"] = plain_acting_turn(options, data, size)
        turns[f"act {size}"] = acting_turn(options, data, size)
    for count in options.seeds:
        turns[f"seeds {count}"] = fused_turn(options, data, seeds=count)
    publish(summary(options, take_turns(options.rounds, turns)), options.output)


def publish(found: dict, output: Path | None) -> None:
    """Writes JSON to the file, if there is to be one, and prints it."""
    text = json.dumps(found, indent=2)
    if output is not None:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(text + "\n")
    print(text)


def take_turns(rounds: int, turns: dict[str, Turn]) -> dict[str, list[float]]:
    """What each variant measured in each round."""
    console = Console(stderr=True, highlight=False)
    measured: dict[str, list[float]] = {name: [] for name in turns}
    for number in range(rounds):
        for name, turn in turns.items():
            measured[name].append(turn())
            console.print(f"round {number + 1}/{rounds}  {name}: {measured[name][-1]:.1f}")
    return measured


def circumstances(options: Benchmark) -> dict:
    """Where it was measured, and how."""
    return {
        "device": f"{jax.devices()[0].device_kind} ({jax.default_backend()})",
        "machine": describe_machine(),
        "options": {k: v for k, v in dataclasses.asdict(options).items() if k != "output"},
    }


def summary(options: Benchmark, measured: dict[str, list[float]]) -> dict:
    """What was measured, as medians over rounds; ratios are medians of each round's ratio."""

    def ratio(name: str, to: str) -> float:
        return round(statistics.median(a / b for a, b in zip(measured[name], measured[to], strict=True)), 3)

    rates = {name: round(statistics.median(values), 2) for name, values in measured.items()}
    work = update_gflop(options)
    shares = [rate * work / product for rate, product in zip(measured["float32"], measured["product"], strict=True)]
    alone = f"seeds {options.seeds[0]}"
    return circumstances(options) | {
        "updates_per_second": {name: rates[name] for name in ("plain", "float32", "bfloat16")},
        "ratio_to_plain": {name: ratio(name, "plain") for name in ("float32", "bfloat16")},
        "fql": {
            "updates_per_second": {name: rates[name] for name in ("plain fql", "fql")},
            "ratio_to_plain": ratio("fql", "plain fql"),
        },
        "frozen_field": {
            "updates_per_second": rates["frozen"],
            "ratio_to_float32": ratio("frozen", "float32"),
            "gflop_per_update_counted_by_xla": {
                name: round(counted_gflop(options, frozen), 2)
                for name, frozen in (("trained", False), ("frozen", True))
            },
        },
        "from_proposals": {
            "updates_per_second": {name: rates[name] for name in measured if name.startswith("proposals")},
            "ratio_to_plain": {
                "deflow": ratio("proposals", "plain"),
                "deflow, 4 in the target": ratio("proposals, 4 in the target", "plain"),
                "fql": ratio("proposals fql", "plain fql"),
            },
            "ratio_to_float32": {
                "deflow": ratio("proposals", "float32"),
                "deflow, 4 in the target": ratio("proposals, 4 in the target", "float32"),
            },
            "updates_per_second_by_size": {name: rates[name] for name in measured if name.endswith(" rows")},
        },
        "acting": {
            f"batch of {size}": {
                "milliseconds": round(1e3 / rates[f"act {size}"], 3),
                "milliseconds_of_the_plain_code": round(1e3 / rates[f"plain act {size}"], 3),
                "ratio_to_plain": ratio(f"act {size}", f"plain act {size}"),
            }
            for size in (1, 1000)
        },
        "levers": {
            "times_as_long_as_deflow_from_proposals": {
                name: round(ratio(PLAIN_LEVER, name), 2) for name in LEVERS if name in measured
            },
            "milliseconds_for_an_action": {
                name: round(1e3 / rates[name], 3) for name in measured if name.startswith("act, best of")
            },
        },
        "gflop_per_update": round(work, 2),
        "float32_product_gflop_per_second": rates["product"],
        "share_of_product_rate": round(statistics.median(shares), 3),
        "cost_per_seed": {
            str(count): {
                "updates_per_second_of_each": rates[f"seeds {count}"],
                "time_per_seed_relative_to_alone": round(ratio(alone, f"seeds {count}") / count, 3),
            }
            for count in options.seeds
        },
        "rounds": {name: [round(value, 2) for value in values] for name, values in measured.items()},
    }


def pixel_summary(options: Benchmark, measured: dict[str, list[float]]) -> dict:
    """What was measured of agents that see images."""
    return circumstances(options) | {
        "updates_per_second": {name: round(statistics.median(values), 3) for name, values in measured.items()},
        "update": pixel_costs(options),
        "rounds": {name: [round(value, 3) for value in values] for name, values in measured.items()},
    }


def update_gflop(options: Benchmark) -> float:
    """Products of one fused update, in 1e9 operations: forward 1, backward 2 (1 where only inputs need a gradient)."""
    width, depth, size, action = options.width, options.depth, SPEC.observation_size, SPEC.action_size

    def forward(inputs: int, outputs: int) -> int:
        return 2 * (inputs * width + (depth - 1) * width * width + width * outputs)

    field, refiner = forward(size + action + 1, action), forward(size + action, action)
    critic = 2 * forward(size + action, 1)
    solve = 2 * 10 * field
    temporal_difference = 3 * critic + critic + refiner
    refinement = 3 * refiner + 2 * critic
    return options.batch_size * (solve + temporal_difference + 3 * field + refinement) / 1e9


def counted_gflop(options: Benchmark, frozen: bool) -> float:
    """Operations of one update, in 1e9, as XLA counts them in the compiled program."""
    config = deflow.agent_config(width=options.width, depth=options.depth)
    learner = deflow.Learner.create(config, SPEC, key=jax.random.key(0))
    arrays, rest = eqx.partition(learner.freeze_field() if frozen else learner, eqx.is_array)
    batch = random_data(options.batch_size).on_device()

    def update(arrays):
        return eqx.filter(eqx.combine(arrays, rest).update(batch, key=jax.random.key(0))[0], eqx.is_array)

    return (jax.jit(update).lower(arrays).compile().cost_analysis() or {}).get("flops", float("nan")) / 1e9


if __name__ == "__main__":
    cli.run_plain(main, Benchmark, description=__doc__)

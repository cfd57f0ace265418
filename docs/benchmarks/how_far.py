"""The tables of docs/how-far.md, from what was measured in the files beside this one.

python docs/benchmarks/how_far.py
"""

import json
import pathlib

from deflow import Spec
from deflow.replay import written_bytes
from deflow.replay.placement import SHARE

SCALE, OFFLINE, ONLINE = (
    json.loads((pathlib.Path(__file__).parent / name).read_text())
    for name in ("scale-cpu.json", "cpu.json", "online-cpu.json")
)

CARDS = (24, 80, 141)
"""Memory of devices, in 1e9 bytes."""

LIMIT = 0.75
"""The part of a GPU that JAX takes, unless XLA_PYTHON_CLIENT_MEM_FRACTION says otherwise."""

FAMILIES = {
    "antmaze-large": (29, 8, 1000),
    "antmaze-giant": (29, 8, 1000),
    "humanoidmaze-medium": (69, 21, 2000),
    "humanoidmaze-large": (69, 21, 2000),
    "antsoccer-arena": (42, 8, 1000),
    "cube-single": (28, 5, 200),
    "cube-double": (37, 5, 500),
    "scene": (40, 5, 750),
    "puzzle-3x3": (55, 5, 500),
    "puzzle-4x4": (83, 5, 500),
}
"""OGBench's families of five tasks: observation size, action size and steps of the longest episode, which the first
screen of a training says."""

SEEDS, EPISODES, EVALUATIONS = 8, 50, 10
"""Of the protocol: seeds of a task, episodes of an evaluation, evaluations in a million updates."""

PARTS = {"learner": "the learner", "results": "the learner after the updates", "temporary": "temporary"}


def memory_of_a_seed():
    """What a seed takes on the device."""
    most = max(SCALE["options"]["seeds"])
    yield f"| MB for each seed, on the device | alone | {most} together |"
    yield "|---|---|---|"
    for name, found in SCALE["programs"].items():
        for part, words in PARTS.items():
            cells = (f"{found[str(count)][part] / count / 1e6:,.1f}" for count in (1, most))
            yield f"| {name}: {words} | {' | '.join(cells)} |"
        yield f"| **{name}** | {' | '.join(f'**{of_a_seed(name, count) / 1e6:,.1f}**' for count in (1, most))} |"


def of_a_seed(name, count):
    """Bytes of a seed on the device, of so many that are trained together."""
    return sum(SCALE["programs"][name][str(count)][part] for part in PARTS) / count


def memory_of_processes():
    """What processes take on the host."""
    process, rows = SCALE["process_bytes"], SCALE["options"]["rows"]
    yield "| GB on the host, at most so far | |"
    yield "|---|---|"
    yield f"| a process with a learner and {rows:,} transitions, before it compiles | {process['before'] / 1e9:.2f} |"
    for count in SCALE["options"]["seeds"]:
        yield f"| after it trained {count} seed{'s' * (count > 1)} on the CPU | {process[str(count)] / 1e9:.2f} |"
    yield f"| a worker process of an evaluation | {SCALE['evaluation']['worker_bytes'] / 1e9:.2f} |"


def data_that_fits():
    """Transitions that fit on a device, in millions."""
    states = {name: written_bytes(Spec((size,), action), 1) for name, (size, action, _) in FAMILIES.items()}
    proposals = SCALE["data"]["bytes_of_a_states_proposals"]
    bytes_of = {f"`{name}`": states[name] for name in ("cube-single", "humanoidmaze-large", "puzzle-4x4")}
    bytes_of["`cube-single`, and 16 proposals for each state"] = states["cube-single"] + proposals
    bytes_of["pixels 64 x 64 x 3, s and s' both stored"] = written_bytes(Spec((64, 64, 3), 5, "uint8"), 1)
    bytes_of["three such frames stacked, s and s' both stored"] = written_bytes(Spec((64, 64, 9), 5, "uint8"), 1)
    bytes_of["pixels 64 x 64 x 3, each frame stored once"] = 64 * 64 * 3 + 4 * (5 + 2)
    yield f"| millions of transitions | bytes of one | {' | '.join(f'{card} GB' for card in CARDS)} | 4 x 24 GB |"
    yield f"|---|---|{'---|' * len(CARDS)}---|"
    for name, size in bytes_of.items():
        room = (SHARE * LIMIT * 1e9 * card / size / 1e6 for card in (*CARDS, 4 * CARDS[0]))
        yield f"| {name} | {size:,} | {' | '.join(f'{million:,.2f}' for million in room)} |"


def seeds_that_fit():
    """Seeds that fit on a device beside a million transitions of cube-single."""
    most, data = max(SCALE["options"]["seeds"]), 1e6 * SCALE["data"]["bytes_of_a_transition"]
    table = 1e6 * SCALE["data"]["bytes_of_a_states_proposals"]
    yield f"| seeds beside 1M transitions | {' | '.join(f'{card} GB' for card in CARDS)} |"
    yield f"|---|{'---|' * len(CARDS)}"
    for words, name, own in (
        ("joint", "joint", 0),
        ("from 16 proposals that all share", "from proposals", 0),
        ("from 16 proposals of each seed's own flow", "from proposals", table),
    ):
        left = [LIMIT * 1e9 * card - data - (table if "share" in words else 0) for card in CARDS]
        yield f"| {words} | {' | '.join(f'{int(room / (of_a_seed(name, most) + own)):,}' for room in left)} |"


def cost_of_the_table():
    """What the paper's table takes, at the committed rates."""
    cores = OFFLINE["machine"]["cpu_count"]
    joint = OFFLINE["updates_per_second"]["float32"]
    proposed = OFFLINE["from_proposals"]["updates_per_second"]["proposals"]
    online = ONLINE["steps_per_second"]
    yield "| | tasks x seeds x steps | millions | per second | hours | core hours |"
    yield "|---|---|---|---|---|---|"
    for words, tasks, million, rate in (
        ("OGBench, states", 50, 1.0, joint),
        ("the same from 16 proposals, after the flow", 50, 1.0, proposed),
        ("D4RL", 18, 0.5, joint),
        ("the same from 16 proposals, after the flow", 18, 0.5, proposed),
        ("OGBench, pixels", 5, 0.5, None),
        ("offline to online, the online steps", 15, 1.0, online["overlapped"]),
        ("the same from 8 proposals", 15, 1.0, online["from proposals"]),
    ):
        total = tasks * SEEDS * million
        hours = total * 1e6 / rate / 3600 if rate else None
        cells = f"{rate} | {hours:,.0f} | {cores * hours:,.0f}" if hours else "not measured | | "
        yield f"| {words} | {tasks} x {SEEDS} x {million:g}M | {total:,.0f} | {cells} |"
    steps = 5 * SEEDS * EVALUATIONS * EPISODES * sum(longest for *_, longest in FAMILIES.values())
    rate = 1e3 / SCALE["evaluation"]["cpu_milliseconds_per_step"]
    yield (
        f"| evaluation of OGBench, states, at most | {SEEDS} x {EVALUATIONS} x {EPISODES} episodes of 50 tasks | "
        f"{steps / 1e6:,.0f} | {rate:,.0f} on a core | | {steps / rate / 3600:,.0f} |"
    )


def next_limits():
    """What evaluation and collection take, and at which rate of training an evaluation takes as long."""
    step = SCALE["evaluation"]["cpu_milliseconds_per_step"] / 1e3
    row = SCALE["collection"]["cpu_milliseconds_per_transition"] / 1e3
    yield "| | CPU time |"
    yield "|---|---|"
    yield f"| a step of an evaluation (`cube-single`, 4 x 512, one observation at a time) | {1e3 * step:.1f} ms |"
    yield f"| a collected transition (`cube-single`) | {1e3 * row:.1f} ms |"
    yield f"| a million of them | {1e6 * row / 60:.0f} min |"
    for longest in (200, 1000, 2000):
        spent = EPISODES * longest * step
        yield (
            f"| {EPISODES} episodes of {longest:,} steps | {spent:,.0f} s: on one core as long as 100,000 updates at "
            f"{100_000 / spent:,.0f}/s |"
        )


TABLES = (memory_of_a_seed, memory_of_processes, seeds_that_fit, data_that_fits, cost_of_the_table, next_limits)

if __name__ == "__main__":
    print("\n\n".join("\n".join(table()) for table in TABLES))

"""Trainings for `test_devices.py`, which runs this file as a process that sees several devices.

XLA_FLAGS=--xla_force_host_platform_device_count=4 python tests/several_devices.py FOLDER
"""

import json
import re
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from deflow import Devices, Learner, Spec, agent_config, draw_proposals, solvers, train_offline
from deflow.cli.device_options import dataset_facts
from deflow.replay import Dataset, placement
from deflow.runs import RunGroup
from deflow.session import Schedule, Session, TrainingState
from deflow.testing import example_data
from deflow.training.dataset import locate, offline_sources
from deflow.training.updates import FusedUpdates

SPEC = Spec(observation_shape=(3,), action_size=2)
DATA = example_data(SPEC, 30)
EIGHT = jnp.stack([jax.random.key(seed) for seed in range(8)])
SEEDS = EIGHT[:4]
FIFTY = example_data(SPEC, 50)  # a number that is no other size
BUDGETS = {"device": 10_000, "divided": 1_500, "host": 500}
"""Free bytes on a device: the fifty transitions take 2,000, and may take 0.6 of what is free."""
STEPS = 20
SIZE = 16


def learner(key, solver=solvers.Euler(steps=2)):
    config = agent_config(width=8, depth=1, solver=solver)
    return Learner.create(config, SPEC, DATA, learning_rate=1e-3, key=key)


def trained(key, devices, *, proposals=None, placement="auto"):
    """The learner after all steps, perhaps from each seed's own proposals, or from those of a flow that all share."""
    start, given = learner(key), {"placement": placement}
    if proposals:
        if proposals == "shared":
            start = start.with_behaviour(start.seed(0).agent)
        agents = start.agents[:1] if proposals == "shared" else start.agents
        drawn = [draw_proposals(agent, DATA, 3, key=jax.random.key(7), progress=False) for agent in agents]
        given |= {"proposals": drawn}
    *_, (_, after, metrics) = train_offline(
        start, DATA, steps=STEPS, key=key, batch_size=SIZE, updates_per_dispatch=10, devices=devices, **given
    )
    jax.block_until_ready(metrics)
    return after


OWN, SHARED, DIVIDED = {"proposals": "own"}, {"proposals": "shared"}, {"placement": "divided"}
CASES = {
    "seeds": (SEEDS, Devices(seeds="all"), {}),
    "batch": (SEEDS[0], Devices(batch="all"), {}),
    "seeds-with-divided-batches": (SEEDS, Devices(batch="all"), {}),
    "seeds-from-proposals": (SEEDS, Devices(seeds="all"), OWN),
    "seeds-from-proposals-on-the-host": (SEEDS, Devices(seeds="all"), {**OWN, "placement": "host"}),
    "batch-from-proposals": (SEEDS[0], Devices(batch="all"), OWN),
    "seeds-data-on-the-host": (SEEDS, Devices(seeds="all"), {"placement": "host"}),
    "seeds-divided-data": (SEEDS, Devices(seeds="all"), DIVIDED),
    "batch-divided-data": (SEEDS[0], Devices(batch="all"), DIVIDED),
    "seeds-from-proposals-divided-data": (SEEDS, Devices(seeds="all"), {**OWN, **DIVIDED}),
    "two-seeds-a-device-from-shared-proposals-divided": (SEEDS, Devices(seeds=2), {**SHARED, **DIVIDED}),
    "batch-from-proposals-divided": (SEEDS, Devices(batch="all"), {**OWN, **DIVIDED}),
}
"""Name -> the keys, the devices, and further arguments of `trained`."""


def numbers(learner):
    """Each seed's arrays, in order."""
    return [np.asarray(leaf) for agent in learner.agents for leaf in jax.tree.leaves(eqx.filter(agent, eqx.is_array))]


def continued(folder, steps, devices):
    """Goes on until `steps` with the runs in a folder, or with new ones, and saves there."""
    found = sorted(folder.rglob("config.json"))
    group = (
        RunGroup.open(found[0].parent)
        if found
        else RunGroup.create(folder, environment="e", algorithm="a", seeds=(0, 1, 2, 3), config={"recipe": "offline"})
    )

    def loop(state):
        return train_offline(
            state.learner, DATA, steps=steps, key=state.key, batch_size=SIZE, updates_per_dispatch=5, devices=devices
        )

    schedule = Schedule(log_every=5, eval_every=steps, save_every=5, episodes=1)
    with Session(group, schedule, None, threading.Event()) as session:
        state = session.begin(TrainingState(learner(SEEDS), SEEDS))
        begun = session.step
        end = session.follow(loop, state, last=steps, phase="test", one_by_one=loop)
    return begun, end.learner


def compiled(key, devices, *solver, divided=False):
    """The program of ten updates, as XLA made it."""
    start, layout = learner(key, *solver), devices.layout(len(key) if key.ndim else None, SIZE)
    updates = FusedUpdates(start, batch_size=SIZE, precision="float32", layout=layout)
    data = layout.divide(FIFTY.columns) if divided else DATA.columns
    source, (key,) = layout.source(Dataset(data)), layout.place([key])
    return updates.lowered(source, 10, key).compile()


NAMES = r"(all-reduce|all-gather|all-to-all|reduce-scatter|collective-permute|collective-broadcast)"


def collectives(program):
    """The names of the operations by which devices communicate."""
    return sorted(set(re.findall(rf"\b{NAMES}\b", program.as_text())))


def exchanges(program):
    """(name, sizes of its results, how many loops it is inside of) of each operation by which devices communicate; and
    how many loops are inside of each other."""
    bodies, entry = {}, None
    for line in program.as_text().splitlines():
        if begun := re.match(r"(ENTRY )?%?([\w.-]+) \(.*\{$", line):
            name = begun[2]
            bodies[name], entry = [], name if begun[1] else entry
        elif bodies:
            bodies[name].append(line)

    found, deepest = [], 0

    def look(name, depth):
        nonlocal deepest
        deepest = max(deepest, depth)
        for line in bodies[name]:
            if operation := re.search(rf" = (.*?) {NAMES}(-start)?\(", line):
                sizes = [int(size) for shape in re.findall(r"\[([\d,]+)\]", operation[1]) for size in shape.split(",")]
                found.append((operation[2], sizes, depth))
            for called in re.findall(r"(?:body|condition)=%?([\w.-]+)", line):
                look(called, depth + 1)
            for called in re.findall(r"(?:calls|to_apply)=%?([\w.-]+)", line):
                look(called, depth)

    look(entry, 0)
    return found, deepest


def lying(budget):
    """Where the data of a training lie if so many bytes are free on each device, and how many of theirs each holds."""
    placement.free_memory = lambda: budget
    agent, layout = learner(SEEDS).agent, Devices(seeds="all").layout(4, SIZE)
    sources = offline_sources(agent, FIFTY, None, layout=layout, placement="auto", batch_size=SIZE, key=SEEDS)
    held = dict.fromkeys(range(4), 0)
    for array in jax.tree.leaves(sources(0, 2)):
        for shard in array.addressable_shards:
            held[shard.device.id] += shard.data.nbytes
    options = SimpleNamespace(seeds=range(4), batch_size=SIZE, seed_devices="all", batch_devices=1, resume=None)
    said = dataset_facts(options, agent, SimpleNamespace(train=FIFTY), states=0, tables=0)["dataset"]
    return {"said": said, "size": locate(layout, agent, FIFTY).size, "held": list(held.values())}


def main(folder, names):
    said = {}
    for name in names:
        key, devices, given = {**CASES, "eight": (EIGHT, Devices(seeds="all"), {})}[name]
        after = trained(key, devices, **given)
        np.savez(folder / name, *numbers(after))
        leaf = jax.tree.leaves(eqx.filter(after.agent, eqx.is_inexact_array))[0]
        said[name] = len(leaf.sharding.device_set)
    if (folder / "of-one").exists():
        begun, after = continued(folder / "of-one", STEPS, Devices(seeds="all"))
        np.savez(folder / "continued", *numbers(after))
        continued(folder / "of-several", STEPS // 2, Devices(seeds="all"))
        said["begun"] = begun
        batch = compiled(SEEDS[0], Devices(batch="all"))
        seeds = compiled(
            SEEDS, Devices(seeds="all"), solvers.Dopri5()
        )  # whose loop ends when all of a program's seeds do
        said["collectives"] = {"seeds": collectives(seeds), "batch": collectives(batch)}
        said["exchanges"] = {
            "seeds": exchanges(compiled(SEEDS, Devices(seeds="all"), solvers.Dopri5(), divided=True)),
            "batch": exchanges(compiled(SEEDS[0], Devices(batch="all"), divided=True)),
        }
        said["lying"] = {name: lying(budget) for name, budget in BUDGETS.items()}
        onwards = FusedUpdates(after, batch_size=SIZE, precision="float32").learner
        said["gathered"] = len(onwards.step.sharding.device_set)
        said["work"] = batch.cost_analysis()["flops"]
    print(json.dumps(said))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:] or CASES)

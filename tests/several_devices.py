"""Trainings for `test_devices.py`, which runs this file as a process that sees several devices.

XLA_FLAGS=--xla_force_host_platform_device_count=4 python tests/several_devices.py FOLDER
"""

import json
import re
import sys
import threading
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from deflow import Devices, Learner, Spec, agent_config, draw_proposals, solvers, train_offline
from deflow.replay import Dataset
from deflow.runs import RunGroup
from deflow.session import Schedule, Session, TrainingState
from deflow.testing import example_data
from deflow.training.updates import FusedUpdates

SPEC = Spec(observation_shape=(3,), action_size=2)
DATA = example_data(SPEC, 30)
EIGHT = jnp.stack([jax.random.key(seed) for seed in range(8)])
SEEDS = EIGHT[:4]
STEPS = 20
SIZE = 16


def learner(key, solver=solvers.Euler(steps=2)):
    config = agent_config(width=8, depth=1, solver=solver)
    return Learner.create(config, SPEC, DATA, learning_rate=1e-3, key=key)


def trained(key, devices, *, placement=None):
    """The learner after all steps; with a `placement`, from each seed's own proposals."""
    start, given = learner(key), {}
    if placement:
        drawn = [draw_proposals(agent, DATA, 3, key=jax.random.key(7), progress=False) for agent in start.agents]
        given = {"proposals": drawn, "placement": placement}
    *_, (_, after, metrics) = train_offline(
        start, DATA, steps=STEPS, key=key, batch_size=SIZE, updates_per_dispatch=10, devices=devices, **given
    )
    jax.block_until_ready(metrics)
    return after


CASES = {
    "seeds": (SEEDS, Devices(seeds="all"), {}),
    "batch": (SEEDS[0], Devices(batch="all"), {}),
    "seeds-with-divided-batches": (SEEDS, Devices(batch="all"), {}),
    "seeds-from-proposals": (SEEDS, Devices(seeds="all"), {"placement": "device"}),
    "seeds-from-proposals-on-the-host": (SEEDS, Devices(seeds="all"), {"placement": "host"}),
    "batch-from-proposals": (SEEDS[0], Devices(batch="all"), {"placement": "device"}),
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


def compiled(key, devices, *solver):
    """The program of ten updates, as XLA made it."""
    start, layout = learner(key, *solver), devices.layout(len(key) if key.ndim else None, SIZE)
    updates = FusedUpdates(start, batch_size=SIZE, precision="float32", layout=layout)
    source, (key,) = layout.source(Dataset(DATA.columns)), layout.place([key])
    return updates._program.lower(updates._arrays, source, jnp.asarray(10), key).compile()


def collectives(program):
    """The names of the operations by which devices communicate."""
    names = r"\b(all-reduce|all-gather|all-to-all|reduce-scatter|collective-permute|collective-broadcast)\b"
    return sorted(set(re.findall(names, program.as_text())))


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
        onwards = FusedUpdates(after, batch_size=SIZE, precision="float32").learner
        said["gathered"] = len(onwards.step.sharding.device_set)
        said["work"] = batch.cost_analysis()["flops"]
    print(json.dumps(said))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:] or CASES)

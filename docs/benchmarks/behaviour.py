"""The rows of behaviour-50000.csv of one seed, as they come: a flow, and from it each training of docs/behaviour.md.

    taskset -c 0 python docs/benchmarks/behaviour.py 31 docs/benchmarks/behaviour-50000.csv

Trainings that are in the file are left out. The seconds are CPU time of the flow (but for `joint`), the proposals and
the updates, without evaluations.
"""

import csv
import sys
import time
from pathlib import Path

import jax

import deflow

TASK = "cube-single-play-singletask-task2-v0"
SIZES = {"width": 256, "depth": 3}
TRAININGS = {
    "from 16 proposals": 16,
    "from 4 proposals": 4,
    "from 1 proposal": 1,
    "joint": None,
    "joint from a trained flow": None,
    "frozen flow and fresh solves": None,
}
LEGS = {10_000: 300, 25_000: 100, 50_000: 300}
"""Updates of critic and refiner, and the episodes that are played after them."""


def flow(task, seed):
    """A flow trained alone, as by `--field-steps 60000`."""
    config, key = deflow.agent_config("flow-bc", **SIZES), jax.random.key(seed)
    start = deflow.Learner.create(config, task.spec, learning_rate=1e-3, decay_steps=60_000, key=key)
    *_, (_, learner, _) = deflow.train_offline(start, task.train, steps=60_000, key=key)
    return learner.agent


def begun(training, task, behaviour, key):
    """A learner before its first update of critic and refiner, and its proposals."""
    config = deflow.agent_config("deflow", settings=deflow.task_settings(TASK), **SIZES)
    learner = deflow.Learner.create(config, task.spec, task.train, key=key)
    if training == "joint":
        return learner, None
    learner = learner.with_behaviour(behaviour)
    if training == "joint from a trained flow":
        return learner.freeze_field(frozen=False), None
    count = TRAININGS[training]
    return learner, count and deflow.draw_proposals(behaviour, task.train, count=count, key=key)


def train(training, task, behaviour, seed, evaluator):
    """Trains, and yields a row after each leg."""
    key, spent = jax.random.key(seed), 0.0
    began = time.process_time()
    start, proposals = begun(training, task, behaviour, key)
    for step, learner, metrics in deflow.train_offline(
        start, task.train, steps=max(LEGS), key=key, proposals=proposals
    ):
        jax.block_until_ready(metrics)
        if step in LEGS:
            spent += time.process_time() - began
            found = evaluator(learner.agent, episodes=LEGS[step], seed=777).metrics()
            success, value = found["evaluation/success"], found["evaluation/episode.return"]
            yield [training, seed, step, LEGS[step], f"{success:.3g}", f"{value:.1f}"], spent
            began = time.process_time()


def main(seed, table):
    with open(table) as file:
        done = {row[0] for row in csv.reader(file) if row[1:4] == [str(seed), "50000", "300"]}
    task = deflow.load_task(TASK, deflow.Collected(rows=200_000))
    began = time.process_time()
    behaviour = flow(task, seed)
    alone = time.process_time() - began
    with deflow.Evaluator(TASK, workers=1) as evaluator:
        for training in TRAININGS:
            if training not in done:
                for row, seconds in train(training, task, behaviour, seed, evaluator):
                    with open(table, "a") as file:
                        csv.writer(file).writerow([*row, f"{seconds + alone * (training != 'joint'):.0f}"])


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))

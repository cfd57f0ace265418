"""Train an agent on logged data, then let it improve in its environment, with the same hyperparameters.

    python recipes/offline_to_online.py --budget quickstart
    python recipes/offline_to_online.py --from runs/cube-single-play-singletask-task2-v0/deflow/seed0-20260101-120000

With --from, the offline phase is an existing run.
"""

import deflow.workers.early_interrupt  # isort: split

import dataclasses
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import offline
import tyro

import deflow
from deflow import cli, replay, runs
from deflow.agent import resolve_bound_with_reason, restore_agent
from deflow.runs import load_learner
from deflow.session import Session, TrainingState, capture, resume
from deflow.workers import Interrupt, graceful_interrupts


@dataclasses.dataclass(frozen=True)
class OfflineToOnline(offline.Offline):
    """Options of the recipe: those of offline.py and of the online phase."""

    from_: Annotated[tuple[Path, ...], tyro.conf.arg(name="from", metavar="RUN", help_behavior_hint="")] = ()
    """Finished offline runs, one per seed, to start from instead of training offline."""

    online_steps: int = 1_000_000
    """Environment steps per seed."""

    environments: int = 1
    """Environments per seed, each in its own process; a single batched policy call serves them all."""

    updates_per_step: int = 1
    """Gradient updates per environment step."""

    warmup: int = 0
    """Initial environment steps with uniformly random actions."""

    update_after: int = 0
    """Environment steps before the first update."""

    sampling: replay.Sampling = "uniform"
    """uniform: one ring buffer that starts with the dataset; balanced: half of each batch from the dataset, half from
    online transitions."""

    capacity: int = 2_000_000
    """Slots of the ring, including the dataset's (balanced: slots for online transitions alone)."""

    placement: replay.Placement = "auto"
    """Where transitions are kept: on the device, on the host, or on the device if they fit (auto)."""

    freeze: Literal["none", "field"] = "none"
    """field: stop training the flow online, which also saves its computations. With --proposals or --behaviour, and
    after runs that were made with them, the flow is frozen anyway (after such runs, none trains it online)."""

    overlap: bool = True
    """Update while the environments step, unless a batch needs a transition still being made. Same results."""

    def __post_init__(self):
        super().__post_init__()
        for name, least in {
            **dict.fromkeys(("online_steps", "environments", "updates_per_step", "capacity"), 1),
            **dict.fromkeys(("warmup", "update_after"), 0),
        }.items():
            if getattr(self, name) < least:
                flag = name.replace("_", "-")
                raise ValueError(f"--{flag} must be at least {least}, got {getattr(self, name)}.")
        if self.online_steps % self.environments:
            raise ValueError(
                f"--online-steps must be a multiple of --environments, got {self.online_steps} and {self.environments}."
            )
        if self.from_ and (self.proposals or self.behaviour):
            raise ValueError(
                "With --from, the offline phase is there already: leave --proposals and --behaviour out, or --from."
            )
        if self.proposals or self.behaviour:
            object.__setattr__(self, "freeze", "field")  # it is recorded


QUICKSTART = OfflineToOnline(
    **{
        **{field.name: getattr(offline.QUICKSTART, field.name) for field in dataclasses.fields(offline.Offline)},
        "online_steps": 20_000,
        "episodes": 100,
        "eval_every": 8_000,
    }
)

MAY_CHANGE = offline.MAY_CHANGE - {"steps"} | {"online_steps", "overlap", "placement"}
"""Options that may change when a run is continued."""


def defaults(arguments: list[str]) -> tuple[OfflineToOnline, deflow.AgentConfig, str]:
    """As in offline.py; with --from, what those runs were made with."""
    options, config, algorithm = cli.suggested(
        arguments,
        OfflineToOnline,
        "offline_to_online",
        paper=OfflineToOnline(),
        quickstart=QUICKSTART,
        network=offline.QUICKSTART_NETWORK,
    )
    given = [deflow.Run.open(path) for path in cli.peek(arguments, "--from")]
    if not given:
        return options, config, algorithm
    return carried(options, given), restore_agent(given[0].config["agent"]), given[0].algorithm


def main(options: OfflineToOnline, config: deflow.AgentConfig, algorithm: str) -> None:
    """Offline as in offline.py, then online from there."""
    began = time.perf_counter()
    cli.check_unchanged(options, config, MAY_CHANGE)
    with cli.early_evaluator(options) as evaluator:
        task = offline.load(options, config)
        config, bound = resolve_bound_with_reason(config, task, workers=options.workers)
        replay.check_capacity(len(task.train), options.capacity, options.sampling)
        behaviours = cli.open_behaviours(options, config, task)
        start, step = TrainingState(*offline.fresh_learner(options, config, task)), 0
        taken = learned(options, config, task, start) if options.from_ and options.resume is None else None
        record = {"online_from": options.steps, **(behaviours.record if behaviours else {})}
        group = cli.open_runs(options, config, algorithm, task, start.learner, recipe="offline_to_online", **record)
        facts = cli.first_screen(options, task, start.learner, config, algorithm, group, bound, behaviours)
        cli.print_facts("DeFlow, offline to online", {**facts, **online_facts(options, task)})
        if options.from_ and not any(run.checkpoints.steps() for run in group.runs):
            start, step = taken or learned(options, config, task, start), options.steps
            take_over_logs(options, group)
        with graceful_interrupts() as interrupt:
            evaluator.check(interrupt)
            if behaviours is not None:
                start = offline.learn_behaviour(options, task, behaviours, start, group.runs[0], evaluator, interrupt)
            with Session(
                group, offline.schedule(options), evaluator, interrupt, held_out=offline.held_out(task)
            ) as session:
                state = session.begin(start, step)
                proposals = cli.propose(options, task, behaviours, session, state, interrupt)
                state = offline.train(options, task, session, state, proposals)
                if not session.interrupted:
                    interact(options, task, session, state, interrupt)
    cli.finish(session, seconds=time.perf_counter() - began)
    sys.exit(interrupt.code or session.code)


def interact(
    options: OfflineToOnline, task: deflow.Task, session: Session, state: TrainingState, interrupt: Interrupt
) -> TrainingState:
    """Act, keep, update, with the same learner, optimizer and multiplier; the session logs, evaluates and saves."""
    transitions = deflow.make_replay(
        state.learner.agent.with_returns(task.train),
        task.spec,
        seeds=state.learner.seeds,
        steps=options.online_steps,
        capacity=options.capacity,
        sampling=options.sampling,
        placement=options.placement,
    )
    with deflow.Actors(task, seeds=options.seeds, environments=options.environments, interrupt=interrupt) as actors:
        nothing = capture(transitions, actors)

        def rounds(state: TrainingState) -> Iterator[tuple[int, deflow.Learner, deflow.Metrics]]:
            if session.step < options.steps:  # gone back, past a damaged checkpoint of the switch
                raise deflow.errors.CheckpointError("No intact checkpoint of the online phase is left: resume the run.")
            resume(state.online or nothing, transitions, actors, inserted=session.step - options.steps)
            for made, learner, metrics in deflow.train_online(
                state.learner.freeze_field() if options.freeze == "field" else state.learner,
                transitions,
                actors,
                steps=options.online_steps,
                key=state.key,
                batch_size=options.batch_size,
                updates_per_step=options.updates_per_step,
                warmup=options.warmup,
                update_after=options.update_after,
                overlap=options.overlap,
                precision=options.precision,
            ):
                yield options.steps + made, learner, metrics

        return session.follow(
            rounds,
            state,
            last=options.steps + options.online_steps,
            phase="online",
            capture=lambda: capture(transitions, actors),
        )


# --- starting from runs that are there


def carried(options: OfflineToOnline, given: list[deflow.Run]) -> OfflineToOnline:
    """The options with the task, the data and the hyperparameters of these runs."""
    first = given[0]
    for run in given:
        if not run.checkpoints.steps():
            raise deflow.errors.RunError(f"{run.path} has no checkpoint to start from: train it first.")
        for what in ("agent", "environment", "learning_rate"):
            if run.config[what] != first.config[what]:
                raise ValueError(f"{first.path} and {run.path} differ in their {what}: start from runs of one kind.")
    data = first.config["data"]
    path = deflow.runs.find_data(first) if data["source"] == "user" else _found(first)
    folder = path.parent
    known = {
        "env": first.config["environment"]["name"],
        "success_timing": first.config["environment"]["success_timing"],
        "learning_rate": first.config["learning_rate"],
        "data": str(path) if data["source"] == "user" else data["source"],
        "rows": data["rows"],
        "data_seed": data["seed"] or 0,
        "data_dir": folder.parents[1 if data["source"] == "collected" else 0],
        "freeze": "field" if any(map(_is_frozen, given)) else options.freeze,
        "proposals": 0,
    }
    recorded = cli.restore_options(OfflineToOnline, first.config.get("options", {}))
    more = {name: getattr(recorded, name) for name in ("batch_size", "precision", "rows", "terminals")}
    return dataclasses.replace(
        options,
        **{**known, **(more if "options" in first.config else {})},
        from_=tuple(run.path for run in given),
        seeds=tuple(run.seed for run in given),
        steps=first.checkpoints.steps()[-1],
    )


def _is_frozen(run: deflow.Run) -> bool:
    """Whether the run's flow was trained before everything else, or frozen online."""
    return "behaviour" in run.config or run.config.get("options", {}).get("freeze") == "field"


def _found(run: deflow.Run) -> Path:
    """Where the run's data lies, or lay, if it must be collected or downloaded again."""
    try:
        return deflow.runs.find_data(run)
    except deflow.errors.DataError:
        return Path(run.config["data"]["path"])


def learned(
    options: OfflineToOnline, config: deflow.AgentConfig, task: deflow.Task, start: TrainingState
) -> TrainingState:
    """The state `start`, with what the runs given by --from have learned."""
    given = [deflow.Run.open(path) for path in options.from_]
    if options.seeds != tuple(run.seed for run in given):
        raise ValueError(f"--seeds must be those of the runs given by --from, got {' '.join(map(str, options.seeds))}.")
    learners = []
    for run in given:
        cli.check_data(run, task)
        if restore_agent(run.config["agent"]) != config:
            raise ValueError(f"The agent must be that of {run.path}: leave the flags of its parts out.")
        learner, step = load_learner(run)
        if step != options.steps:
            raise ValueError(f"{run.path} is at step {step:,}, not {options.steps:,}: start from runs of one length.")
        learners.append(learner.freeze_field(False))  # --freeze says whether it is
    return TrainingState(deflow.Learner.stack(learners) if len(learners) > 1 else learners[0], start.key)


def take_over_logs(options: OfflineToOnline, group: runs.RunGroup) -> None:
    """The logs of the runs given by --from are the beginning of the new ones."""
    for old, new in zip(options.from_, group.runs, strict=True):
        for name in ("train.csv", "eval.csv"):
            if (old / name).exists():
                shutil.copyfile(old / name, new.path / name)
        new.rewind(options.steps, "train")
        new.rewind(options.steps - 1, "eval")  # evaluated anew, with this recipe's episodes


def online_facts(options: OfflineToOnline, task: deflow.Task) -> dict[str, str]:
    """What the online phase is, and where its transitions lie."""
    seeds, slots = len(options.seeds), min(options.online_steps, options.capacity)
    size = f"{replay.replay_bytes(task.spec, len(task.train) + seeds * slots) / 1e9:.2f} GB"
    placement = f"on the {options.placement}"
    if options.placement == "auto":
        place = replay.choose_placement(len(task.train), task.spec, seeds * slots)
        placement = "on the device" if place == "device" else "on the host, since they do not fit on the device"
    frozen = ", the flow frozen" if options.freeze == "field" else ""
    return {
        "online": f"{options.online_steps:,} environment steps per seed in {options.environments} environment(s), "
        f"{options.updates_per_step} update(s) each{frozen}",
        "replay": f"{len(task.train):,} + {seeds} x {slots:,} transitions, {options.sampling}, {size} {placement}",
    }


if __name__ == "__main__":
    cli.run(main, defaults, program="recipes/offline_to_online.py", description=__doc__)

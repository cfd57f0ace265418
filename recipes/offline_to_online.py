"""Train an agent on logged data, then let it improve in its environment, with the same hyperparameters.

    python recipes/offline_to_online.py --budget quickstart
    python recipes/offline_to_online.py --from runs/cube-single-play-singletask-task2-v0/deflow/seed0-20260101-120000

With --from, the offline phase is an existing run.
"""

import deflow.workers.early_interrupt  # isort: split

import dataclasses
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
from deflow.behaviour.replay import proposals_bytes
from deflow.progress import working
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

    freeze: Literal["auto", "none", "field"] = "auto"
    """field: stop training the flow online, which also saves its computations; none: train it; auto: field after a
    behaviour that was learned first, else none."""

    refresh_every: int = 0
    """With --proposals: environment steps after which the flow is trained further on all transitions so far, and every
    proposal is drawn again. 0 never does."""

    refresh_updates: int = 10_000
    """Updates of the flow alone in a refresh."""

    overlap: bool = True
    """Update while the environments step, unless a batch needs a transition still being made. Same results."""

    def __post_init__(self):
        super().__post_init__()
        for name, least in {
            **dict.fromkeys(("online_steps", "environments", "updates_per_step", "capacity", "refresh_updates"), 1),
            **dict.fromkeys(("warmup", "update_after", "refresh_every"), 0),
        }.items():
            if getattr(self, name) < least:
                flag = name.replace("_", "-")
                raise ValueError(f"--{flag} must be at least {least}, got {getattr(self, name)}.")
        if self.online_steps % self.environments:
            raise ValueError(
                f"--online-steps must be a multiple of --environments, got {self.online_steps} and {self.environments}."
            )
        if self.freeze == "none" and (self.proposals or self.behaviour):
            raise ValueError(
                "--freeze none trains the flow online, and training from --proposals or a --behaviour keeps it frozen: "
                "give --proposals 0 and no --behaviour, or leave it out."
            )
        if self.refresh_every > self.online_steps:
            raise ValueError(
                f"--refresh-every must be at most the {self.online_steps} of --online-steps, got {self.refresh_every}."
            )

    @property
    def frozen(self) -> bool:
        """Whether the flow is frozen online."""
        return self.freeze == "field" or (self.freeze == "auto" and bool(self.proposals or self.behaviour))


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
    )
    given = [deflow.Run.open(path) for path in cli.peek(arguments, "--from")]
    if not given:
        return options, config, algorithm
    config = restore_agent(given[0].config["agent"])
    if options.budget == "quickstart":
        options = cli.fitting(options, config)
    return cli.carried(arguments, options, given), config, given[0].algorithm


def main(options: OfflineToOnline, config: deflow.AgentConfig, algorithm: str) -> None:
    """Offline as in offline.py, then online from there."""
    began = time.perf_counter()
    if options.refresh_every and not options.proposals:
        raise ValueError(
            "--refresh-every draws proposals again, and this training has none: train from --proposals K, without "
            "--freeze none, or leave it out."
        )
    if options.env == deflow.data.NO_ENVIRONMENT:
        raise ValueError(
            f"--env none leaves nothing to act in: give an environment, or train with {cli.command('offline')}."
        )
    runs.check_loggers(options.log)
    cli.check_unchanged(options, config, MAY_CHANGE)
    if options.from_ and options.resume is None:
        cli.check_carried(options)
    with cli.early_evaluator(options) as evaluator:
        cli.devices_of(options)  # too many are refused before any work
        task = offline.load(options, config)
        config, bound = resolve_bound_with_reason(config, task, workers=options.workers)
        chunks = replay.Chunks(config.chunk, config.discount, options.environments)
        replay.check_capacity(len(task.train), options.capacity, options.sampling, chunks)
        behaviours = cli.open_behaviours(options, config, task)
        start, step = TrainingState(*offline.fresh_learner(options, config, task)), 0
        taken = cli.learned(options, config, task, start) if options.from_ and options.resume is None else None
        record = {"online_from": options.steps, **(behaviours.record if behaviours else {})}
        group = cli.open_runs(options, config, algorithm, task, start.learner, recipe="offline_to_online", **record)
        facts = cli.first_screen(options, task, start.learner, config, algorithm, group, bound, behaviours)
        if options.from_:
            facts |= cli.carried_facts(options, behaviours, taken)
        cli.print_facts("DeFlow, offline to online", {**facts, **online_facts(options, config, task, behaviours)})
        if options.from_ and not any(run.checkpoints.steps() for run in group.runs):
            start, step = taken or cli.learned(options, config, task, start), options.steps
            cli.take_over_logs(options, group)
        with runs.locked(group), graceful_interrupts() as interrupt:
            if evaluator is not None:
                with working("making the environment"):
                    evaluator.check(interrupt)
            if behaviours is not None and not options.from_:
                start = offline.learn_behaviour(options, task, behaviours, start, group.runs[0], evaluator, interrupt)
            with Session(
                group, offline.schedule(options), evaluator, interrupt, held_out=offline.held_out(task, config)
            ) as session:
                state = session.begin(start, step)
                last = options.steps + options.online_steps
                proposals = cli.propose(options, task, behaviours, session, state, interrupt, last=last)
                state = offline.train(options, task, session, state, proposals)
                if not session.interrupted:
                    interact(options, task, session, state, proposals, interrupt)
    cli.finish(session, seconds=time.perf_counter() - began)
    sys.exit(interrupt.code or session.code)


def interact(
    options: OfflineToOnline,
    task: deflow.Task,
    session: Session,
    state: TrainingState,
    proposals: list[deflow.Proposals] | None,
    interrupt: Interrupt,
) -> TrainingState:
    """Act, keep, update, with the same learner, optimizer and multiplier; the session logs, evaluates and saves."""
    agent, seeds = state.learner.agent, state.learner.seeds
    settings = {"steps": options.online_steps, "capacity": options.capacity, "sampling": options.sampling}
    settings |= {"seeds": seeds, "placement": options.placement}
    if proposals is None:
        chunks = replay.Chunks(agent.chunk, agent.discount, options.environments)
        transitions = deflow.make_replay(agent.with_returns(task.train), task.spec, chunks=chunks, **settings)
    else:
        transitions = deflow.ProposedReplay(agent, task.train, proposals, environments=options.environments, **settings)
    with deflow.Actors(task, seeds=options.seeds, environments=options.environments, interrupt=interrupt) as actors:
        nothing = capture(transitions, actors)

        def rounds(state: TrainingState) -> Iterator[tuple[int, deflow.Learner, deflow.Metrics]]:
            if session.step < options.steps:  # gone back, past a damaged checkpoint of the switch
                raise deflow.errors.CheckpointError("No intact checkpoint of the online phase is left: resume the run.")
            if isinstance(transitions, deflow.ProposedReplay):
                transitions.follow(state.learner.agent)  # after a rollback, it may be an earlier flow
            resume(state.online or nothing, transitions, actors, inserted=session.step - options.steps)
            begun = dataclasses.replace(state.learner, decay_steps=None)  # a schedule ends with the offline phase
            for made, learner, metrics in deflow.train_online(
                begun.freeze_field() if options.frozen else begun,
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
                refresh_every=options.refresh_every,
                refresh_updates=options.refresh_updates,
            ):
                yield options.steps + made, learner, metrics

        return session.follow(
            rounds,
            state,
            last=options.steps + options.online_steps,
            phase="online",
            capture=lambda: capture(transitions, actors),
        )


def online_facts(
    options: OfflineToOnline, config: deflow.AgentConfig, task: deflow.Task, behaviours: cli.Behaviours | None
) -> dict[str, str]:
    """What the online phase is, and where its transitions lie."""
    seeds, slots = len(options.seeds), min(options.online_steps, options.capacity)
    needed = replay.dataset_bytes(task.train, task.spec) + replay.replay_bytes(task.spec, seeds * slots)
    needed += replay.chunk_bytes(len(task.train), task.spec, config.chunk)
    if options.proposals and behaviours is not None:
        states = len(behaviours.runs) * len(deflow.behaviour.States.of(task.train))
        size = config.chunk * task.spec.action_size
        needed += proposals_bytes(options.proposals, size, states=states, online=seeds * slots)
    size = cli.bytes_in_words(needed)
    placement = f"on the {options.placement}"
    if options.placement == "auto":
        place = replay.choose_placement(needed)
        placement = "on the device" if place == "device" else "on the host, since they do not fit on the device"
    frozen = ", the flow frozen" if options.frozen else ""
    frozen += f", {options.proposals} proposals for each new state" if options.proposals else ""
    facts = {
        "online": f"{options.online_steps:,} environment steps per seed in {options.environments} environment(s), "
        f"{options.updates_per_step} update(s) each{frozen}",
        "replay": f"{len(task.train):,} + {seeds} x {slots:,} transitions, {options.sampling}, {size} {placement}",
    }
    if options.refresh_every:
        facts["refresh"] = (
            f"every {options.refresh_every:,} environment steps: {options.refresh_updates:,} updates of the flow, "
            "and all proposals anew"
        )
    return facts


if __name__ == "__main__":
    cli.run(main, defaults, description=__doc__)

"""Where online training begins: finished offline runs, given by `--from` instead of an offline phase."""

import dataclasses
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..agent import AgentConfig, restore_agent
from ..data import RECORDED_ENVIRONMENT, Columns, RewardScale, Task
from ..environments import Environment
from ..errors import DataError, RunError, UsageError
from ..runs import HostsGroup, Run, RunGroup, find_data, load_learner
from ..session import TrainingState
from ..training import Learner
from .arguments import peek
from .behaviours import Behaviours, behaviour_of
from .resuming import check_data, restore_options

CARRIED = ("batch_size", "precision", "rows", "terminals")
"""Options of the runs that hold on, besides those that are read from the rest of their descriptions."""


def carried(arguments: list[str], options: Any, given: Sequence[Run]) -> Any:
    """The options with the task, the data, the hyperparameters and the behaviours of the runs given by --from.

    Raises:
        UsageError: If the arguments choose a behaviour of their own.
        ValueError: If the runs are of different kinds.
        RunError: If a run has no checkpoint.
    """
    first = given[0]
    for flag in ("--proposals", "--behaviour"):
        if peek(arguments, flag):
            raise UsageError(
                f"With --from, the flow is that of the runs, with the proposals that they were trained from: leave "
                f"{flag} out, or --from."
            )
    for run in given:
        if not run.checkpoints.steps():
            raise RunError(f"{run.path} has no checkpoint to start from: train it first.")
        if run.config["environment"] is None:
            raise ValueError(f"{run.path} was trained on data alone, so there is no environment to go on in.")
        for what in ("agent", "environment", "learning_rate", "rewards"):
            if _recorded(run, what) != _recorded(first, what):
                raise ValueError(f"{first.path} and {run.path} differ in their {what}: start from runs of one kind.")
        if _proposals(run) != _proposals(first):
            raise ValueError(f"{first.path} and {run.path} differ in their proposals: start from runs of one kind.")
    if len({run.seed for run in given}) < len(given):
        seeds = " ".join(str(run.seed) for run in given)
        raise ValueError(f"The runs given by --from are of the seeds {seeds}: give each seed once.")
    data = first.config["data"]
    path = find_data(first) if data["source"] == "user" else _found(first)
    known, environment = {"rows": data["rows"]}, first.config["environment"]
    if "options" in first.config:
        recorded = restore_options(type(options), first.config["options"])
        known = {name: getattr(recorded, name) for name in CARRIED}
    return dataclasses.replace(
        options,
        env=RECORDED_ENVIRONMENT if environment.get("named_by") else environment["name"],
        success_timing=environment["success_timing"],
        frame_stack=environment.get("frame_stack"),
        learning_rate=first.config["learning_rate"],
        data=str(path) if data["source"] == "user" else data["source"],
        data_seed=data["seed"] or 0,
        reader=data.get("reader") if data["source"] == "user" else None,
        columns=Columns.restore(data.get("columns", {})),
        **{f"reward_{name}": value for name, value in first.config.get("rewards", {}).items()},
        data_dir=path.parent.parents[1 if data["source"] == "collected" else 0],
        from_=tuple(run.path for run in given),
        seeds=tuple(run.seed for run in given),
        steps=first.checkpoints.steps()[-1],
        **known,
        **_flow(given, trained=peek(arguments, "--freeze")[-1:] == ["none"], otherwise=options.freeze),
    )


def check_carried(options: Any) -> None:
    """Refuse flags that contradict the runs given by --from, before any work.

    Raises:
        ValueError: If a flag says otherwise than the runs.
    """
    for run in map(Run.open, options.from_):
        made = run.checkpoints.steps()[-1]
        if made != options.steps:
            raise ValueError(
                f"--steps is the number of offline updates, of which {run.path} has made {made:,}, got "
                f"{options.steps:,}: leave it out, and start from runs of one length."
            )
        if run.config["learning_rate"] != options.learning_rate:
            raise ValueError(
                f"The learning rate is that of {run.path}, {run.config['learning_rate']:g}, got "
                f"{options.learning_rate:g}: leave --learning-rate out."
            )
        rewards = RewardScale(**run.config.get("rewards", {}))
        if rewards != options.rewards:
            raise ValueError(
                f"{run.path} learned from rewards {rewards}, got {options.rewards}: leave --reward-scale and "
                "--reward-shift out."
            )


def carried_facts(options: Any, behaviours: Behaviours | None, start: TrainingState | None) -> dict[str, str]:
    """Lines of the first screen: with what online training begins, in place of an offline phase."""
    runs = "\n".join(map(str, options.from_))
    facts = {"training": f"online alone, from the agents at step {options.steps:,} and the dataset of\n{runs}"}
    if behaviours is not None and start is not None and behaviours.refreshed(start.learner):
        facts["behaviour"] = "the flow of these runs, which was refreshed since it was learned alone"
        facts["proposals"] = f"{options.proposals} for each state, drawn in memory"
    return facts


def learned(options: Any, config: AgentConfig, task: Task, start: TrainingState) -> TrainingState:
    """The state `start`, with what the runs given by --from have learned.

    Raises:
        ValueError: If they are of other seeds, data, parts or lengths.
    """
    given = [Run.open(path) for path in options.from_]
    if options.seeds != tuple(run.seed for run in given):
        raise ValueError(f"--seeds must be those of the runs given by --from, got {' '.join(map(str, options.seeds))}.")
    learners = []
    for run in given:
        check_data(run, task)
        if restore_agent(run.config["agent"]) != config:
            raise ValueError(f"The agent must be that of {run.path}: leave the flags of its parts out.")
        learner, step = load_learner(run)
        if step != options.steps:  # the newest checkpoint is damaged
            raise ValueError(f"{run.path} is at step {step:,}, not {options.steps:,}: start from runs of one length.")
        learners.append(learner.freeze_field(False))  # --freeze says whether it is
    return TrainingState(Learner.stack(learners) if len(learners) > 1 else learners[0], start.key)


def take_over_logs(options: Any, group: RunGroup | HostsGroup) -> None:
    """The logs of the runs given by --from are the beginning of the new ones."""
    for old, new in zip(options.from_, group.runs, strict=True):
        for name in ("train.csv", "eval.csv"):
            if (old / name).exists():
                shutil.copyfile(old / name, new.path / name)
        new.rewind(options.steps, "train")
        new.rewind(options.steps - 1, "eval")  # evaluated anew, with this recipe's episodes


def _recorded(run: Run, what: str) -> Any:
    """What the run's description says; an environment with this version's defaults for what it does not say."""
    value = run.config.get(what)
    return Environment(**value) if what == "environment" and value is not None else value


def _proposals(run: Run) -> int:
    """From how many proposals for a state the run was trained; 0 if an ODE was solved in every update."""
    return run.config.get("options", {}).get("proposals", 0)


def _flow(given: Sequence[Run], *, trained: bool, otherwise: str) -> dict[str, Any]:
    """The options that say what becomes of the runs' flow."""
    fresh = {"proposals": 0, "behaviour": ()}
    if trained or not any(map(_is_frozen, given)):
        return {**fresh, "freeze": "none" if trained else otherwise}
    if not _proposals(given[0]):
        return {**fresh, "freeze": "field"}
    behaviour = tuple(behaviour_of(run).path for run in given)
    return {
        "proposals": _proposals(given[0]),
        "behaviour": behaviour[:1] if len(set(behaviour)) == 1 else behaviour,
        "freeze": "field",
    }


def _is_frozen(run: Run) -> bool:
    """Whether the run's flow was trained before everything else, or frozen online."""
    return "behaviour" in run.config or run.config.get("options", {}).get("freeze") == "field"


def _found(run: Run) -> Path:
    """Where the run's data lies, or lay, if it must be collected or downloaded again."""
    try:
        return find_data(run)
    except DataError:
        return Path(run.config["data"]["path"])

"""Measure how many updates a multiplier needs to settle when it starts 10 times too large or 10 times too small.

    python recipes/settling_time.py RUN --updates 12000

RUN is a finished run with a learned refiner. From its last checkpoint, training continues under `pid` until the mean
size is at the bound, which shows what the multiplier should be. From there it continues once per constraint and start,
with the multiplier moved and everything else (Adam's averages too) unchanged. The multiplier has settled when from then
on the mean size over every window stays within the tolerance of the bound.
"""

import deflow.workers.early_interrupt  # isort: split

import dataclasses
import json
import math
from pathlib import Path
from typing import Annotated, Any

import equinox as eqx
import jax
import matplotlib.figure
import numpy as np
import tyro

import deflow
from deflow import cli, constraints, refiners
from deflow.agent import restore_agent
from deflow.progress import Bar
from deflow.runs import load_learner

STARTS = (10.0, 0.1)
"""Factors of the settled multiplier at the start."""


@dataclasses.dataclass(frozen=True)
class SettlingTime:
    """Options of the measurement."""

    run: Annotated[Path, tyro.conf.Positional]
    """The run's directory."""

    updates: int = 12_000
    """Updates after each start."""

    window: int = 100
    """Updates over which the size is averaged."""

    tolerance: float = 0.1
    """Relative distance from the bound that counts as settled."""

    speed: float = 30.0
    """Speed of the faster `dual`."""

    reference: int = 4_000
    """Updates under `pid` beforehand; the last quarter shows what the multiplier should be."""

    data_dir: Path | None = None
    """Data directory (default: where the run's data was)."""

    output: Path = Path("settling.json")
    """File for the measurements; the picture is written beside it."""

    def __post_init__(self):
        for name in ("updates", "window", "reference"):
            if getattr(self, name) < 1:
                raise ValueError(f"--{name} must be at least 1, got {getattr(self, name)}.")
        if not 0 < self.tolerance < 1:
            raise ValueError(f"--tolerance must be between 0 and 1, got {self.tolerance}.")


def main(options: SettlingTime) -> None:
    """Loads the run, moves the multiplier, trains on, and prints when it had settled."""
    run = deflow.Run.open(options.run)
    learner, step = load_learner(run)
    config = restore_agent(run.config["agent"])
    if not isinstance(learner.agent.refiner, refiners.AbstractLearnedRefiner):
        raise ValueError(
            f"{run.path} has no refiner that is trained, so that no multiplier holds it: take another run."
        )
    data = deflow.runs.recorded_task(run, data_dir=options.data_dir).train

    begun = constraints.PIDConstraintConfig(initial_log_multiplier=math.log(max(multiplier_of(learner), 1e-3)))
    learner = with_constraint(learner, dataclasses.replace(config, constraint=begun))
    learner, usual = train(learner, data, options.reference, options.window, "pid, until settled")
    settled = math.log(float(np.mean(usual["multiplier"][-(-len(usual["multiplier"]) * 3 // 4) :])))
    bound = learner.agent.trust_region.limit
    curves = {}
    for name, constraint in {
        "dual": constraints.DualConstraintConfig(),
        f"dual, speed {options.speed:g}": constraints.DualConstraintConfig(speed=options.speed),
        "pid": constraints.PIDConstraintConfig(),
    }.items():
        for start in STARTS:
            begun = dataclasses.replace(constraint, initial_log_multiplier=settled + math.log(start))
            moved = with_constraint(learner, dataclasses.replace(config, constraint=begun))
            label = f"{name}, from {start:g} x"
            _, curves[label] = train(moved, data, options.updates, options.window, label)
    times = {label: settling_time(curve["size"], bound, options) for label, curve in curves.items()}
    publish(options, run, step, math.exp(settled), bound, times, curves)


def multiplier_of(learner: deflow.Learner) -> float:
    """The current factor of the size."""
    return float(learner.agent.constraint.multiplier())


def with_constraint(learner: deflow.Learner, config: deflow.AgentConfig) -> deflow.Learner:
    """The learner with a new constraint; Adam's averages of everything else are kept."""
    spec, rate = learner.agent.spec, learner.learning_rate
    nothing = config.placeholder_data(spec)  # nothing that is fitted to data is kept
    fresh = deflow.Learner.create(config, spec, nothing, learning_rate=rate, key=jax.random.key(0))

    def is_agent(node: Any) -> bool:
        return isinstance(node, deflow.Agent)

    def kept(old: Any, new: Any) -> Any:
        """Keeps counts, and the averages (trees like the agent) of all but the constraint."""
        if not is_agent(old):
            return old
        parts = [old.field, old.refiner, old.critic]
        return eqx.tree_at(lambda agent: [agent.field, agent.refiner, agent.critic], new, parts)

    state = jax.tree.map(kept, learner.optimizer_state, fresh.optimizer_state, is_leaf=is_agent)
    agent = dataclasses.replace(learner.agent, constraint=fresh.agent.constraint)
    return dataclasses.replace(learner, agent=agent, optimizer_state=state)


def train(
    learner: deflow.Learner, data: deflow.Batch, updates: int, window: int, label: str
) -> tuple[deflow.Learner, dict[str, np.ndarray]]:
    """The learner after this many further updates, and the mean size and multiplier in each window."""
    begin, after = int(learner.step), learner
    loop = deflow.train_offline(
        learner, data, steps=begin + updates, key=jax.random.key(0), updates_per_dispatch=window
    )
    rows = []
    with Bar(total=updates, desc=label, unit="update") as bar:
        for step, current, metrics in loop:
            after = current
            rows.append([float(metrics["size"]), float(metrics["multiplier"])])
            bar.update(step - begin - bar.n)
    size, multiplier = np.asarray(rows).T
    return after, {"size": size, "multiplier": multiplier}


def settling_time(sizes: np.ndarray, bound: float, options: SettlingTime) -> int | None:
    """Updates after which every window's mean is within the tolerance; None if the last one's is not."""
    outside = np.flatnonzero(np.abs(sizes / bound - 1) > options.tolerance)
    if len(outside) == 0:
        return 0
    return None if outside[-1] == len(sizes) - 1 else int(outside[-1] + 1) * options.window


def publish(
    options: SettlingTime,
    run: deflow.Run,
    step: int,
    multiplier: float,
    bound: float,
    times: dict[str, int | None],
    curves: dict[str, dict[str, np.ndarray]],
) -> None:
    """Prints the times, and writes them and the curves."""
    cli.say(f"{run.path} from step {step:,}: settled multiplier {multiplier:.3g}, bound {bound:g}")
    for label, time in times.items():
        cli.say(f"  {label}: {'not settled' if time is None else f'{time:,} updates'}")
    chosen = {k: v for k, v in dataclasses.asdict(options).items() if k not in ("run", "output", "data_dir")}
    options.output.parent.mkdir(parents=True, exist_ok=True)
    rounded = {label: {k: [float(f"{x:.4g}") for x in v] for k, v in curve.items()} for label, curve in curves.items()}
    whole = {"options": chosen, "step": step, "multiplier": multiplier, "bound": bound, "settled": times}
    options.output.write_text(json.dumps({**whole, "curves": rounded}) + "\n")
    picture = options.output.with_suffix(".png")
    draw(options, bound, multiplier, curves).savefig(picture, dpi=110)
    cli.say(f"Measured: {options.output}", f"Picture: {picture}")


def draw(
    options: SettlingTime, bound: float, multiplier: float, curves: dict[str, dict[str, np.ndarray]]
) -> matplotlib.figure.Figure:
    """Sizes above multipliers, both against updates."""
    figure = matplotlib.figure.Figure(figsize=(8, 6), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    for index, (label, curve) in enumerate(curves.items()):
        updates = options.window * (1 + np.arange(len(curve["size"])))
        style = {"color": f"C{index // 2}", "linestyle": "-" if index % 2 == 0 else "--", "label": label}
        above.plot(updates, curve["size"] / bound, **style)
        below.plot(updates, curve["multiplier"] / multiplier, **style)
    above.axhspan(1 - options.tolerance, 1 + options.tolerance, color="0.9", zorder=0)
    above.set(ylabel="mean size / bound", yscale="log")
    below.set(ylabel="multiplier / settled", yscale="log", xlabel="updates since the multiplier was moved")
    below.legend(fontsize=8, ncols=2)
    return figure


if __name__ == "__main__":
    cli.run_plain(main, SettlingTime, description=__doc__)

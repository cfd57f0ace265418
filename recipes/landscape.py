"""Draw what a trained policy does at one state: the value of actions, the flow's proposals, the refiner's moves.

python recipes/landscape.py runs/cube-single-play-singletask-task2-v0/deflow/seed0-20260101-120000 --step best

The state is the one, among a sample of the data's, where refinement gains the most value within the bound. If the data
is gone, it is the first state of an episode.
"""

import deflow.workers.early_interrupt  # isort: split

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import tyro

import deflow
from deflow import cli, report
from deflow.keys import check_seeds

SAMPLE = 256
"""States of the data among which one is chosen."""

GRID = 121
"""Points along each side of a frame."""


@dataclasses.dataclass(frozen=True)
class Landscape:
    """Options of the recipe."""

    run: Annotated[Path, tyro.conf.Positional]
    """The run's directory."""

    step: int | Literal["best"] | None = None
    """Which checkpoint: that of a step, or the best by success (default: the newest intact one)."""

    observation: int | Literal["reset"] | None = None
    """Row of the dataset, or an episode's first state (default: the row, among a sample, with the largest gain in
    value within the bound)."""

    proposals: int = 64
    """Number of actions that the flow proposes."""

    dimensions: tuple[int, int] | None = None
    """The two dimensions of the action to draw (default: those with the largest displacements). In a chunk, those of
    its actions follow each other, and the default is among the actions that are executed."""

    seed: int = 0
    """Seed of the noise, the sample and the episode."""

    output: Path = Path("landscape.png")
    """File of the picture."""

    data_dir: Path | None = None
    """Data directory (default: where the run's data was)."""

    import_: cli.Import = ()
    """Python files with your own parts that the run was trained with, which are run first."""

    def __post_init__(self):
        check_seeds("--seed", self.seed)
        if self.proposals < 1:
            raise ValueError(f"--proposals must be at least 1, got {self.proposals}.")


def main(options: Landscape) -> None:
    """Load the agent, choose the state, ask the agent, draw."""
    run = cli.open_run(options.run, options.import_)
    agent = deflow.load(run, step=options.step).agent
    if isinstance(agent.critic, deflow.critics.NoCritic):
        raise ValueError(f"{run.path} has the critic 'none', so there is no value to draw: choose a run with a critic.")
    check_dimensions(options.dimensions, agent.action_size)
    observation, data_action, where = state(options, run, agent)
    landscape = explain(agent, observation, data_action, options)
    picture = report.landscape_figure(
        landscape,
        options.output,
        title=f"{run.algorithm} on {run.environment}   ·   {where}",
        subtitles=(
            "value with the other dimensions at the mean action",
            "value with the others at this action's; region with the others unmoved",
        )
        if agent.action_size > 2
        else ("", ""),
    )
    if np.isfinite(landscape.bound):
        cli.say(f"Displacements of mean size {landscape.size:.2g} at this state; the bound is {landscape.bound:g}.")
    cli.say(f"{run.path}: {where}, {' and '.join(landscape.names)}")
    cli.say(f"Picture: {picture}")


# --- the state


def state(options: Landscape, run: deflow.Run, agent: deflow.Agent) -> tuple[np.ndarray, np.ndarray | None, str]:
    """An observation, the data's action there if it is of the data, and which one it is in words."""
    described = run.config["environment"]
    try:
        deflow.runs.find_data(run, data_dir=options.data_dir)
        lost = False
    except deflow.errors.DataError:
        lost = True
    if options.observation == "reset" or (options.observation is None and lost):
        if described is None:
            raise ValueError(f"{run.path} was trained on data alone: give --observation the number of a row.")
        made = deflow.Environment(**described).make()
        observation, _ = made.reset(seed=options.seed)
        made.close()
        gone = "" if options.observation == "reset" else " (the data is not there)"
        return observation, None, f"an episode's first state, seed {options.seed}{gone}"
    task = deflow.runs.recorded_task(run, data_dir=options.data_dir)
    row = best_row(agent, task.train, options) if options.observation is None else int(options.observation)
    if not 0 <= row < len(task.train):
        raise ValueError(f"--observation must be a row of the data, 0 to {len(task.train) - 1}, got {row}.")
    whole = row in agent.rows(task.train)[0]
    action = np.asarray(task.train.action[row : row + agent.chunk]).ravel() if whole else None
    return np.asarray(task.train.observation[row]), action, f"row {row:,} of the data"


def best_row(agent: deflow.Agent, data: deflow.Batch, options: Landscape) -> int:
    """Of a sample of rows, the one where refining gains most value within the bound, or where none is, at all.

    (A multiplier holds the bound on average: at some states displacements are much larger.)
    """
    rows = np.random.default_rng(options.seed).choice(len(data), min(SAMPLE, len(data)), replace=False)

    def gain(observation):
        proposals, actions = agent.proposals_and_actions(observation, 16, key=jax.random.key(options.seed))
        values = jax.vmap(lambda action: agent.critic.value(observation, action))
        sizes = jax.vmap(lambda displacement: region_of(agent).size(displacement, observation))
        return jnp.mean(values(actions) - values(proposals)), jnp.mean(sizes(actions - proposals))

    found = jax.jit(lambda states: jax.lax.map(gain, states, batch_size=32))(jnp.asarray(data.observation[rows]))
    gains, sizes = map(np.asarray, found)
    inside = sizes <= region_of(agent).limit
    return int(rows[np.argmax(np.where(inside, gains, -np.inf) if inside.any() else gains)])


# --- what the agent says


def explain(
    agent: deflow.Agent, observation: np.ndarray, data_action: np.ndarray | None, options: Landscape
) -> report.Landscape:
    """Proposals, actions, values and sizes as arrays."""
    noise = jax.random.key(options.seed)
    values = eqx.filter_jit(jax.vmap(lambda action: agent.critic.value(observation, action)))
    sizes = eqx.filter_jit(jax.vmap(lambda displacement: region_of(agent).size(displacement, observation)))
    made = eqx.filter_jit(agent.proposals_and_actions)(observation, options.proposals, key=noise)
    proposals, actions = map(np.asarray, made)
    moves = actions - proposals
    executed = max(agent.execute * agent.spec.action_size, 2)
    chosen = moves if np.any(np.abs(moves[:, :executed]) > 1e-6) else proposals
    dimensions = options.dimensions or most_moved(chosen[:, :executed])
    columns = list(dimensions)

    def grid(center: np.ndarray, middle: np.ndarray, half: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Both axes around `middle`, and the actions there: elsewhere they are `center`."""
        across, up = (np.linspace(middle[i] - half, middle[i] + half, GRID, dtype=np.float32) for i in (0, 1))
        points = np.tile(center.astype(np.float32), (GRID * GRID, 1))
        points[:, columns] = np.stack(np.meshgrid(across, up), axis=-1).reshape(-1, 2)
        return across, up, points

    def shown(across: np.ndarray, up: np.ndarray, points: np.ndarray) -> report.Slice:
        return report.Slice(across, up, np.asarray(values(points)).reshape(GRID, GRID))

    marked = int(np.argmax(np.linalg.norm(moves[:, columns], axis=1)))
    start, end = proposals[marked], actions[marked]
    reach = max(region_reach(agent, sizes, columns), float(np.abs(end - start)[columns].max()), 0.02)
    window = grid(end, start[columns], 1.35 * reach)
    overview = shown(*grid(actions.mean(axis=0), np.zeros(2), 1.05))  # all actions: [-1, 1] with a margin

    displacements = np.where(np.isin(np.arange(len(start)), columns), window[2] - start, 0).astype(np.float32)
    mean_size = float(np.mean(sizes(moves)))
    scores = eqx.filter_jit(jax.vmap(lambda action: agent.critic.score(observation, action)))
    return report.Landscape(
        dimensions=dimensions,
        names=(name_of(agent, dimensions[0]), name_of(agent, dimensions[1])),
        proposals=proposals,
        actions=actions,
        overview=overview,
        marked=marked,
        close_up=shown(*window),
        sizes=np.asarray(sizes(displacements)).reshape(GRID, GRID),
        size=mean_size,
        bound=float(region_of(agent).limit),
        data_action=data_action,
        best=int(np.argmax(scores(actions[: agent.candidates]))) if agent.candidates > 1 else None,
    )


def region_of(agent: deflow.Agent) -> deflow.trust_regions.AbstractTrustRegion:
    """The region around a proposal. Where the flow measures each action with its noise, there is none to draw."""
    region = agent.trust_region
    drawn = isinstance(region, deflow.trust_regions.AbstractTrustRegion)
    return region if drawn else deflow.trust_regions.NoTrustRegion()


def most_moved(moves: np.ndarray) -> tuple[int, int]:
    """The two dimensions that differ most, in order."""
    first, second = sorted(np.argsort(moves.std(axis=0) + np.abs(moves.mean(axis=0)))[-2:].tolist())
    return first, second


def name_of(agent: deflow.Agent, dimension: int) -> str:
    """What a dimension is called: of a chunk, which of its actions it belongs to."""
    action, own = divmod(dimension, agent.spec.action_size)
    return f"action dimension {own}" if agent.chunk == 1 else f"dimension {own} of the chunk's action {action + 1}"


def region_reach(agent: deflow.Agent, sizes, columns: list[int]) -> float:
    """How far the trust region reaches along either of the two dimensions, at most 1."""
    limit = region_of(agent).limit
    if not np.isfinite(limit):
        return 0.0
    radii = np.geomspace(1e-3, 1.0, 200, dtype=np.float32)
    axes = np.eye(agent.action_size, dtype=np.float32)[columns]
    inside = [np.asarray(sizes(radii[:, None] * axis)) <= limit for axis in axes]
    return float(radii[np.any(inside, axis=0)].max(initial=0.0))


def check_dimensions(dimensions: tuple[int, int] | None, size: int) -> None:
    """Refuses what are not two dimensions of the action."""
    if size < 2:
        raise ValueError(f"A landscape shows two dimensions, but the task's actions have {size}: choose another task.")
    if dimensions is not None and (len(set(dimensions)) < 2 or not all(0 <= i < size for i in dimensions)):
        raise ValueError(f"--dimensions must be two different numbers from 0 to {size - 1}, got {dimensions}.")


if __name__ == "__main__":
    cli.run_plain(main, Landscape, description=__doc__)

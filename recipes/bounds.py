"""Map the trust region's bound: train a grid of bounds and seeds from one behaviour, and compare them.

    python recipes/bounds.py --budget quickstart --bounds 0.0003 0.001 0.003 --seeds 0 1 2
    python recipes/bounds.py --budget quickstart --bounds auto 0.01 --proposals 8 --behaviour RUN

Ends with a table, bounds.csv and bounds.png. Interrupted or killed, the same command goes on where it was. ALGORITHM
and all other flags are those of offline.py; every cell of the grid is an ordinary run of it.
"""

import deflow.workers.early_interrupt  # isort: split

import dataclasses
import math
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import offline

import deflow
from deflow import cli, runs
from deflow.agent import automatic_bound, check_varied_bound, published_bound, task_settings, with_bound
from deflow.behaviour import behaviour_digest
from deflow.errors import ReportError
from deflow.runs import load_learner
from deflow.runs.atomic_files import write_text
from deflow.session import Session, TrainingState
from deflow.workers import Interrupt, graceful_interrupts

FACTORS = (0.1, 0.3, 1.0, 3.0, 10.0)
"""The default bounds, as factors of the published one."""


@dataclasses.dataclass(frozen=True)
class Bounds(offline.Offline):
    """Options of the recipe: those of offline.py, and the bounds."""

    bounds: tuple[deflow.trust_regions.Bound, ...] = ()
    """Bounds to train, in the trust region's unit; auto is the data's own (default: 0.1, 0.3, 1, 3 and 10 times the
    published one, and auto). A later call may add some."""

    seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds of every bound, trained together in one program; each gets its own run directory."""

    proposals: int = 8
    """Actions of the behaviour flow to draw for each state; with --behaviour, 0 solves for a fresh one every time."""

    output_dir: Path = Path("runs/bounds")
    """Folder of the grid: grid.json, the run directories, the table and the picture."""

    def __post_init__(self):
        super().__post_init__()
        for bound in self.bounds:
            if bound != "auto" and not 0 < float(bound) < float("inf"):
                raise ValueError(f"--bounds must be positive numbers or auto, got {bound}.")
        if len(set(self.bounds)) < len(self.bounds):
            raise ValueError(f"--bounds must be different, got {' '.join(map(str, self.bounds))}.")
        if len(self.behaviour) > 1:
            raise ValueError(f"--behaviour takes one run here, which all bounds share, got {len(self.behaviour)}.")


QUICKSTART = Bounds(
    **{
        **{field.name: getattr(offline.QUICKSTART, field.name) for field in dataclasses.fields(offline.Offline)},
        **{name: getattr(Bounds(), name) for name in ("seeds", "output_dir")},
    }
)

MAY_CHANGE = offline.MAY_CHANGE - {"steps", "eval_every", "episodes", "log_every", "data"} | {"behaviour"}
"""Options that may change when the command is typed again. What the flow is, is compared by its digest."""


def defaults(arguments: list[str]) -> tuple[Bounds, deflow.AgentConfig, str]:
    """As in offline.py; the bound has no flag of its own."""
    if cli.peek(arguments, "--trust-region.bound"):
        raise ValueError("--trust-region.bound is what is varied here: give --bounds.")
    return cli.suggested(arguments, Bounds, "bounds", paper=Bounds(), quickstart=QUICKSTART)


def main(options: Bounds, config: deflow.AgentConfig, algorithm: str) -> None:
    """Plan the grid, learn the behaviour, train the cells that are not finished, report."""
    began = time.perf_counter()
    runs.check_loggers(options.log)
    check_varied_bound(config, algorithm)
    if not (options.proposals or options.behaviour):
        raise ValueError("All bounds are trained from one frozen flow: give --proposals, or --behaviour RUN.")
    grid = runs.Grid.open(options.output_dir)
    check_same_grid(grid, options, config)
    done = grid.cells and all(finished(grid, bound, options) for bound in asked(options, grid.facts))
    code = 0 if done else train_grid(grid, options, config, algorithm)
    publish(grid, options)
    cli.say(f"Time: {(time.perf_counter() - began) / 60:.1f} min.")
    if code >= 128:
        cli.say(f"Go on with the grid: {cli.command('bounds', *sys.argv[1:])}")
    sys.exit(code)


# --- the grid


def choice(bound: float) -> dict[str, Any]:
    """How a cell is found in the grid."""
    return {"trust-region.bound": bound}


def finished(grid: runs.Grid, bound: float, options: offline.Offline) -> bool:
    """Whether the cell is there, and nothing of it is left to be trained."""
    return choice(bound) in grid and grid.finished(grid[choice(bound)], options.steps)


def check_same_grid(grid: runs.Grid, options: Bounds, config: deflow.AgentConfig) -> None:
    """Refuse other settings than those of the grid that lies in the folder."""
    if not grid.cells:
        return
    what, remedy = f"the grid in {grid.folder}", "choose another --output-dir"
    first = grid.cells[0]
    if first.choice.keys() != choice(0).keys():
        raise ValueError(f"{grid.folder} has a grid over {', '.join(first.choice)}: {remedy}.")
    behaviour, run = grid.facts["behaviour"], grid.group(first).runs[0]
    may_change = MAY_CHANGE | ({"data"} if options.data not in ("official", "collected") else set())  # by digest
    same = with_bound(config, first.choice["trust-region.bound"])
    cli.check_same(of_a_cell(options), same, run, may_change, what=what, remedy=remedy)
    if behaviour["own"] and options.behaviour:
        raise ValueError(f"{what} learned a behaviour of its own: leave --behaviour out, or {remedy}.".capitalize())
    given = [behaviour_digest(load_learner(path)[0].agent) for path in options.behaviour]
    if not behaviour["own"] and given != [behaviour["digest"]]:
        raise ValueError(
            f"The grid in {grid.folder} has the flow of {behaviour['run']}, and that of --behaviour "
            f"{' '.join(map(str, options.behaviour)) or '(nothing)'} is another: give that run, or {remedy}."
        )


def asked(options: Bounds, facts: Mapping[str, Any]) -> list[float]:
    """The bounds to train, as numbers."""
    automatic = facts["automatic"]
    if "auto" in options.bounds and automatic is None:
        why = cli.command("action_variance")
        raise ValueError(f"--bounds auto: this data gives no bound ({why} says why); give numbers.")
    if options.bounds:
        return list(dict.fromkeys(automatic if bound == "auto" else float(bound) for bound in options.bounds))
    if facts["published"] is None:
        raise ValueError("Nothing is published in the unit of this trust region: give numbers to --bounds.")
    around = {float(f"{factor * facts['published']:.4g}") for factor in FACTORS}
    return sorted(around | ({automatic} if automatic is not None else set()))


def of_a_cell(options: Bounds) -> offline.Offline:
    """The options of a cell's runs, which are offline.py's."""
    names = [field.name for field in dataclasses.fields(offline.Offline)]
    return offline.Offline(**{name: getattr(options, name) for name in names})


# --- training


def train_grid(grid: runs.Grid, options: Bounds, config: deflow.AgentConfig, algorithm: str) -> int:
    """Trains what is not finished; returns the exit code. Which run is of which cell is on disk before any training."""
    alone = of_a_cell(options)
    task = offline.load(alone, config)
    with grid:
        facts = grid.facts or {
            "published": published_bound(config, task),
            "automatic": automatic_bound(config, task, workers=options.workers),
        }
        configs = {bound: with_bound(config, bound) for bound in asked(options, facts)}
        first = next(iter(configs.values()))
        behaviours = open_behaviour(grid, alone, config, task)
        start = TrainingState(*offline.fresh_learner(dataclasses.replace(alone, seeds=alone.seeds[:1]), first, task))
        record: Any = {"recipe": "offline", **behaviours.record}
        made = {
            bound: cli.open_runs(alone, each, algorithm, task, start.learner, **record)
            for bound, each in configs.items()
            if choice(bound) not in grid
        }
        cells = [runs.Cell(choice(bound), grid.relative(group)) for bound, group in made.items()]
        grid.write([*grid.cells, *cells], {"behaviour": described(grid, behaviours), **facts})

        group = grid.group(grid[choice(next(iter(configs)))])
        cli.check_data(group.runs[0], task)
        facts = cli.first_screen(alone, task, start.learner, first, algorithm, group, None, behaviours)
        cli.print_facts("DeFlow, a map over bounds", screen(grid, options, facts, list(configs)))
        with graceful_interrupts() as interrupt, deflow.Evaluator(task, workers=options.workers) as evaluator:
            evaluator.check(interrupt)
            try:
                offline.learn_behaviour(alone, task, behaviours, start, group.runs[0], evaluator, interrupt)
                code = train_cells(grid, alone, configs, task, behaviours, evaluator, interrupt)
            except SystemExit as stop:  # also Ctrl-C, while the flow is learned or proposals are drawn
                code = stop.code
        return interrupt.code or int(code or 0)


def open_behaviour(
    grid: runs.Grid, options: offline.Offline, config: deflow.AgentConfig, task: deflow.Task
) -> cli.Behaviours:
    """The one run whose flow all cells use: that of the grid, the given one, or a new one of the first seed."""
    known = grid.facts.get("behaviour")
    if known is not None and known["own"]:
        return cli.Behaviours((deflow.Run.open(grid.folder / known["run"]),), own=True)
    opened = cli.open_behaviours(dataclasses.replace(options, seeds=options.seeds[:1]), config, task)
    assert opened is not None  # a flow that is trained jointly was refused
    return opened


def described(grid: runs.Grid, behaviours: cli.Behaviours) -> dict[str, Any]:
    """The behaviour as the grid records it: an own one by its place in the folder, a given one by its digest."""
    (run,) = behaviours.runs
    if behaviours.own:
        return {"run": run.path.relative_to(grid.folder).as_posix(), "own": True, "digest": None}
    return {"run": str(run.path), "own": False, "digest": behaviour_digest(behaviours.agents[0])}


def train_cells(
    grid: runs.Grid,
    options: offline.Offline,
    configs: Mapping[float, deflow.AgentConfig],
    task: deflow.Task,
    behaviours: cli.Behaviours,
    evaluator: deflow.Evaluator,
    interrupt: Interrupt,
) -> int:
    """Trains the cells one after the other; one that fails does not stop the others. Returns the exit code."""
    agents, bounds, code = behaviours.agents, list(configs), 0
    for number, bound in enumerate(bounds, 1):
        if interrupt.is_set() or finished(grid, bound, options):
            continue
        cell, began = grid[choice(bound)], time.perf_counter()
        group = grid.group(cell, keep=options.keep, loggers=options.log)
        whole = not any(run.checkpoints.steps() for run in group.runs)
        learner, key = offline.fresh_learner(options, configs[bound], task)
        session = Session(group, offline.schedule(options), evaluator, interrupt)
        try:
            with session:
                state = session.begin(TrainingState(learner.with_behaviour(agents), key))
                proposals = cli.propose(options, task, behaviours, session, state, interrupt, last=options.steps)
                name = f"bound {bound:g} ({number} of {len(bounds)})"
                offline.train(options, task, session, state, proposals, phase=name)
        except FloatingPointError:  # all its seeds have stopped, which the table says
            pass
        cli.say(*(f"Bound {bound:g}: {failure}" for failure in session.failures))
        code = code or session.code
        if whole and session.code == 0 and not interrupt.is_set():
            grid.time(cell, time.perf_counter() - began)
        if (left := sum(not finished(grid, each, options) for each in bounds)) and not interrupt.is_set():
            cli.say(f"{cli.counted(left, 'bound')} to go{expected(grid, left)}.")
    return code


# --- what is said


def expected(grid: runs.Grid, left: int) -> str:
    """How long so many cells will take, by those that were trained; empty if none was timed."""
    known = [cell.seconds for cell in grid.cells if cell.seconds is not None]
    return f", about {math.ceil(left * sum(known) / len(known) / 60)} min" if known else ""


def screen(grid: runs.Grid, options: Bounds, facts: Mapping[str, str], bounds: list[float]) -> dict[str, str]:
    """The first screen of a grid, from that of its first cell."""
    left = [bound for bound in bounds if not finished(grid, bound, options)]
    begun = sum(any(run.checkpoints.steps() for run in grid.group(grid[choice(one)]).runs) for one in left)
    there = f" ({len(bounds) - len(left)} finished, {begun} begun)" if begun or len(left) < len(bounds) else ""
    family, automatic = task_settings(cli.settings_name(options)).borrowed_from, grid.facts["automatic"]
    borrowed = f" (for {family}: none for this task)" if family else ""
    own = "the data gives none of its own" if automatic is None else f"the data's own {automatic:g}"
    published = grid.facts["published"]
    known = f"published {published:g}{borrowed}" if published else "none published in this unit"
    return {
        **{name: fact for name, fact in facts.items() if name != "files"},
        "parts": "\n".join(line for line in facts["parts"].splitlines() if not line.startswith("trust region")),
        "bounds": f"{' '.join(f'{bound:g}' for bound in bounds)}\n{known}, {own}",
        "grid": f"{len(bounds)} bounds{there} of {cli.counted(len(options.seeds), 'seed')} together; "
        f"{len(left) * options.steps:,} updates to go{expected(grid, len(left))}",
        "files": str(grid.folder),
    }


def publish(grid: runs.Grid, options: Bounds) -> None:
    """The table, the CSV and the picture of all cells, whether or not this call asked for them."""
    from deflow import report  # matplotlib, which takes a second to import and is needed at the end alone

    paths = {cell.choice["trust-region.bound"]: grid.paths(cell) for cell in grid.cells}
    found = report.map_bounds(paths, steps=options.steps, **{m: grid.facts[m] for m in ("published", "automatic")})
    if not any(line.measured for line in found.lines):
        cli.say(*found.notes(), "No bound is finished yet, so there is no table.")
        return
    table, picture = grid.folder / "bounds.csv", grid.folder / "bounds.png"
    try:
        write_text(table, found.csv(grid.folder))
    except OSError as error:
        raise ReportError(f"Cannot write {table}: {error.strerror or error}; free some space.") from error
    cli.show(found.table())
    cli.say(*found.notes(), f"Table: {table}", f"Picture: {report.bounds_figure(found, picture)}")


if __name__ == "__main__":
    cli.run(main, defaults, description=__doc__)

"""Carry out a grid of trainings: tasks, algorithms, settings, seeds; here, in a Slurm queue, on a Ray cluster.

    python recipes/sweep.py --over env=cube-single-play-singletask-task1-v0,cube-single-play-singletask-task2-v0 \\
        algorithm=deflow,fql --seeds 0:4 -- --budget quickstart
    python recipes/sweep.py --over trust-region.bound=0.001,0.003 --launcher slurm --launch partition=gpu -- --steps 1e5
    python recipes/sweep.py --over trust-region.bound=0.001,0.003,0.01 --launcher ray --early-stop -- --steps 1e5
    python recipes/sweep.py --output-dir runs/sweep

What follows -- is given to every run, as to offline.py. The list of runs is written first, into sweep.txt, which may be
edited. The same command, or the folder alone, goes on with what is not finished.
"""

import deflow.workers.early_interrupt  # noqa: F401

# isort: split
import contextlib
import dataclasses
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import jax
import offline
import offline_to_online

from deflow import cli, launchers
from deflow.agent import KINDS
from deflow.launchers import Job, Record
from deflow.progress import Bar, working
from deflow.runs import Run, look
from deflow.workers import graceful_interrupts

RECIPES = {
    "offline": cli.Recipe(offline.Offline, offline.defaults),
    "offline_to_online": cli.Recipe(offline_to_online.OfflineToOnline, offline_to_online.defaults),
}
"""The recipes that a sweep runs."""

NOT_THE_GRID = frozenset({"output_dir", "launcher", "launch", "early_stop", "list_only", "import_"})
"""Options that say nothing of which runs there are."""

HOW = frozenset({"launcher", "launch", "early_stop", "import_"})
"""Options that say how they are carried out."""

LOOK_EVERY = 5.0
"""Seconds between two looks at the runs, for the bar."""


@dataclasses.dataclass(frozen=True)
class Sweep:
    """Options of the recipe."""

    over: tuple[str, ...] = ()
    """What is varied, as NAME=VALUE,VALUE: algorithm, a flag such as env or trust-region.bound, or a kind of part."""

    seeds: tuple[str, ...] = ("0",)
    """Seeds of every cell of the grid: 0 1 2, or 0:8, which ends with 7."""

    seeds_together: int | None = None
    """Seeds that one run trains in one program (default: all)."""

    recipe: str = "offline"
    """The recipe that is run: offline, or offline-to-online."""

    own_behaviours: bool = False
    """Let every run learn its own flow, also where some could share one that is learned first."""

    output_dir: Path = Path("runs/sweep")
    """Folder of the sweep: sweep.txt, and a folder for each run."""

    launcher: str = "local"
    """What carries the runs out: local, or another that is registered."""

    launch: tuple[str, ...] = ()
    """The launcher's settings, as NAME=VALUE; a wrong name lists them."""

    early_stop: bool = False
    """Stop runs early that are poor compared with others of their task, if the launcher can: ray."""

    list_only: bool = False
    """Write the list, show it, and end."""

    import_: cli.Import = ()
    """Python files with your own launchers, which are run first. (Give the runs' own after the --.)"""

    def __post_init__(self):
        if self.seeds_together is not None and self.seeds_together < 1:
            raise ValueError(f"--seeds-together must be at least 1, got {self.seeds_together}.")


def main(options: Sweep, common: Sequence[str]) -> None:
    """Plan, write the list, carry it out, say what has become of it."""
    jax.config.update("jax_platforms", "cpu")  # accelerators, and their memory, are left to the runs
    cli.import_files(options.import_)
    launcher = cli.launcher_of(options.launcher, options.launch, early_stop=options.early_stop)
    launcher.check()
    with launchers.Sweep.open(options.output_dir) as sweep:
        plan(sweep, options, common)
        jobs = [job for job in sweep.jobs if not settled(launchers.check_unchanged(sweep, job), launcher)]
        cli.print_facts("DeFlow, a sweep", screen(sweep, options, launcher, jobs))
        if options.list_only:
            cli.say(*map(str, sweep.jobs))
            return
        with graceful_interrupts() as interrupt, progress(sweep, len(jobs)) as bar:
            for job, record in launcher.launch(sweep, jobs, interrupt):
                bar.ended(job, record)
        failed = summary(sweep, options, launcher)
    sys.exit(interrupt.code or failed)


def settled(record: Record, launcher: launchers.AbstractLauncher) -> bool:
    """Whether a job is left alone: it is finished, or was stopped early and this launcher stops jobs early."""
    return record.over or (record.state == "stopped early" and isinstance(launcher, launchers.AbstractStoppingLauncher))


# --- the list


def plan(sweep: launchers.Sweep, options: Sweep, common: Sequence[str]) -> None:
    """The jobs that the arguments ask for, in the sweep's list. One that these arguments made stays as it is."""
    asked = planning(options, common)
    if not sweep.jobs or (asked and tuple(asked) != sweep.command):
        if not asked:
            raise ValueError(f"There is no sweep in {sweep.folder} yet: say what is varied with --over, or --seeds.")
        with working("reading the grid"):
            new = grid(options, common, sweep.jobs)
        names = {job.name for job in sweep.jobs}
        if taken := [job.name for job in new if job.name in names]:
            raise ValueError(f"{sweep.folder} has a run {taken[0]} with other arguments: choose another --output-dir.")
        first = [job for job in new if not job.needs]
        sweep.write([*sweep.jobs, *first, *(job for job in new if job.needs)], asked)
    else:
        with working("reading the list"):
            edited = [job for job in sweep.jobs if not sweep.record(job).tries]
            cli.read_jobs(edited, RECIPES, sweep.jobs)
            for job in edited:
                if cli.with_absolute_paths(job, RECIPES) != job:
                    raise ValueError(f"{job.name} has a path that depends on the folder: write it from the root on.")


def planning(options: Sweep, common: Sequence[str]) -> list[str]:
    """The arguments that make the list; none if there are only defaults."""
    said = cli.spelled_options(options, Sweep(), leave=NOT_THE_GRID)
    return [*said, "--", *common] if said or common else []


def grid(options: Sweep, common: Sequence[str], existing: Sequence[Job]) -> list[Job]:
    """The jobs of the grid that do not exist yet, and those that learn a flow which several of them share."""
    seeds = launchers.seeds_of(options.seeds)
    if cli.peek(list(common), "--seeds"):
        raise ValueError("Give --seeds before the --: the sweep divides them among the runs.")
    cells = launchers.cells_of(
        options.recipe.replace("-", "_"),
        launchers.axes_of(options.over),
        common,
        kinds=[registry.choice for registry in KINDS.values()],
    )
    there = [dataclasses.replace(job, arguments=tuple(cli.without_needs(job))) for job in existing]
    jobs = [
        job
        for cell in cells
        for job in launchers.with_seeds(
            cli.with_absolute_paths(cell, RECIPES),
            seeds,
            together=options.seeds_together or len(seeds),
            existing=there,
        )
    ]
    commands = cli.read_jobs(jobs, RECIPES, existing)
    return jobs if options.own_behaviours else cli.share_behaviours(jobs, commands, RECIPES, existing)


# --- what is said


def screen(
    sweep: launchers.Sweep, options: Sweep, launcher: launchers.AbstractLauncher, left: Sequence[Job]
) -> dict[str, str]:
    """The first screen."""
    records = [sweep.record(job) for job in sweep.jobs]
    finished, begun = sum(record.over for record in records), sum(sweep.record(job).tries > 0 for job in left)
    counts = {"finished": finished, "stopped early": len(sweep.jobs) - len(left) - finished, "begun": begun}
    states = [f"{number} {state}" for state, number in counts.items() if number]
    shared = {need for job in sweep.jobs for need in job.needs}
    took = [record.seconds for record in records if record.state == "finished"]
    expected = (
        f"about {cli.duration(sum(took) / len(took) * len(left))} of work" if took else "the bar says, in a while"
    )
    return {
        "runs": cli.counted(len(sweep.jobs), "run") + (f" ({', '.join(states)})" if states else ""),
        **({"behaviours": f"{cli.counted(len(shared), 'flow')} learned first, and shared"} if shared else {}),
        "launcher": " ".join([options.launcher, *options.launch]),
        **({"early stop": launcher.rule} if isinstance(launcher, launchers.AbstractStoppingLauncher) else {}),
        "expected": expected if left else "nothing is left to do",
        "list": str(sweep.list_file),
        "files": str(sweep.folder),
        "watch": f"in another terminal: {cli.command('watch', options.output_dir)}",
    }


class Progress:
    """A bar over a sweep's jobs, which grows with the steps of those that run."""

    def __init__(self, sweep: launchers.Sweep, bar: Bar):
        self._sweep, self._bar = sweep, bar
        self._over: set[str] = set()
        self._failed = self._stopped = 0

    def ended(self, job: Job, record: Record) -> None:
        """Count a job, and say it if it failed."""
        if record.state in ("failed", "killed"):
            self._failed += 1
            cli.say(f"{job.name}: {record.state}: {record.said}")
        if record.state == "stopped early":
            self._stopped += 1
            cli.say(f"{job.name}: {record.state}: {record.said}")
        if record.over or record.state in ("failed", "killed", "stopped early"):
            self._over.add(job.name)
        self.refresh()

    def refresh(self) -> None:
        """Look at the jobs that run."""
        running = [
            job for job in self._sweep.jobs if job.name not in self._over and self._sweep.record(job).state == "running"
        ]
        self._bar.n = min(len(self._over) + sum(map(self._done, running)), self._bar.total or 0)
        words = [f"{len(self._over)} of {cli.counted(self._bar.total or 0, 'run')}", f"{len(running)} running"]
        words += [f"{self._stopped} stopped early"] * bool(self._stopped)
        self._bar.set_description_str(", ".join(words + [f"{self._failed} failed"] * bool(self._failed)))

    def _done(self, job: Job) -> float:
        """How much of a job is done, by the steps of its runs."""
        shares = [0.0]
        with contextlib.suppress(Exception):  # a run that is just being made, or moved
            looks = [look(Run.open(path)) for path in self._sweep.runs(job)]
            shares += [each.step / each.last for each in looks if each.last]
        return min(max(shares), 0.99)


@contextlib.contextmanager
def progress(sweep: launchers.Sweep, jobs: int) -> Iterator[Progress]:
    """A bar over so many jobs, while they are carried out."""
    shape = "{desc}: {percentage:3.0f}%|{bar}| [{elapsed}<{remaining}]"
    with Bar(total=jobs, desc="sweep", bar_format=shape) as bar:
        shown, end = Progress(sweep, bar), threading.Event()

        def follow() -> None:
            while not end.wait(LOOK_EVERY):
                with contextlib.suppress(Exception):
                    shown.refresh()

        thread = threading.Thread(target=follow, daemon=True)
        thread.start()
        try:
            yield shown
        finally:
            end.set()
            thread.join()


def summary(sweep: launchers.Sweep, options: Sweep, launcher: launchers.AbstractLauncher) -> int:
    """What has become of the jobs, and the next command; returns the exit code."""
    records = {job.name: sweep.record(job) for job in sweep.jobs}
    finished, stopped = (
        sum(record.state == state for record in records.values()) for state in ("finished", "stopped early")
    )
    left = sum(not settled(record, launcher) for record in records.values())
    lost = [
        f"{name}: {record.state}: {record.said}" for name, record in records.items() if record.said and not record.over
    ]
    waiting, interrupted = (
        [name for name, record in records.items() if record.state == state] for state in ("to do", "interrupted")
    )
    elsewhere = [name for name, record in records.items() if record.state in ("submitted", "running")]
    early = f", {stopped} stopped early" if stopped else ""
    cli.say(f"{finished} of {cli.counted(len(records), 'run')} finished{early}.", *lost)
    if elsewhere:
        cli.say(f"Still carried out, by a queue or another process: {', '.join(elsewhere)}")
    if interrupted:
        cli.say(f"Interrupted, and saved if it had begun to train: {', '.join(interrupted)}")
    if waiting:
        cli.say(f"Not begun: {', '.join(waiting)}")
    if left:
        grid = frozenset(field.name for field in dataclasses.fields(Sweep)) - HOW
        how = cli.spelled_options(options, Sweep(), leave=grid)
        cli.say(f"Go on with: {cli.command('sweep', *how, '--output-dir', sweep.folder)}")
    elif stopped:
        cli.say("Without --early-stop, those that were stopped early go on from where they are.")
    if finished or stopped:
        cli.say(f"Next: {cli.command('report', sweep.folder, '--output', sweep.folder)}")
    return 1 if left else 0


if __name__ == "__main__":
    cli.run_plain(main, Sweep, description=__doc__, rest=True)

"""Measure how much actions vary between similar states of the data, and derive bounds for the trust regions.

    python recipes/action_variance.py --env cube-single-play-singletask-task2-v0 --data collected --rows 200000

The result is saved beside the data, where `--trust-region.bound auto` finds it. A million states take minutes.
"""

import deflow.workers.early_interrupt  # isort: split

import dataclasses
from pathlib import Path

import deflow
from deflow import cli
from deflow.agent import suggested_bound, variance_factor
from deflow.data.action_variance import LEVELS, sidecar, task_action_variance
from deflow.report.variance_figure import variance_figure


@dataclasses.dataclass(frozen=True)
class ActionVariance(cli.DataOptions):
    """Options of the recipe."""

    neighbours: int = 5
    """Number of nearest states over which each variance is taken. `auto` bounds use 5."""

    picture: Path | None = None
    """File of the picture (default: beside the data)."""

    workers: int | None = None
    """Processes (default: one per core)."""


def main(options: ActionVariance) -> None:
    """Load, compute, draw, and say what follows."""
    task = deflow.load_task(options.env, options.source, **options.loading, workers=options.workers)
    found = task_action_variance(task, neighbours=options.neighbours, workers=options.workers)
    quantiles = ", ".join(f"{level:.0%} {value:.3g}" for level, value in zip(LEVELS, found.quantiles, strict=True))
    cli.print_facts(
        "Intrinsic action variance",
        {
            "task": task.name,
            "data": f"{found.rows:,} transitions from {task.provenance.path} (sha256 {found.sha256[:12]})",
            "variance": f"{found.value:.4g} squared action units per dimension, over {found.neighbours} neighbours",
            "quantiles": f"over states: {quantiles}",
            "factor": f"{variance_factor(task.name):g} (1 for navigation, 0.1 for manipulation)",
        },
    )
    config = deflow.agent_config("deflow")
    cli.print_facts(
        "Bounds that follow",
        {
            f"trust-region:{name}": f"--trust-region.bound {suggested_bound(asked, task, found.value):g}"
            for name, member in deflow.trust_regions.registry.items()
            if "bound" in {field.name for field in dataclasses.fields(member)}
            and not issubclass(member, deflow.trust_regions.AbstractFlowRegion)  # it measures no displacements
            for asked in [dataclasses.replace(config, trust_region=member(bound="auto"))]
        },
    )
    picture = options.picture or sidecar(task).with_suffix(".png")
    cli.say(f"Picture: {variance_figure(found, picture, title=task.provenance.dataset)}")
    cli.say(f"Next: {next_command(options)}")


def next_command(options: ActionVariance) -> str:
    """The command that trains with this bound."""
    words: list[object] = ["--env", options.env]
    if options.data != "official":
        words += ["--data", options.data]
    if options.data == "collected":
        words += ["--rows", options.rows, "--data-seed", options.data_seed]
    if options.data_dir is not None:
        words += ["--data-dir", options.data_dir]
    return cli.command("offline", *words, "--trust-region.bound", "auto")


if __name__ == "__main__":
    cli.run_plain(main, ActionVariance, description=__doc__)

"""The end of a session: what its loggers show, and what is said of one that was interrupted."""

import contextlib

from ..errors import ReportError
from ..progress import working
from ..runs import HostsGroup, Run, RunGroup, resume_command


def show_runs(group: RunGroup | HostsGroup, step: int) -> None:
    """Show the learning curve and the videos of each run, as of `step`, in the loggers that it has."""
    for run in group.runs:  # which has none where another process writes
        if not run.followers:
            continue
        from ..report import learning_curve  # matplotlib, which takes a second to import

        with contextlib.suppress(ReportError), working("drawing"):  # there is no row yet
            run.picture(learning_curve([run.path], run.path / "report.png"), step)
        for video in sorted((run.path / "videos").glob("*.mp4")):
            run.video(video, step)


def farewell(group: RunGroup | HostsGroup, step: int, last: int, continued_by: Run | None) -> str:
    """What became of an interrupted training, which was to go on until step `last`, and how it goes on."""
    run = group.runs[0]
    if group.has_saved(step):
        what = f"everything so far is saved in {run.path}"
    elif group.failures:
        what = f"it could not be saved in {run.path}"
    else:
        what = f"{run.path} has made no update yet"
    again = run if continued_by is None else continued_by
    return f"Interrupted at step {step:,}: {what}. Go on with: {resume_command(again)}"

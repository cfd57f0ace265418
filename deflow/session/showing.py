"""What loggers show at the end of a session: learning curves, and videos if there are any."""

import contextlib

from ..errors import ReportError
from ..runs import RunGroup


def show_runs(group: RunGroup, step: int) -> None:
    """Show the learning curve and the videos of each run, as of `step`, in the loggers that it has."""
    for run in group.runs:
        if not run.followers:
            continue
        from ..report import learning_curve  # matplotlib, which takes a second to import

        with contextlib.suppress(ReportError):  # there is no row yet
            run.picture(learning_curve([run.path], run.path / "report.png"), step)
        for video in sorted((run.path / "videos").glob("*.mp4")):
            run.video(video, step)

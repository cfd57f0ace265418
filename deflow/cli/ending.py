"""The end of a training: its table, its pictures, and the next command."""

import sys

from .. import hosts
from ..commands import command
from ..errors import ReportError
from ..progress import working
from ..session import Session
from .screen import say, show


def finish(session: Session, *, seconds: float) -> None:
    """The table, the picture, and the next command; said by the leading process alone."""
    if not hosts.leads():
        if session.interrupted:
            print(f"Interrupted at step {session.step:,}; process 0 saves.", file=sys.stderr)
        return
    with working("drawing"):
        from .. import report  # matplotlib, which takes a second to import and is needed at the end alone

    paths = [run.path for run in session.group.runs]
    say(*(f"not kept: {failure}" for failure in session.failures))
    alone = session.group.runs[0].config["environment"] is None
    show(report.results_table(paths))
    try:
        with working("drawing"):
            pictures = [report.learning_curve([path], path / "report.png") for path in paths]
            if len(paths) > 1:
                together = paths[0].parent / f"report-{paths[0].name.partition('-')[2]}.png"
                pictures = [report.learning_curve(paths, together)]
        say(f"Time: {seconds / 60:.1f} min. Picture: {pictures[0]}")
    except ReportError as error:  # interrupted before the first row, or the folder is gone
        say(f"Time: {seconds / 60:.1f} min. No picture: {error}")
    if alone:
        say(f"Its policy: deflow.load({str(paths[0])!r}).act(observation)")
        if not session.interrupted:
            say(f"Next: {command('estimate', paths[0], '--step', 'all')}")
    elif not session.interrupted:
        imports = session.group.runs[0].config["options"].get("import_", ())
        flags = ["--import", *imports] if imports else []
        say(f"Next: {command('evaluate', paths[0], '--episodes', 100, *flags)}")

"""What can go wrong with a report."""


class ReportError(RuntimeError):
    """Runs that cannot be reported on, or a report that cannot be written; the message says what to do."""

"""Reports on runs from their files: statistics over seeds, pictures of learning curves, tables of results."""

from deflow.report.errors import ReportError
from deflow.report.figure import learning_curve
from deflow.report.statistics import Estimate, interquartile_mean, mean
from deflow.report.table import ResultRow, result_rows, results_markdown, results_table

__all__ = [
    "Estimate",
    "ReportError",
    "ResultRow",
    "interquartile_mean",
    "learning_curve",
    "mean",
    "result_rows",
    "results_markdown",
    "results_table",
]

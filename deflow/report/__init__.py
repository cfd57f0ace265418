"""Reports on runs from their files: statistics over seeds, pictures of learning curves, tables of results."""

from deflow.report.comparison import Comparison, ComparisonLine, compare
from deflow.report.comparison_figure import comparison_figure
from deflow.report.errors import ReportError
from deflow.report.figure import learning_curve
from deflow.report.files import RunFiles, find_runs, read_runs
from deflow.report.landscape import Landscape, Slice, landscape_figure
from deflow.report.statistics import Estimate, interquartile_mean, mean
from deflow.report.table import ResultRow, result_rows, results_markdown, results_table

__all__ = [
    "Comparison",
    "ComparisonLine",
    "Estimate",
    "Landscape",
    "ReportError",
    "ResultRow",
    "RunFiles",
    "Slice",
    "compare",
    "comparison_figure",
    "find_runs",
    "interquartile_mean",
    "landscape_figure",
    "learning_curve",
    "mean",
    "read_runs",
    "result_rows",
    "results_markdown",
    "results_table",
]

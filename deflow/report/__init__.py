"""Reports, made from the files of runs: statistics over seeds, pictures of learning curves, tables of results."""

from .archive import write_archive
from .bounds import BoundLine, BoundMap, BoundSeed, map_bounds
from .bounds_figure import bounds_figure
from .comparison import Comparison, ComparisonLine, compare
from .comparison_figure import comparison_figure
from .data_figure import data_figure
from .estimates import MEASURED, Agreement, EstimatedPolicy, Estimates
from .estimates_figure import estimates_figure
from .figure import learning_curve
from .finding import find_runs, read_runs
from .landscape import Landscape, Slice, landscape_figure
from .reading import RunFiles
from .statistics import Estimate, interquartile_mean, mean
from .table import ResultRow, result_rows, results_markdown, results_table

__all__ = [
    "MEASURED",
    "Agreement",
    "BoundLine",
    "BoundMap",
    "BoundSeed",
    "Comparison",
    "ComparisonLine",
    "Estimate",
    "EstimatedPolicy",
    "Estimates",
    "Landscape",
    "ResultRow",
    "RunFiles",
    "Slice",
    "bounds_figure",
    "compare",
    "comparison_figure",
    "data_figure",
    "estimates_figure",
    "find_runs",
    "interquartile_mean",
    "landscape_figure",
    "learning_curve",
    "map_bounds",
    "mean",
    "read_runs",
    "result_rows",
    "results_markdown",
    "results_table",
    "write_archive",
]

"""Tables, plots and pages of finished runs. Importing this imports neither torch nor a plotting library."""

from hacore.report._formats import FORMATS, write_table
from hacore.report._page import write_comparison, write_report
from hacore.report._plot import plot
from hacore.report._predictions import Prediction, read_predictions
from hacore.report._runs import Run, Runs, read_runs
from hacore.report._table import Table, tabulate
from hacore.report._values import Cell

__all__ = [
    "FORMATS",
    "Cell",
    "Prediction",
    "Run",
    "Runs",
    "Table",
    "plot",
    "read_predictions",
    "read_runs",
    "tabulate",
    "write_comparison",
    "write_report",
    "write_table",
]

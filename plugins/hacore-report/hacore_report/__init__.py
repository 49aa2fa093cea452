"""Tables, plots, pages and comparisons of finished runs.

Importing this imports neither torch nor numpy nor a plotting library.
"""

import importlib
from typing import TYPE_CHECKING, Any

from hacore.plugin import Component, hookimpl
from hacore_report._curves import plot_curves
from hacore_report._formats import FORMATS, write_table
from hacore_report._page import write_report
from hacore_report._plot import plot
from hacore_report._runs import Run, Runs, read_runs
from hacore_report._side_by_side import write_comparison
from hacore_report._table import Table, tabulate
from hacore_report._values import Cell

if TYPE_CHECKING:
    from hacore_report._compare import compare
    from hacore_report._marks import mark_best

__all__ = [
    "FORMATS",
    "Cell",
    "Run",
    "Runs",
    "Table",
    "compare",
    "mark_best",
    "plot",
    "plot_curves",
    "read_runs",
    "tabulate",
    "write_comparison",
    "write_report",
    "write_table",
]

hacore_contract = 2

_LATER = {"compare": "hacore_report._compare", "mark_best": "hacore_report._marks"}

_COMMANDS = {
    "compare": "Compare two experiments: difference, interval and p-value.",
    "runs": "List runs: how far each is, and what came out.",
    "report": "Write the page about a run, or one that compares runs.",
    "table": "Make a table of runs: mean and deviation over seeds.",
    "plot": "Draw accuracy, time and cost against kept cells, or how accuracy rose.",
}


@hookimpl
def hacore_declare() -> list[Component]:
    commands = [
        Component(kind="command", name=name, target=f"hacore_report.{name}_command:{name}", summary=summary)
        for name, summary in _COMMANDS.items()
    ]
    page = Component(
        kind="observer",
        name="report",
        target="hacore_report._observer:ReportObserver",
        summary="the page report/index.html at the end of a run",
        default=True,
    )
    return [*commands, page]


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module 'hacore_report' has no attribute {name!r}")
    return getattr(importlib.import_module(_LATER[name]), name)

"""Tables, plots and pages of finished runs. Importing this imports neither torch nor a plotting library."""

from hacore.plugin import Component, hookimpl
from hacore_report._formats import FORMATS, write_table
from hacore_report._page import write_comparison, write_report
from hacore_report._plot import plot
from hacore_report._runs import Run, Runs, read_runs
from hacore_report._table import Table, tabulate
from hacore_report._values import Cell

__all__ = [
    "FORMATS",
    "Cell",
    "Run",
    "Runs",
    "Table",
    "plot",
    "read_runs",
    "tabulate",
    "write_comparison",
    "write_report",
    "write_table",
]

hacore_contract = 2

_COMMANDS = {
    "report": "Write the page about a run, or one that compares runs.",
    "table": "Make a table of runs: mean and deviation over seeds.",
    "plot": "Draw accuracy, time and cost against the share of kept cells.",
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

"""The page at the end of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hacore.observers import RunObserver
from hacore_report._page import write_report

if TYPE_CHECKING:
    from hacore.runs import Result
    from hacore.runs.trained import Trained


class ReportObserver(RunObserver):
    """Writes ``report/index.html``. Where it cannot, the run keeps its result."""

    def end(self, result: Result, trained: Trained) -> None:
        write_report(trained.folder, trained=trained)

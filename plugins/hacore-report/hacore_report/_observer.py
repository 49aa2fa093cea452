"""The page at the end of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hacore.observers import RunObserver
from hacore_report._page import write_report

if TYPE_CHECKING:
    from hacore.runs.trained import Trained


class ReportObserver(RunObserver):
    """Writes ``report/index.html``; what keeps it from that does not take the result away."""

    def end(self, result: Mapping[str, Any], trained: Trained) -> None:
        write_report(trained.folder, trained=trained)

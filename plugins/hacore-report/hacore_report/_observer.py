"""The page at the end of a run."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from hacore.observers import RunObserver
from hacore_report._page import write_page

if TYPE_CHECKING:
    from hacore.runs import Result
    from hacore.runs.trained import Trained

log = logging.getLogger("hacore")


class ReportObserver(RunObserver):
    """Writes ``report/index.html``, and logs what it warns of. Where it cannot, the run keeps its result."""

    def end(self, result: Result, trained: Trained) -> None:
        _, warning = write_page(trained.folder, trained=trained)
        if warning:  # of the result, not of the program: a run that is quiet says nothing
            log.info("%s: %s", trained.folder.path, warning)

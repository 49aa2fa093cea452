"""An experiment as the page of a comparison shows it."""

from __future__ import annotations

from statistics import fmean

import attrs

from hacore_report._predictions import Row
from hacore_report._runs import Run


@attrs.frozen(kw_only=True)
class Compared:
    """An experiment of a comparison. runs: of its seeds. rows: see ``by_group``, the same for all.

    costs: what it cost, as the page writes it. marked: the places of the rows where it is the best, or not
    significantly different from it. remarks: see ``Run``.
    """

    name: str
    runs: tuple[Run, ...]
    rows: tuple[Row, ...]
    costs: tuple[str, ...]
    marked: frozenset[int]
    remarks: tuple[str, ...]

    @property
    def all(self) -> Row:
        """Over all questions."""
        return self.rows[-1]

    @property
    def kept(self) -> float:
        """The mean share of the cells."""
        return fmean(run.result.kept for run in self.runs)

    @property
    def seeds(self) -> str:
        """How many there are, in words; "" for one."""
        return f"{len(self.runs)} seeds" if len(self.runs) > 1 else ""

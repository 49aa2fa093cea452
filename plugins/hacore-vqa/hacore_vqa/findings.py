"""Problems of a file: similar ones in one line, with the records that they are about."""

from __future__ import annotations

from pathlib import Path

NAMED = 50
"""How many records a line names; the others are only counted."""


class Findings:
    """Collects what is wrong with the records of a file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._whole: list[str] = []
        self._found: dict[str, list[int | str]] = {}

    def add(self, what: str) -> None:
        """Something about the file as a whole, which could not be read."""
        self._whole.append(f"{self.path}: {what}")

    def note(self, what: str, record: int | str) -> None:
        """A problem of one record; ``what`` reads well after "question 7: ".

        record: its id, or its place in words where its id is not known.
        """
        self._found.setdefault(what, []).append(record)

    @property
    def broken(self) -> bool:
        """Whether the file as a whole could not be read."""
        return bool(self._whole)

    @property
    def unnamed(self) -> int:
        """How many records' ids could not be read: as many seem to be missing."""
        return sum(isinstance(record, str) for record in self.records())

    def records(self) -> set[int | str]:
        """The records with a problem."""
        return {record for records in self._found.values() for record in records}

    def lines(self) -> list[str]:
        """A line for each kind of problem, in the order in which they first appeared."""
        return self._whole + [
            f"{self.path}: {_places(records)}: {what}" for what, records in self._found.items()
        ]


def _places(records: list[int | str]) -> str:
    named = ", ".join(map(str, records[:NAMED]))
    if len(records) == 1:
        return f"question {named}"
    more = f" and {len(records) - NAMED} more" if len(records) > NAMED else ""
    return f"{len(records):,} questions ({named}{more})"

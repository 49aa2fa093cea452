"""Problems of a table, each with its line."""

from __future__ import annotations

from pathlib import Path


class Findings:
    """Collects what is wrong with a file.

    Lines and items, which are those of a JSON list, count from 1; line 0 is the file as a whole, and item 0
    none.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._problems: list[tuple[int, int, str]] = []

    def note(self, line: int, problem: str, item: int = 0) -> None:
        """A problem of the record that begins in this line: what was found, and what to do."""
        self._problems.append((line, item, problem))

    def __len__(self) -> int:
        return len(self._problems)

    def place(self, line: int, item: int = 0) -> str:
        """``questions.csv:3``, ``questions.json:3: item 2``."""
        place = f"{self.path}:{line}" if line else str(self.path)
        return f"{place}: item {item}" if item else place

    def lines(self) -> list[str]:
        """One line for each problem, in the order of the file."""
        return [
            f"{self.place(line, item)}: {problem}"
            for line, item, problem in sorted(self._problems, key=lambda entry: entry[:2])
        ]

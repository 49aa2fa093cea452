"""Problems of a table, each with its line."""

from __future__ import annotations

from pathlib import Path


class Findings:
    """Collects what is wrong with a file; lines count from 1, and 0 is the file as a whole."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._problems: list[tuple[int, str]] = []

    def note(self, line: int, problem: str) -> None:
        """A problem of the record that begins in this line: what was found, and what to do."""
        self._problems.append((line, problem))

    def __len__(self) -> int:
        return len(self._problems)

    def place(self, line: int) -> str:
        """``questions.csv:3``."""
        return f"{self.path}:{line}" if line else str(self.path)

    def lines(self) -> list[str]:
        """One line for each problem, in the order of the file."""
        return [
            f"{self.place(line)}: {problem}"
            for line, problem in sorted(self._problems, key=lambda entry: entry[0])
        ]

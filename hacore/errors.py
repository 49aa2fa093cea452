"""Errors a user can mend: one line that says where, what was found, what is allowed, what to do."""

from __future__ import annotations

import attrs


def one_line(text: str) -> str:
    """The text with line ends and other characters that cannot be shown written as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class HacoreError(Exception):
    """A condition the user can mend; printed as one line, without a traceback."""


@attrs.frozen
class Problem:
    """One finding in a spec or in the files it names.

    where: the place (``spec.toml:7: selector.k``); message: what was found and what is allowed.
    """

    where: str
    message: str

    def __str__(self) -> str:
        return one_line(f"{self.where}: {self.message}")


class SpecError(HacoreError):
    """Every problem found in a spec, in the order of the file."""

    def __init__(self, problems: list[Problem]) -> None:
        assert problems
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in problems))


class PluginError(HacoreError):
    """A component that is unknown, not installed, declared twice, or that fails to load."""


class ComposeError(HacoreError):
    """Components that do not fit together, or do not keep their contract."""


class DataError(HacoreError):
    """A data file that is missing, damaged, or not what it should be."""


class RunError(HacoreError):
    """A run folder or checkpoint that cannot be used, or a training that cannot go on."""


class ExportError(HacoreError):
    """A model that cannot be exported, or an export that does not compute what the model does."""


class NotFiniteError(RunError, ValueError):
    """A number that had to be finite is infinite or not a number."""

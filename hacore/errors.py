"""Errors that a user can fix: one line that says where, what was found, what is allowed, what to do."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches
from itertools import chain
from typing import Any

import attrs

_LONGEST = 200


def one_line(text: str) -> str:
    """The text with line ends and other characters that cannot be shown written as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class HacoreError(Exception):
    """A condition that the user can fix; printed as one line, without a traceback."""


@attrs.frozen
class Problem:
    """One finding in a spec or in the files it names.

    where: the place (``spec.toml:7: selector.k``); message: what was found and what is allowed. install: what
    pip takes to install what is missing, if that is what is wrong. key, file, line: the place in parts, as
    far as it is known.
    """

    where: str
    message: str
    install: tuple[str, ...] = ()
    key: str | None = None
    file: str | None = None
    line: int | None = None

    def __str__(self) -> str:
        line = one_line(f"{self.where}: {self.message}")
        return f"{line}; {install_from(self.install)}" if self.install else line

    def as_dict(self) -> dict[str, Any]:
        """As ``--json`` prints it; text without a place may name one itself, as ``spec.toml:7:``."""
        parts = {"key": self.key, "message": self.message, "file": self.file, "line": self.line}
        if self.line is None and (
            at := re.match(r"(.+?):(\d+): |(.+?\.toml): .*\(at line (\d+)", self.message)
        ):
            parts |= {"file": at[1] or at[3], "line": int(at[2] or at[4])}
        return parts


class SpecError(HacoreError):
    """Every problem found in a spec, in the order of the file."""

    def __init__(self, problems: list[Problem]) -> None:
        assert problems
        self.problems = tuple(problems)
        missing = [problem.install for problem in problems if problem.install]
        if len(missing) < 2:
            super().__init__("\n".join(map(str, problems)))
            return
        lines = [str(attrs.evolve(problem, install=())) for problem in problems]
        super().__init__("\n".join([*lines, install_from(chain(*missing), "what is missing")]))


class PluginError(HacoreError):
    """A component that is unknown, not installed, declared twice, or that fails to load.

    install: what pip takes to install it, if that is the way out.
    """

    def __init__(self, what: str, install: tuple[str, ...] = ()) -> None:
        self.what, self.install = what, install
        super().__init__(f"{what}; {install_from(install)}" if install else what)


class ComposeError(HacoreError):
    """Components that do not fit together, or break their contract."""


class DataError(HacoreError):
    """A data file that is missing, damaged, or not what it should be."""


class RunError(HacoreError):
    """A run folder or checkpoint that cannot be used, or a training that cannot continue."""


class NotFiniteError(RunError, ValueError):
    """A number that had to be finite is infinite or not a number."""


def install_from(words: Iterable[str], what: str = "it") -> str:
    """How to install packages of this project, which are on no index; ``words``: what pip takes."""
    return f"install {what} from a checkout of hacore: pip install {' '.join(dict.fromkeys(words))}"


def reason(error: BaseException) -> str:
    """Why a file cannot be read, in one short line: libraries put what they read into their errors."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    line = one_line(" ".join(str(text).split()))
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 3]}..."


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """``; did you mean 'x'?`` for the nearest known name, or nothing."""
    near = get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean '{near[0]}'?" if near else ""


def describe_error(error: BaseException) -> str:
    """An exception on one line, with its type unless it was written for users."""
    text = one_line(" ".join(str(error).split()))
    if isinstance(error, HacoreError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__

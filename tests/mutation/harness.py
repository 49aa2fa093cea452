"""Damages a file of a subject, runs a command on it in this process, and says what must not have happened.

A command must succeed, or end with lines that begin with ``hacore: ``, or a usage error; it must not hang,
nor warn, nor change or remove a file that was whole, except for those that it is there to write.
"""

from __future__ import annotations

import contextlib
import fnmatch
import hashlib
import io
import logging
import os
import random
import resource
import shutil
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import attrs
from mutators import damage

from hacore.cli import main

QUIET = (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning)
"""Warnings that Python shows to nobody who runs a program."""
WEIGHTS = {"runs": 5.0, "specs": 2.0}
"""How often subjects are drawn, where not once."""
MOST_MEMORY = 6 << 30  # bytes, beyond what the process has


@attrs.frozen(kw_only=True)
class Command:
    """What is done with a damaged subject, in its folder.

    words: of the command line, or a function instead. damaged: patterns of the files, one of which is
    damaged. writes: patterns of files that success may change; failure may change none. weight: how often it
    is drawn.
    """

    words: tuple[str, ...] | Callable[[], object]
    damaged: tuple[str, ...]
    writes: tuple[str, ...] = ()
    weight: float = 1.0

    @property
    def name(self) -> str:
        return " ".join(self.words[:3]) if isinstance(self.words, tuple) else self.words.__name__


@attrs.frozen(kw_only=True)
class Subject:
    """A folder that is whole, and the commands that read it."""

    name: str
    folder: Path
    commands: tuple[Command, ...]


@attrs.frozen(kw_only=True)
class Attempt:
    """A damaged file, the command, how it ended, and the fault; "" for none."""

    number: int
    subject: str
    command: str
    file: str
    damage: str
    status: int
    fault: str
    seconds: float = 0.0
    output: str = attrs.field(default="", repr=False)

    def __str__(self) -> str:
        return f"{self.number}: {self.subject}: {self.damage} of {self.file}: {self.command}"


class TooLongError(BaseException):
    """Not an Exception, which a command might catch."""


@attrs.frozen(kw_only=True)
class Ended:
    """How a command ended. error: a traceback, where something else than SystemExit was raised."""

    status: int
    err: str
    error: str = ""
    warned: tuple[str, ...] = ()


def attempt(
    subjects: Mapping[str, Callable[[], Subject]], seed: int, number: int, place: Path, limit: float
) -> Attempt:
    """The input ``number`` of a seed: the same numbers give the same input.

    subjects: makers of them by name, called once drawn, as often as ``WEIGHTS`` says. place: a folder that is
    made, and stays behind only where there was a fault. limit: in seconds.
    """
    chance = random.Random(f"{seed}/{number}")
    drawn = sorted(subjects)
    subject = subjects[chance.choices(drawn, [WEIGHTS.get(name, 1.0) for name in drawn])[0]]()
    command = chance.choices(subject.commands, [command.weight for command in subject.commands])[0]
    shutil.copytree(subject.folder, place, symlinks=True)
    files = sorted(
        str(file.relative_to(place))
        for file in place.rglob("*")
        if file.is_file() and matches(str(file.relative_to(place)), command.damaged)
    )
    file = chance.choice(files)
    how = damage(place / file, chance)
    before = digests(place)
    began = time.monotonic()
    ended = run(command, place, limit)
    fault = judge(ended, command, before, digests(place), file)
    outcome = Attempt(
        number=number,
        subject=subject.name,
        command=command.name,
        file=file,
        damage=how,
        status=ended.status,
        fault=fault,
        seconds=time.monotonic() - began,
        output="\n".join(part for part in (ended.err, ended.error) if part),
    )
    if not fault:
        shutil.rmtree(place)
    return outcome


def matches(file: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch.fnmatch(file, pattern) for pattern in patterns)


def digests(place: Path) -> dict[str, str]:
    """{file: digest} of the files in a folder, "" for one that cannot be read."""
    contents = {}
    for file in place.rglob("*"):
        if file.is_file():
            readable = os.access(file, os.R_OK)
            digest = hashlib.sha256(file.read_bytes()).hexdigest() if readable else ""
            contents[str(file.relative_to(place))] = digest
    return contents


def run(command: Command, place: Path, limit: float) -> Ended:
    """Run a command in a folder, as the main program would."""
    out, err = io.StringIO(), io.StringIO()
    status, error = 0, ""
    with (
        surroundings(place),
        time_limit(limit),
        warnings.catch_warnings(record=True) as caught,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        warnings.simplefilter("always")
        try:
            if callable(command.words):
                command.words()
            else:
                main(list(command.words))
        except SystemExit as left:
            status = left.code if isinstance(left.code, int) else 1
        except TooLongError:
            status, error = -1, f"no end after {limit:g} s\n{traceback.format_exc()}"
        except BaseException:
            status, error = -1, traceback.format_exc()
    warned = [warning for warning in caught if not issubclass(warning.category, QUIET)]
    texts = tuple(f"{warning.filename}:{warning.lineno}: {warning.message}" for warning in warned)
    return Ended(status=status, err=err.getvalue(), error=error, warned=texts)


def judge(
    ended: Ended, command: Command, before: Mapping[str, str], after: Mapping[str, str], damaged: str
) -> str:
    """What must not have happened; "" where nothing did. damaged: the file that was."""
    if ended.error:
        return ended.error.strip().splitlines()[-1] if ended.status < 0 else ended.error
    lines = [line for line in ended.err.splitlines() if line.strip()]
    if "Traceback" in ended.err:
        return "a traceback on standard error"
    if ended.status not in (0, 1, 2):
        return f"status {ended.status}"
    if ended.status == 1 and not (lines and lines[-1].startswith("hacore: ")):
        return f"status 1, and the last line does not begin with 'hacore: ': {lines[-1:]}"
    if ended.status == 2 and not any(line.startswith("Error: ") for line in lines):
        return "status 2 without a usage error"
    if overlong := [line for line in lines if len(line) > 3000]:
        return f"a line of {len(overlong[0])} characters: {overlong[0][:200]}"
    if ended.warned:
        return f"warned: {ended.warned[0]}"
    lost = [
        file
        for file in before
        if file != damaged
        and after.get(file) != before[file]
        and not (ended.status == 0 and matches(file, command.writes))
    ]
    return f"changed or removed: {', '.join(lost)}" if lost else ""


@contextlib.contextmanager
def surroundings(place: Path) -> Iterator[None]:
    """In a folder, with the data cache and a question on standard input; all is as before afterwards."""
    logger = logging.getLogger("hacore")
    log = logger.handlers, logger.level, logger.propagate
    folder, cache, stdin = Path.cwd(), os.environ.get("HACORE_CACHE"), sys.stdin
    limits = resource.getrlimit(resource.RLIMIT_AS)
    os.chdir(place)
    os.environ["HACORE_CACHE"] = str(place / "cache")
    sys.stdin = io.StringIO("is the circle left?\n")
    # What a damaged number asks for must not take the machine's memory from others.
    resource.setrlimit(resource.RLIMIT_AS, (_memory() + MOST_MEMORY, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)
        os.chdir(folder)
        sys.stdin = stdin
        logger.handlers, logger.level, logger.propagate = log
        os.environ.pop("HACORE_CACHE")
        if cache is not None:
            os.environ["HACORE_CACHE"] = cache


def _memory() -> int:
    """Bytes of addresses that this process has."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise TooLongError in what takes longer."""

    def stop(*_: object) -> None:
        raise TooLongError

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def table(attempts: list[Attempt]) -> str:
    """Counts by subject."""
    rows = [f"{'subject':<12}{'inputs':>8}{'succeeded':>11}{'refused':>9}{'faults':>8}"]
    names = sorted({each.subject for each in attempts})
    for name in [*names, "all"]:
        chosen = [each for each in attempts if name in (each.subject, "all")]
        faults = sum(bool(each.fault) for each in chosen)
        succeeded = sum(each.status == 0 and not each.fault for each in chosen)
        refused = len(chosen) - faults - succeeded
        rows.append(f"{name:<12}{len(chosen):>8}{succeeded:>11}{refused:>9}{faults:>8}")
    return "\n".join(rows)

"""The sweep folder: the spec it came from, its runs by name, and what became of each.

``sweeps/<name>/`` holds ``sweep.toml`` (the spec with all that it extends), ``sweep.json`` (its runs),
``runs/`` (their run folders), ``specs/`` (resolved, one for each run) and ``logs/`` (what each run said).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import attrs

from hacore.errors import RunError
from hacore.machine.files import write_json, write_whole
from hacore.runs import RunFolder
from hacore.runs.sweep_index import read_index
from hacore.spec import Combination, Spec, Sweep, dump_spec, load_sweep

Status = Literal["waiting", "running", "finished", "failed", "interrupted"]


@attrs.define(kw_only=True)
class Outcome:
    """One run of a sweep and what became of it.

    folder: its run folder, once there is one. error: why it failed, one line.
    """

    combination: Combination
    status: Status = "waiting"
    folder: RunFolder | None = None
    error: str | None = None

    def table(self, base: Path) -> dict[str, Any]:
        """As sweep.json holds it; paths are relative to ``base``."""
        return {
            "name": self.combination.spec.name,
            "values": self.combination.values,
            "seed": self.combination.seed,
            "status": self.status,
            "run": os.path.relpath(self.folder.path, base) if self.folder else None,
            "error": self.error,
        }


class SweepFolder:
    """A sweep folder and the names of what is in it."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.spec_file = self.path / "sweep.toml"
        self.index_file = self.path / "sweep.json"
        self.runs = self.path / "runs"

    @classmethod
    def open(cls, path: str | Path) -> SweepFolder:
        """An existing sweep. Raises RunError when the path is not a sweep folder."""
        folder = cls(path)
        if not folder.index_file.is_file():
            raise RunError(f"{path}: is not a sweep folder: it has no sweep.json; 'hacore sweep' makes one")
        return folder

    @staticmethod
    def is_sweep(path: str | Path) -> bool:
        """Whether the path is a sweep folder."""
        return (Path(path) / "sweep.json").is_file()

    def index(self) -> dict[str, Any]:
        """The content of sweep.json, checked. Raises RunError where it is damaged."""
        return read_index(self.index_file)

    def sweep(self) -> Sweep:
        """The sweep that the folder was made from."""
        return load_sweep(self.spec_file, self.index().get("overrides", ()))

    def spec_of(self, spec: Spec) -> Path:
        """Where the resolved spec of a run is."""
        return self.path / "specs" / f"{spec.name}.toml"

    def log_of(self, spec: Spec) -> Path:
        """Where a run says what it does."""
        return self.path / "logs" / f"{spec.name}.log"

    def write(self, sweep: Sweep, outcomes: list[Outcome]) -> None:
        """Note what became of each run."""
        index = {
            "name": sweep.name,
            "overrides": list(sweep.overrides),
            "runs": [outcome.table(self.path) for outcome in outcomes],
        }
        if not self.spec_file.is_file() or self.spec_file.read_bytes() != sweep.text.encode():
            write_whole(self.spec_file, sweep.text.encode())
        write_json(self.index_file, index)

    def outcomes_of(self, sweep: Sweep) -> tuple[list[Outcome], list[RunFolder]]:
        """The sweep's runs as the folder has them, and the run folders of other runs.

        A run is recognised by its resolved spec, whatever its name.
        """
        by_spec: dict[str, list[RunFolder]] = {}
        for file in sorted(self.runs.glob("[!.]*/[!.]*/spec.toml")):
            folder = RunFolder(file.parent)
            by_spec.setdefault(_without_name(folder.text()), []).append(folder)
        outcomes = []
        for combination in sweep.combinations:
            folders = by_spec.pop(_without_name(dump_spec(combination.spec)), [])
            best = max(folders, key=_progress, default=None)
            done = best is not None and best.result_file.is_file()
            status: Status = "finished" if done else "waiting"
            outcomes.append(Outcome(combination=combination, folder=best, status=status))
        return outcomes, [folder for folders in by_spec.values() for folder in folders]

    def tidy(self) -> None:
        """Remove the half-made run folders that a killed process left."""
        for leftover in self.runs.glob("*/.*.tmp"):
            shutil.rmtree(leftover, ignore_errors=True)

    @contextmanager
    def locked(self) -> Iterator[int | None]:
        """Keep other sweeps out; yields a file descriptor for the processes that work here.

        The lock is held until the last of them has ended, so trainings that outlive a killed sweep
        are not started a second time. Raises RunError when it is taken. A system without
        ``fcntl`` has no such locks, and yields None.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.path / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise RunError(
                f"{self.path}: cannot be made: {error.strerror or error}; give another folder with --output"
            ) from error
        try:
            yield descriptor if self._lock(descriptor) else None
        finally:
            os.close(descriptor)

    def _lock(self, descriptor: int) -> bool:
        """Whether the system has locks that child processes inherit. RunError when it is taken."""
        try:
            import fcntl
        except ImportError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise RunError(
                f"{self.path}: another 'hacore sweep', or a training that it left behind, is at work "
                "here; wait for it or stop it, or give another folder with --output"
            ) from None
        return True


def _without_name(text: str) -> str:
    first, _, rest = text.partition("\n")
    return rest if first.startswith("name = ") else text


def _progress(folder: RunFolder) -> tuple[bool, bool, str]:
    return folder.result_file.is_file(), folder.last.is_file(), folder.path.name

"""The run folder: everything needed to trust, repeat and reuse a result.

``runs/<name>/<time>-<id>/`` holds ``spec.toml`` (resolved), ``environment.json``, ``inputs.json``,
``metrics.jsonl``, ``checkpoints/{last,best}.safetensors``, ``predictions/<split>.jsonl``, ``result.json``
and ``report/index.html``.
Reading a folder imports no torch.
"""

from __future__ import annotations

import datetime
import json
import os
import platform
import secrets
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hacore import __version__
from hacore.errors import RunError
from hacore.files import read_json, write_json, write_whole
from hacore.plugin import CONTRACT
from hacore.registry import registry
from hacore.spec import SECTIONS, Spec, dump_spec, load_spec

if TYPE_CHECKING:
    import torch

_LIBRARIES = ("torch", "torchvision", "numpy", "attrs", "cattrs", "pluggy", "safetensors", "toml")


class RunFolder:
    """An existing run folder and the names of what is in it."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.spec_file = self.path / "spec.toml"
        self.environment_file = self.path / "environment.json"
        self.inputs_file = self.path / "inputs.json"
        self.metrics_file = self.path / "metrics.jsonl"
        self.result_file = self.path / "result.json"
        self.report_file = self.path / "report" / "index.html"
        self.last = self.path / "checkpoints" / "last.safetensors"
        self.best = self.path / "checkpoints" / "best.safetensors"

    def predictions_file(self, split: str) -> Path:
        """Predictions on a split, one JSON object a line."""
        return self.path / "predictions" / f"{split}.jsonl"

    @classmethod
    def create(cls, spec: Spec, runs: str | Path, environment: dict[str, Any]) -> RunFolder:
        """Make the folder of a new run; it appears whole or not at all."""
        runs = Path(runs)
        stamp = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
        final = runs / spec.name / f"{stamp}-{secrets.token_hex(3)}"
        temporary = final.with_name(f".{final.name}.tmp")
        try:
            temporary.mkdir(parents=True)
            made = cls(temporary)
            write_whole(made.spec_file, dump_spec(spec).encode())
            write_json(made.environment_file, environment)
            (temporary / "checkpoints").mkdir()
            os.rename(temporary, final)
        except OSError as error:
            shutil.rmtree(temporary, ignore_errors=True)
            raise RunError(
                f"{final}: cannot be made: {error.strerror or error}; give another folder with --runs"
            ) from error
        except RunError:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        return cls(final)

    @classmethod
    def open(cls, path: str | Path) -> RunFolder:
        """An existing run. Raises RunError when the path is not a run folder."""
        folder = cls(path)
        if not folder.path.is_dir():
            raise RunError(f"{path}: no such run folder; 'hacore run SPEC' makes one and names it")
        if not folder.spec_file.is_file():
            raise RunError(f"{path}: is not a run folder: it has no spec.toml")
        return folder

    def tidy(self) -> None:
        """Remove the half-written files that a killed process left."""
        for leftover in self.path.rglob(".*.tmp"):
            leftover.unlink(missing_ok=True)

    def spec(self) -> Spec:
        """The resolved spec of the run."""
        return load_spec(self.spec_file)

    def checkpoint(self) -> Path:
        """The best checkpoint, or the last when no evaluation came before the end."""
        for path in (self.best, self.last):
            if path.is_file():
                return path
        raise RunError(
            f"{self.path}: has no checkpoint yet; continue it with 'hacore run --resume {self.path}'"
        )

    def result(self) -> dict[str, Any]:
        """The content of result.json."""
        loaded: dict[str, Any] = read_json(
            self.result_file, f"finish the run with 'hacore run --resume {self.path}'"
        )
        return loaded


def same_experiment(folder: RunFolder, spec: Spec) -> None:
    """Raise RunError unless the spec is the run's own, naming the first difference."""
    held, given = dump_spec(folder.spec()).splitlines(), dump_spec(spec).splitlines()
    table = ""
    for mine, other in zip([*held, ""], [*given, ""], strict=False):
        table = mine if mine.startswith("[") else table
        if mine != other:
            raise RunError(
                f"{folder.path}: is a run of another spec: {table} {mine!r} there, "
                f"{other!r} in the given one; resume without a spec, or run the given one afresh"
            )


class MetricsFile:
    """metrics.jsonl: one JSON object a line, appended; readable by pandas at any time."""

    def __init__(self, path: Path, keep_bytes: int) -> None:
        """Open for appending after dropping what came later than ``keep_bytes``."""
        self._path = path
        try:
            self._file = open(path, "ab")  # noqa: SIM115
            # A file that lost its end would be filled up with zeros.
            self._file.truncate(min(keep_bytes, os.fstat(self._file.fileno()).st_size))
            self._file.seek(0, os.SEEK_END)
        except OSError as error:
            raise RunError(f"{path}: cannot be written: {error.strerror or error}") from error

    def write(self, **values: Any) -> None:
        """Append a line."""
        try:
            self._file.write((json.dumps(values) + "\n").encode())
            self._file.flush()
        except OSError as error:
            raise RunError(
                f"{self._path}: cannot be written: {error.strerror or error}; make room, then resume the run"
            ) from error

    @property
    def size(self) -> int:
        """Bytes written so far."""
        return self._file.tell()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def describe_environment(spec: Spec, device: torch.device, processes: int) -> dict[str, Any]:
    """Versions, plugins with their distributions, device and git revision."""
    import torch

    def installed(name: str) -> str | None:
        try:
            return version(name)
        except PackageNotFoundError:
            return None

    chosen = {section: registry().find(kind, spec.section(section).use) for section, kind in SECTIONS.items()}
    return {
        "hacore": __version__,
        "contract": CONTRACT,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "libraries": {name: number for name in _LIBRARIES if (number := installed(name))},
        "components": {
            section: {
                "name": it.name,
                "distribution": it.distribution,
                "version": it.version,
            }
            for section, it in chosen.items()
        },
        "device": str(device),
        "device_name": device_name(device),
        "processes": processes,
        "threads": torch.get_num_threads(),
        "git_revision": _git_revision(),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
    }


def device_name(device: torch.device) -> str:
    """What the device calls itself."""
    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")
    except OSError:
        model = ""
    return f"{model or platform.processor() or platform.machine()}, {os.cpu_count()} cores"


def _git_revision() -> str | None:
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40"],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip() or None

"""The run folder: everything needed to trust, repeat and reuse a result.

``runs/<name>/<time>-<id>/`` holds ``spec.toml`` (resolved), ``environment.json``, ``inputs.json``,
``metrics.jsonl``, ``checkpoints/{last,best}.safetensors``, ``predictions/<split>.jsonl``, ``result.json``,
``report/index.html``, and ``error.txt`` where it failed.
Reading a folder imports no torch.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import secrets
import shutil
from pathlib import Path
from typing import Any

from hacore.errors import RunError
from hacore.machine.commands import pasteable
from hacore.machine.files import read_json, write_json, write_whole
from hacore.notebooks import html_of
from hacore.registry import registry
from hacore.runs.result import Result
from hacore.spec import Spec, dump_spec, load_spec, spec_table


class RunFolder:
    """An existing run folder and the names of what is in it; ``files``: where an installed model has them."""

    _repr_html_ = html_of

    def __init__(self, path: str | Path, files: Path | None = None) -> None:
        self.path, files = Path(path), files or Path(path)
        self.spec_file = files / "spec.toml"
        self.environment_file = files / "environment.json"
        self.inputs_file = files / "inputs.json"
        self.metrics_file = files / "metrics.jsonl"
        self.result_file = files / "result.json"
        self.error_file = self.path / "error.txt"
        self.report_file = self.path / "report" / "index.html"
        self.last = files / "checkpoints" / "last.safetensors"
        self.best = files / "checkpoints" / "best.safetensors"

    def predictions_file(self, split: str, spec: Spec | None = None, other_data: str = "") -> Path:
        """Predictions on a split, one JSON object a line.

        spec: of the model. other_data: the fingerprint of data that the model was not trained on. Each
        selector other than the run's own, and all other data, have a file of their own.
        """
        name, choice = split, other_data
        if spec is not None and spec.selector != self.spec().selector:
            choice = json.dumps(spec_table(spec)["selector"], sort_keys=True) + other_data
        if choice:
            name = f"{split}--{hashlib.sha256(choice.encode()).hexdigest()[:8]}"
        return self.path / "predictions" / f"{name}.jsonl"

    @classmethod
    def create(cls, spec: Spec, runs: str | Path, environment: dict[str, Any]) -> RunFolder:
        """Make the folder of a new run; it appears whole or not at all."""
        runs = Path(runs)
        stamp = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
        final = runs / spec.name / f"{stamp}-{secrets.token_hex(3)}"
        temporary = final.with_name(f".{final.name}.tmp")
        try:
            temporary.mkdir(parents=True)
            folder = cls(temporary)
            write_whole(folder.spec_file, dump_spec(spec).encode())
            write_json(folder.environment_file, environment)
            (temporary / "checkpoints").mkdir()
            os.rename(temporary, final)
        except (OSError, UnicodeEncodeError) as error:  # the latter where file names are not UTF-8
            shutil.rmtree(temporary, ignore_errors=True)
            reason = getattr(error, "strerror", None) or error
            raise RunError(f"{final}: cannot be made: {reason}; give another folder with --runs") from error
        except RunError:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        return cls(final)

    @classmethod
    def open(cls, path: str | Path) -> RunFolder:
        """An existing run, or else the model ``zoo/NAME``. Raises RunError where the path is neither."""
        folder = cls(path)
        if folder.path.parts[:-1] == ("zoo",) and not folder.spec_file.is_file():
            return cls(path, registry().find("model", folder.path.name.replace("_", "-")).load())
        if not folder.path.is_dir():
            raise RunError(f"{path}: no such run folder; 'hacore run SPEC' makes one and names it")
        if not folder.spec_file.is_file():
            raise RunError(f"{path}: is not a run folder: it has no spec.toml")
        return folder

    def failure(self) -> str | None:
        """The error that ended the run, in a line, until it is resumed."""
        return self.error_file.read_text("utf-8", "replace").strip() if self.error_file.is_file() else None

    def tidy(self) -> None:
        """Remove the half-written files that a killed process left, and what says that the run failed."""
        self.error_file.unlink(missing_ok=True)
        for leftover in self.path.rglob(".*.tmp"):
            leftover.unlink(missing_ok=True)

    def spec(self) -> Spec:
        """The resolved spec of the run."""
        return load_spec(self.spec_file)

    def text(self) -> str:
        """What spec.toml says, with a sign for each byte that is no text. Raises RunError without it."""
        try:
            return self.spec_file.read_bytes().decode("utf-8-sig", "replace").replace("\r\n", "\n")
        except OSError as error:
            raise RunError(f"{self.spec_file}: cannot be read: {error.strerror or error}") from None

    def checkpoint(self) -> Path:
        """The best checkpoint, or the last when no evaluation came before the end."""
        for path in (self.best, self.last):
            if path.is_file():
                return path
        raise RunError(f"{self.path}: has no checkpoint yet; continue it with: {self._resuming()}")

    def result(self) -> Result:
        """What result.json says. Raises RunError where the run is not finished."""
        way_out = f"finish the run with: {self._resuming()}"
        return Result.from_dict(read_json(self.result_file, way_out), str(self.result_file), way_out)

    def _resuming(self) -> str:
        return pasteable("hacore", "run", "--resume", self.path)

"""The runs in a folder: how far each is, and what came out. Imports no torch."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import attrs

from hacore.errors import HacoreError, RunError
from hacore.runs.choosing import runs_inside
from hacore.runs.folder import RunFolder
from hacore.runs.metrics import read_metrics
from hacore.spec import read_toml


@attrs.frozen(kw_only=True)
class Listed:
    """A run in a list.

    run: its folder. date: of its start, ISO 8601. state: "finished", "unfinished", "failed", or "damaged"
    with the problem. step, steps: of the training so far, and in all; None where nothing says it. accuracy,
    kept: shares. seconds: of training.
    """

    name: str
    run: str
    date: str | None = None
    state: str
    step: int | None = None
    steps: int | None = None
    seed: int | None = None
    accuracy: float | None = None
    kept: float | None = None
    seconds: float | None = None
    problem: str | None = None


def list_runs(path: str | Path) -> list[Listed]:
    """The runs in a folder, up to three folders below it, by name and time. Raises RunError for no folder."""
    path = Path(path)
    if not path.is_dir():
        raise RunError(f"{path}: no such folder; 'hacore run SPEC' makes runs/ and puts its runs there")
    below = {inner: None for depth in ("*", "*/*", "*/*/*") for inner in runs_inside(path, depth)}
    own = [path] if (path / "spec.toml").is_file() else []
    return sorted(map(_listed, [*own, *below]), key=lambda run: (run.name, Path(run.run).name))


def _listed(path: Path) -> Listed:
    folder = RunFolder(path)
    about: dict[str, Any] = {"name": path.parent.name, "run": str(path), "date": _date(path)}
    try:
        # Not as a spec, whose components may no longer be installed.
        spec = read_toml(folder.spec_file)[1]
        about |= {"name": str(spec["name"]), "seed": int(spec["seed"])}
        if folder.result_file.is_file():
            result = folder.result()
            if training := result.training:
                about |= {"step": training.steps, "steps": training.steps, "seconds": training.seconds}
            return Listed(**about, state="finished", accuracy=result.accuracy, kept=result.kept)
        about |= _progress(folder, spec["train"])
    except (HacoreError, KeyError, TypeError, ValueError) as error:
        return Listed(**about, state="damaged", problem=str(error))
    problem = folder.failure()
    return Listed(**about, state="failed" if problem else "unfinished", problem=problem)


def _progress(folder: RunFolder, train: dict[str, Any]) -> dict[str, Any]:
    """Step, all steps and seconds of an unfinished training, as its last line of metrics tells them."""
    lines = read_metrics(folder.metrics_file, tail=True)
    if not lines:
        return {"step": 0, "steps": None}
    last = max(lines, key=lambda line: line.step)
    steps = max(1, round(train["epochs"] * last.step / last.epoch)) if last.epoch else None
    return {
        "step": last.step,
        "steps": min(filter(None, (steps, train.get("steps"))), default=None),
        "seconds": last.seconds,
    }


def _date(path: Path) -> str | None:
    try:
        return datetime.datetime.strptime(path.name[:15], "%Y%m%d-%H%M%S").isoformat()
    except ValueError:
        return None

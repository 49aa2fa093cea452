"""Which run a folder of runs stands for. Imports no torch."""

from __future__ import annotations

import logging
from pathlib import Path

from hacore.errors import RunError
from hacore.machine.commands import pasteable
from hacore.runs.folder import RunFolder

log = logging.getLogger("hacore")


def finished_run(path: str | Path) -> RunFolder:
    """The run in this folder, or the newest finished one of a folder of runs, as ``runs/han_rn``; logged.

    Raises RunError, which says what there is, where it has none.
    """
    return _newest(Path(path), finished=True)


def unfinished_run(path: str | Path) -> RunFolder:
    """As ``finished_run``; of a folder of runs the newest that is not finished."""
    return _newest(Path(path), finished=False)


def _newest(path: Path, *, finished: bool) -> RunFolder:
    runs = [] if (path / "spec.toml").is_file() else [RunFolder(inner) for inner in runs_inside(path, "*")]
    if not runs:
        if names := sorted({str(inner.parent) for inner in runs_inside(path, "*/*")}):
            many = f"{len(names)} names" if len(names) > 1 else "one name"
            raise RunError(f"{path}: no run folder, but one of runs of {many}; give one: {', '.join(names)}")
        return RunFolder.open(path)
    state = "finished" if finished else "unfinished"
    chosen = [run for run in runs if run.result_file.is_file() == finished]
    if not chosen and finished:
        way_out = f"continue the newest with: {pasteable('hacore', 'run', '--resume', runs[-1].path)}"
        raise RunError(f"{path}: none of its runs ({len(runs)}) is finished; {way_out}")
    if not chosen:
        way_out = f"measure the newest again with: {pasteable('hacore', 'eval', runs[-1].path)}"
        raise RunError(
            f"{path}: all of its runs ({len(runs)}) are finished; run the spec afresh, or {way_out}"
        )
    which = f"the newest of {len(chosen)} {state} runs" if len(chosen) > 1 else f"its {state} run"
    log.info("%s: %s, %s", path, chosen[-1].path.name, which)
    return chosen[-1]


def runs_inside(path: Path, depth: str) -> list[Path]:
    """Run folders in a folder, the oldest first, as names begin with the time. depth: ``*``, ``*/*``."""
    files = path.glob(f"{depth}/spec.toml".replace("*", "[!.]*"))
    return [file.parent for file in sorted(files, key=lambda file: (file.parent.name, file))]

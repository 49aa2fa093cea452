"""Finished runs as flat records: what their specs say and what was measured, by dotted keys."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs

from hacore.errors import HacoreError, RunError, did_you_mean
from hacore.runs import RunFolder
from hacore.spec import shown
from hacore.sweeps import SweepFolder

NOT_AN_OPTION = ("name", "seed")
"""Keys of a spec in which runs of one experiment differ."""


@attrs.frozen(kw_only=True)
class Run:
    """A finished run. spec: its resolved spec; result: its result.json; both {dotted key: value}."""

    path: Path
    spec: dict[str, Any]
    result: dict[str, Any]

    @property
    def seed(self) -> int:
        """The seed of its spec."""
        return int(self.spec["seed"])

    def get(self, key: str) -> Any:
        """The value of a dotted key of the spec or of result.json; None where there is none."""
        return self.spec[key] if key in self.spec else self.result.get(key)

    def options(self) -> dict[str, Any]:
        """All that makes the experiment but its name and seed, and on what it was measured."""
        data = {key: self.result.get(key) for key in ("data.fingerprint", "split")}
        return {**{key: value for key, value in self.spec.items() if key not in NOT_AN_OPTION}, **data}


@attrs.frozen(kw_only=True)
class Runs:
    """Runs to report on. notes: a line on each thing that was left out, or has to be known."""

    runs: tuple[Run, ...]
    notes: tuple[str, ...] = ()

    def where(self, conditions: Sequence[tuple[str, Any]]) -> Runs:
        """Those whose values of some keys are these; numbers equal whatever their type."""
        for key, _ in conditions:
            known_key(key, self.runs)
        kept = [run for run in self.runs if all(run.get(key) == value for key, value in conditions)]
        if not kept:
            asked = ", ".join(f"{key} = {shown(value)}" for key, value in conditions)
            had = {
                key: ", ".join(sorted({label(run.get(key)) for run in self.runs})) for key, _ in conditions
            }
            found = "; ".join(f"{key} has {values}" for key, values in had.items())
            raise HacoreError(f"no run has {asked}; {found}")
        return Runs(runs=tuple(kept), notes=self.notes)


def read_runs(paths: Iterable[str | Path]) -> Runs:
    """The finished runs in run folders, sweep folders, and folders that hold run folders.

    Runs without a result, and all but the newest of runs of one spec, are left out and noted.
    Raises HacoreError when a path is none of these, or when no run is finished.
    """
    notes: list[str] = []
    found: dict[Path, Run] = {}
    for path in paths:
        for folder in _folders(Path(path), notes):
            if not folder.result_file.is_file():
                notes.append(f"{folder.path}: has no result yet and is left out")
            else:
                found.setdefault(folder.path.resolve(), _read(folder))
    if not found:
        raise HacoreError("\n".join([*notes, "no finished run; give run folders or sweep folders"]))
    newest = _newest(found.values(), notes)
    if oracles := sorted({str(run.spec["name"]) for run in newest if run.get("oracle")}):
        notes.append(
            f"{', '.join(oracles)}: an oracle, which was told the objects that each question is about"
        )
    return Runs(runs=tuple(newest), notes=tuple(notes))


def known_key(key: str, runs: Sequence[Run]) -> None:
    """Raise HacoreError unless some run has a value under the key."""
    if not any(key in run.spec or key in run.result for run in runs):
        known = [*runs[0].spec, *runs[0].result]
        raise HacoreError(
            f"no run has a value '{key}'{did_you_mean(key, known)}; keys are those of spec.toml and of "
            "result.json, as in selector.k or training.seconds"
        )


def label(value: Any) -> str:
    """A value as a table shows it: strings bare, ``-`` for none."""
    if value is None:
        return "-"
    return value if isinstance(value, str) else shown(value)


def flat(table: dict[str, Any], above: str = "") -> dict[str, Any]:
    """{dotted key: value that is not a table}."""
    found: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, dict):
            found.update(flat(value, f"{above}{key}."))
        else:
            found[f"{above}{key}"] = value
    return found


def _folders(path: Path, notes: list[str]) -> Iterator[RunFolder]:
    if SweepFolder.is_sweep(path):
        runs = SweepFolder.open(path).index()["runs"]
        waiting = [run["name"] for run in runs if run["run"] is None]
        if waiting:
            notes.append(f"{path}: {len(waiting)} of {len(runs)} runs have not begun, the first {waiting[0]}")
        yield from (RunFolder(path / run["run"]) for run in runs if run["run"] is not None)
    elif (path / "spec.toml").is_file():
        yield RunFolder(path)
    else:
        # A folder of runs of one name, or the folder of all runs.
        inner = sorted(path.glob("[!.]*/spec.toml")) or sorted(path.glob("[!.]*/[!.]*/spec.toml"))
        if not inner:
            raise RunError(
                f"{path}: is neither a run folder (it has no spec.toml) nor a sweep folder "
                "(it has no sweep.json)"
            )
        yield from (RunFolder(file.parent) for file in inner)


def _read(folder: RunFolder) -> Run:
    try:
        spec = tomllib.loads(folder.spec_file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"{folder.spec_file}: cannot be read: {error}") from None
    if "seed" not in spec:
        raise RunError(f"{folder.path}: is not a run folder of hacore")
    return Run(path=folder.path, spec=flat(spec), result=flat(folder.result().as_dict()))


def _newest(runs: Iterable[Run], notes: list[str]) -> list[Run]:
    """One run of each experiment and seed: folders are named by time."""
    newest: dict[str, Run] = {}
    for run in runs:
        key = json.dumps([run.options(), run.seed], sort_keys=True)
        other = newest.get(key)
        if other is None:
            newest[key] = run
            continue
        left, kept = sorted((other, run), key=lambda it: it.path.name)
        newest[key] = kept
        notes.append(f"{left.path}: the same spec, seed and data as {kept.path}, and left out")
    return list(newest.values())

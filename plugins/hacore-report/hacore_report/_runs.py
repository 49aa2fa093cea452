"""Finished runs: what their specs say and what was measured, by dotted keys."""

from __future__ import annotations

import glob
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs

from hacore.errors import HacoreError, RunError, did_you_mean, one_line
from hacore.machine.files import read_json
from hacore.notebooks import html_of
from hacore.runs import Result, RunFolder
from hacore.runs.result import Evaluated, Measured
from hacore.runs.sweep_index import read_index
from hacore.spec import read_toml

NOT_AN_OPTION = ("name", "seed")
"""Keys of a spec in which runs of one experiment differ."""
ORACLE = "oracle"
CHOSEN = "chosen after training"
REMARKS = {
    ORACLE: "an oracle, which was told the objects of each question",
    "all cells in training": "sees all cells in training and drops cells only in evaluation",
    CHOSEN: "put into a model that was trained with another selector, see trained.selector.use",
}
PRECISION = "training.precision"
_LONGEST = 60  # characters of a value that is shown


@attrs.frozen(kw_only=True)
class Run:
    """A finished run, or its model measured with another selector.

    spec: its resolved spec, {dotted key: value}; with another selector the keys of the one it was trained
    with begin with ``trained.``. measured: its result, {dotted key: value}. choice: what the names of the
    predictions with another selector have after the split.
    """

    path: Path
    spec: dict[str, Any]
    result: Result
    measured: dict[str, Any] = attrs.field(repr=False)
    choice: str = ""

    @property
    def name(self) -> str:
        """The name of its spec."""
        return str(self.spec["name"])

    @property
    def seed(self) -> int:
        """The seed of its spec."""
        return int(self.spec["seed"])

    def get(self, key: str) -> Any:
        """The value of a dotted key of the spec or of result.json; None where there is none."""
        return self.spec[key] if key in self.spec else self.measured.get(key)

    @property
    def remarks(self) -> tuple[str, ...]:
        """Those of ``REMARKS`` that a reader must know wherever the run is named."""
        holds = (self.result.oracle, self.result.dense_training, bool(self.choice))
        return tuple(remark for remark, true in zip(REMARKS, holds, strict=True) if true)

    def predictions(self, split: str) -> Path:
        """The file of its predictions on a split."""
        return RunFolder(self.path).predictions_file(f"{split}{self.choice}")

    @property
    def place(self) -> str:
        """Its folder; with another selector the file of its predictions."""
        return str(self.predictions(self.result.split) if self.choice else self.path)

    def options(self) -> dict[str, Any]:
        """What the experiment is, except for name and seed, and on what data it was measured."""
        data = {"data.fingerprint": self.result.data.fingerprint, "split": self.result.split}
        return {**{key: value for key, value in self.spec.items() if key not in NOT_AN_OPTION}, **data}


@attrs.frozen(kw_only=True, repr=False)
class Runs:
    """Runs to report on. notes: a line on each thing that was left out or that a reader must know."""

    runs: tuple[Run, ...]
    notes: tuple[str, ...] = ()
    _repr_html_ = html_of

    def __repr__(self) -> str:
        counts = Counter(run.name for run in self.runs)
        named = ", ".join(f"{name} ({count})" if count > 1 else name for name, count in counts.items())
        notes = f"; {len(self.notes)} note{'s' * (len(self.notes) > 1)}" if self.notes else ""
        return f"<Runs: {len(self.runs)} of {named}{notes}>"

    def where(self, conditions: Sequence[tuple[str, Any]]) -> Runs:
        """The runs that have these values. Raises HacoreError where no run has them."""
        for key, _ in conditions:
            known_key(key, self.runs)
        kept = [run for run in self.runs if all(run.get(key) == value for key, value in conditions)]
        if not kept:
            wanted = ", ".join(
                f"{key} = {'none' if value is None else label(value)}" for key, value in conditions
            )
            values = {
                key: ", ".join(sorted({label(run.get(key)) for run in self.runs})) for key, _ in conditions
            }
            there = "; ".join(f"{key} has {labels}" for key, labels in values.items())
            raise HacoreError(f"no run has {wanted}; {there}")
        return Runs(runs=tuple(kept), notes=self.notes)


def read_runs(paths: Iterable[str | Path], *, choices: bool = False) -> Runs:
    """The finished runs in run folders, sweep folders, and folders that hold run folders.

    choices: also each model with the other selectors that ``hacore eval RUN selector.KEY=VALUE`` put into it,
    on the split of its result. Runs without a result, and all but the newest of runs of one spec, are left
    out and noted. Raises HacoreError when a path is none of these, or when no run is finished.
    """
    notes: list[str] = []
    finished: dict[Path, Run] = {}
    for path in paths:
        for folder in run_folders(Path(path), notes):
            if not folder.result_file.is_file():
                notes.append(f"{folder.path}: has no result yet and is left out")
            else:
                finished.setdefault(folder.path.resolve(), _read(folder))
    if not finished:
        raise HacoreError("\n".join([*notes, "no finished run; give run folders or sweep folders"]))
    newest = _newest(finished.values(), notes)
    if choices:
        newest += [choice for run in newest for choice in _choices(run, notes)]
    for remark, words in REMARKS.items():
        if named := sorted({run.spec["selector.use"] for run in newest if remark in run.remarks}):
            notes.append(f"{', '.join(named)}: {words}")
    return Runs(runs=tuple(newest), notes=tuple(notes))


def precision_remark(runs: Sequence[Run], among: Sequence[Run]) -> tuple[str, ...]:
    """The precisions of runs, where they are shown among others of another precision; else nothing."""
    if not _precisions_differ(among):
        return ()
    return (" and ".join(sorted({run.get(PRECISION) or "precision not recorded" for run in runs})),)


def precision_notes(runs: Sequence[Run]) -> list[str]:
    """A line that counts the runs of each precision, where they differ; an unknown one does not."""
    if not _precisions_differ(runs):
        return []
    counts = Counter(run.get(PRECISION) or "not recorded" for run in runs)
    listed = ", ".join(f"{name} ({counts[name]} run{'s' * (counts[name] > 1)})" for name in sorted(counts))
    return [f"the runs were trained in different precisions: {listed}; train.precision makes it one for all"]


def _precisions_differ(runs: Sequence[Run]) -> bool:
    return len({run.get(PRECISION) for run in runs} - {None}) > 1


def known_key(key: str, runs: Sequence[Run]) -> None:
    """Raise HacoreError unless some run has a value under the key."""
    if not any(key in run.spec or key in run.measured for run in runs):
        known = [*runs[0].spec, *runs[0].measured]
        raise HacoreError(
            f"no run has a value '{key}'{did_you_mean(key, known)}; keys are those of spec.toml and of "
            "result.json, as in selector.k or training.seconds"
        )


def label(value: Any) -> str:
    """A value on one line, as a table shows it: strings bare, ``-`` for none, others as TOML, cut if long."""
    if value is None:
        return "-"
    if isinstance(value, str):
        return one_line(value)
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def _flat(table: dict[str, Any], above: str = "") -> dict[str, Any]:
    """{dotted key: value that is not a table}."""
    values: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, dict):
            values.update(_flat(value, f"{above}{key}."))
        else:
            values[f"{above}{key}"] = value
    return values


def run_folders(path: Path, notes: list[str]) -> Iterator[RunFolder]:
    """The runs, finished or not, in a run folder, a sweep folder, or a folder that holds run folders."""
    index = path / "sweep.json"
    if index.is_file():
        runs = read_index(index)["runs"]
        waiting = [run["name"] for run in runs if run["run"] is None]
        if waiting:
            notes.append(f"{path}: {len(waiting)} of {len(runs)} runs have not begun, the first {waiting[0]}")
        yield from (RunFolder(path / run["run"]) for run in runs if run["run"] is not None)
    elif (path / "spec.toml").is_file():
        yield RunFolder(path)
    else:
        # A folder of runs of one name, or the folder of all runs.
        inner = sorted(path.glob("[!.]*/spec.toml")) or sorted(path.glob("[!.]*/[!.]*/spec.toml"))
        if not path.is_dir():
            raise RunError(f"{path}: no such folder; 'hacore runs' lists those there are")
        if not inner:
            raise RunError(
                f"{path}: is neither a run folder (it has no spec.toml) nor a sweep folder "
                "(it has no sweep.json); give one that 'hacore run' or 'hacore sweep' wrote"
            )
        yield from (RunFolder(file.parent) for file in inner)


def _read(folder: RunFolder) -> Run:
    # Not as a spec, whose components may no longer be installed.
    spec = _flat(read_toml(folder.spec_file)[1])
    kinds = {"name": str, "seed": int, "selector.use": str}
    plain = all(isinstance(value, (bool, int, float, str, list)) for value in spec.values())
    if not plain or any(type(spec.get(key)) is not kind for key, kind in kinds.items()):
        raise RunError(
            f"{folder.spec_file}: is not the spec of a run of hacore, which has {', '.join(kinds)}, and "
            f"plain values; give the spec back, or leave out {folder.path}"
        )
    result = _with_precision(folder.result(), spec.get("train.precision"))
    return Run(path=folder.path, spec=spec, result=result, measured=_flat(result.as_dict()))


def _with_precision(result: Result, chosen: Any) -> Result:
    """The result of an earlier version with the precision of its training, where that is certain.

    "auto" was float32 on a CPU, whose name ends in its number of cores, and bfloat16 on a GPU.
    """
    training = result.training
    if training is None or training.precision is not None:
        return result
    if chosen == "auto" and training.device is not None:
        chosen = "float32" if training.device.endswith(" cores") else "bfloat16"
    precision = chosen if chosen in ("float32", "bfloat16") else None
    return attrs.evolve(result, training=attrs.evolve(training, precision=precision))


def _choices(run: Run, notes: list[str]) -> Iterator[Run]:
    """A run's model with each of the other selectors that it was measured with."""
    own = {key: value for key, value in run.spec.items() if key.startswith("selector.")}
    others = {key: value for key, value in run.spec.items() if key not in own}
    others |= {f"trained.{key}": value for key, value in own.items()}
    shared = [field.name for field in attrs.fields(Measured)]
    for file in sorted(run.path.glob(f"predictions/{glob.escape(run.result.split)}--*.json")):
        way_out = "write it again with 'hacore eval'"
        measured = Evaluated.from_dict(read_json(file, way_out), str(file), way_out)
        if measured.data and measured.data.fingerprint != run.result.data.fingerprint:
            notes.append(f"{file}: was measured on other data, {measured.data.fingerprint}, and is left out")
            continue
        result = attrs.evolve(
            run.result, dense_training=False, **{name: getattr(measured, name) for name in shared}
        )
        yield Run(
            path=run.path,
            spec={**others, **_flat({"selector": measured.selector})},
            result=result,
            measured=_flat(result.as_dict()),
            choice=file.stem.removeprefix(run.result.split),
        )


def _newest(runs: Iterable[Run], notes: list[str]) -> list[Run]:
    """One run of each experiment and seed: folders are named by time."""
    newest: dict[str, Run] = {}
    for run in runs:
        key = json.dumps([run.options(), run.seed], sort_keys=True)
        other = newest.get(key)
        if other is None:
            newest[key] = run
            continue
        older, newer = sorted((other, run), key=lambda each: each.path.name)
        newest[key] = newer
        notes.append(f"{older.path}: the same spec, seed and data as {newer.path}, and left out")
    return list(newest.values())

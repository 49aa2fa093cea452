"""Means and deviations over seeds, with any keys as rows and columns."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import attrs

from hacore.errors import HacoreError
from hacore.notebooks import html_of
from hacore_report._runs import (
    PRECISION,
    REMARKS,
    Run,
    Runs,
    known_key,
    label,
    precision_notes,
    precision_remark,
)
from hacore_report._values import BASELINES, Cell, Value, baseline, sort_key, summary, value_named

Labels = tuple[Any, ...]
Mark = Literal["best", "not different"]
_LONG = 20  # characters of a name
_MACHINE = ("training.device", "training.threads", "training.processes")
"""What times depend on besides the spec."""


@attrs.frozen(kw_only=True)
class Table:
    """Cells by the values of ``row_keys`` and ``column_keys``, and by what was measured.

    rows, columns: the values of these keys, in order. cells: {(row, column, value's name): cell}.
    baselines: {(baseline, column, value's name): cell}. notes: a line on each thing a reader must know.
    remarks: {row: what holds for all its runs}, see ``hacore_report._runs.REMARKS``; where the runs of the
    table were trained in different precisions also theirs.
    marks: {(row, column, value's name): why the cell is marked}, see ``mark_best``; legend: what that means.
    """

    row_keys: tuple[str, ...]
    column_keys: tuple[str, ...]
    values: tuple[Value, ...]
    rows: tuple[Labels, ...]
    columns: tuple[Labels, ...]
    cells: Mapping[tuple[Labels, Labels, str], Cell]
    baselines: Mapping[tuple[str, Labels, str], Cell]
    splits: tuple[str, ...]
    notes: tuple[str, ...]
    remarks: Mapping[Labels, tuple[str, ...]]
    marks: Mapping[tuple[Labels, Labels, str], Mark] = attrs.field(factory=dict)
    legend: str = ""
    _repr_html_ = html_of


def tabulate(
    runs: Runs,
    *,
    rows: Sequence[str] | None = None,
    columns: Sequence[str] = (),
    values: Sequence[str] = ("accuracy",),
    over: Sequence[str] = (),
) -> Table:
    """A table of runs.

    rows, columns: dotted keys of the spec or of result.json; rows are by default the names, where each
    experiment has its own, else the keys that tell the experiments apart. values: numbers of result.json by
    dotted key; groups, question types and ``seconds`` by their own names. over: keys to average over beside
    the seed.
    Raises HacoreError when runs of one cell differ in anything else, naming it.
    """
    for key in (*(rows or ()), *columns, *over):
        known_key(key, runs.runs)
    if both := sorted({key for key in rows or () if key in columns}):
        raise HacoreError(f"'{both[0]}' is given for both rows and columns")
    if rows is None:
        rows = _usual_rows(runs.runs, (*columns, *over))
    shown = [value_named(name, runs.runs) for name in values]
    cells: dict[tuple[Labels, Labels], list[Run]] = defaultdict(list)
    by_row: dict[Labels, list[Run]] = defaultdict(list)
    by_column: dict[Labels, list[Run]] = defaultdict(list)
    for run in runs.runs:
        row, column = _labels(run, rows), _labels(run, columns)
        for group in (cells[row, column], by_row[row], by_column[column]):
            group.append(run)
    timed = any(value.timed for value in shown)
    # Runs whose precision no row or column names.
    unnamed = [] if {PRECISION, "train.precision"} & {*rows, *columns} else runs.runs
    _require_one_experiment_a_cell(cells, rows, columns, over, timed)
    baselines = {
        (name, column, value.name): cell
        for name in BASELINES
        for column, group in by_column.items()
        for value in shown
        if (cell := baseline(value, name, group))
    }
    return Table(
        row_keys=tuple(rows),
        column_keys=tuple(columns),
        values=tuple(shown),
        rows=tuple(_sorted([*by_row])),
        columns=tuple(_sorted([*by_column])),
        cells={
            (*where, value.name): cell
            for where, group in cells.items()
            for value in shown
            if (cell := summary(value, group))
        },
        baselines=baselines,
        splits=tuple(sorted({run.result.split for run in runs.runs})),
        remarks={
            row: (*shared_remarks(group), *precision_remark(group, unnamed)) for row, group in by_row.items()
        },
        notes=(*runs.notes, *_also(runs.runs, (*rows, *columns), over, timed), *precision_notes(unnamed)),
    )


def shared_remarks(runs: Sequence[Run]) -> tuple[str, ...]:
    """The remarks that hold for all of some runs."""
    return tuple(remark for remark in REMARKS if all(remark in run.remarks for run in runs))


def _usual_rows(runs: Sequence[Run], others: Sequence[str]) -> Sequence[str]:
    """The keys of rows where none are given; others: those of columns, and those averaged over."""
    return ("name",) if not others and _named_apart(runs) else distinguishing(runs, tuple(others))


def _named_apart(runs: Sequence[Run]) -> bool:
    """Whether each experiment has a name of its own, the same for all its seeds."""
    pairs = {(run.name, _text(run.options())) for run in runs}
    return len({name for name, _ in pairs}) == len({options for _, options in pairs}) == len(pairs) > 1


def distinguishing(runs: Sequence[Run], without: Sequence[str] = ()) -> tuple[str, ...]:
    """A few options that tell all experiments apart, components before their options."""
    keys = [key for key in differing(runs) if key not in without]
    keys.sort(key=lambda key: not key.endswith(".use"))
    chosen: list[str] = []
    for key in keys:
        groups: dict[str, set[str]] = defaultdict(set)
        for run in runs:
            options = run.options()
            group = _text([options.get(other) for other in (*chosen, *without)])
            groups[group].add(_text(options.get(key)))
        if any(len(values) > 1 for values in groups.values()):
            chosen.append(key)
    return tuple(chosen) or ("name",)


def experiment_names(runs: Sequence[Run], *, seeds: bool = True) -> list[str]:
    """Short names: those of the specs without what all share; where they are long or the same, what differs.

    seeds: whether that may be the seed. If not, the seed at the end of a sweep's names is left out.
    """
    names = [run.name if seeds else run.name.removesuffix(f"-seed{run.seed}") for run in runs]
    names = _without_shared_parts(names)
    what = [_what(run, [key for key in distinguishing(runs) if key != "name"]) for run in runs]
    if len(set(what)) == len(what) and max(map(len, what)) < max(map(len, names)) > _LONG:
        return what
    for keys in ([key for key in distinguishing(runs) if key != "name"], ["seed"] * seeds):
        repeated = {name for name, count in Counter(names).items() if count > 1}
        if len({_text(_labels(run, keys)) for run in runs}) > 1:
            alone = len(set(names)) == 1
            what = [_what(run, keys) for run in runs]
            names = [
                (each if alone else f"{name} ({each})") if name in repeated else name
                for name, each in zip(names, what, strict=True)
            ]
    return names


def _what(run: Run, keys: Sequence[str]) -> str:
    """``l2-topk, k = 4``: the values of keys, which are cut where that leaves them different."""
    last = Counter(key.rpartition(".")[2] for key in keys)
    parts = []
    for key in keys:
        section, _, short = key.rpartition(".")
        value = label(run.get(key))
        if short == "use":
            parts.append(value)
        elif run.get(key) is not None or f"{section}.use" not in keys:
            parts.append(f"{short if last[short] == 1 else key} = {value}")
    return ", ".join(parts)


def _without_shared_parts(names: Sequence[str]) -> list[str]:
    """``cells-k4-seed0`` and ``cells-k8-seed0`` as ``k4`` and ``k8``; what is left begins with a letter."""
    parts = [name.split("-") for name in names]
    most = min(map(len, parts)) - 1
    if len(set(names)) == 1:
        return list(names)
    first = next((at for at in range(most) if len({part[at] for part in parts}) > 1), most)
    while first and not all(part[first][:1].isalpha() for part in parts):
        first -= 1
    most -= first
    last = next((at for at in range(most) if len({part[-1 - at] for part in parts}) > 1), most)
    while last and not parts[0][-last][:1].isalpha():
        last -= 1
    return ["-".join(part[first : len(part) - last]) for part in parts]


def differing(runs: Sequence[Run]) -> list[str]:
    """The options in which runs differ, in the order of the spec."""
    every = [run.options() for run in runs]
    keys = dict.fromkeys(key for options in every for key in options)
    return [key for key in keys if len({_text(options.get(key)) for options in every}) > 1]


def more_than_the_seed(runs: Sequence[Run]) -> list[str]:
    """The options in which runs differ, without those that follow from the choice of a component."""
    keys = differing(runs)
    return [key for key in keys if not explained(key, runs, keys)]


def explained(key: str, runs: Sequence[Run], by: Sequence[str]) -> bool:
    """Whether an option follows from the choice of its component, which is one of the keys ``by``."""
    use = f"{key.partition('.')[0]}.use"
    if key == use or use not in by:
        return False
    by_component: dict[str, set[str]] = defaultdict(set)
    for run in runs:
        by_component[_text(run.get(use))].add(_text(run.get(key)))
    return all(len(values) == 1 for values in by_component.values())


def differing_machines(runs: Sequence[Run], keys: Sequence[str] = _MACHINE) -> list[str]:
    """The keys in which the machines of runs differ."""
    return [key for key in keys if len({_text(run.get(key)) for run in runs}) > 1]


def values_of(key: str, runs: Sequence[Run]) -> str:
    """The values that runs have under a key, as text."""
    distinct = sorted({_text(run.get(key)): run.get(key) for run in runs}.values(), key=sort_key)
    return ", ".join(label(value) for value in distinct)


def _require_one_experiment_a_cell(
    cells: Mapping[tuple[Labels, Labels], list[Run]],
    rows: Sequence[str],
    columns: Sequence[str],
    over: Sequence[str],
    timed: bool,
) -> None:
    mixed: dict[str, list[Run]] = {}
    for group in cells.values():
        keys = differing(group) + (differing_machines(group, (*_MACHINE, PRECISION)) if timed else [])
        for key in keys:
            if key not in over and not explained(key, group, (*keys, *over)):
                mixed.setdefault(key, group)
    if not mixed:
        return
    first = next(iter(mixed.values()))[0]
    where = ", ".join(f"{key} = {label(first.get(key))}" for key in (*rows, *columns))
    differences = "; ".join(f"{key}: {values_of(key, group)}" for key, group in mixed.items())
    key = next(iter(mixed))
    raise HacoreError(
        f"runs of one cell (the first has {where}) differ in more than the seed: {differences}; make it a "
        f"row or column (--rows {key}), choose (--where {key}=...), or say that it may be "
        f"averaged (--over {key})"
    )


def _also(runs: Sequence[Run], shown_keys: Sequence[str], over: Sequence[str], timed: bool) -> list[str]:
    """A note on options that differ between cells without being rows or columns."""
    others = [key for key in differing(runs) if key not in (*shown_keys, *over)]
    others = [key for key in others if not explained(key, runs, (*shown_keys, *over))]
    others += differing_machines(runs) if timed else []
    notes = []
    if others:
        differences = "; ".join(f"{key}: {values_of(key, runs)}" for key in others)
        notes.append(f"between cells the runs also differ in {differences}")
    if over:
        notes.append(f"means are over seeds and over {', '.join(over)}")
    return notes


def _labels(run: Run, keys: Sequence[str]) -> Labels:
    """The values of keys; lists as text, so that they can be compared and sorted."""
    return tuple(label(value) if isinstance(value := run.get(key), list) else value for key in keys)


def _sorted(labels_of_cells: Sequence[Labels]) -> list[Labels]:
    """Each once, numbers by size, everything else in the order of first appearance."""
    distinct = list(dict.fromkeys(labels_of_cells))
    first = {
        (position, _text(value)): rank
        for rank, labels in reversed(list(enumerate(distinct)))
        for position, value in enumerate(labels)
    }

    def key(labels: Labels) -> list[Any]:
        return [
            (*sort_key(value), first[position, _text(value)] if sort_key(value)[0] == 1 else 0)
            for position, value in enumerate(labels)
        ]

    return sorted(distinct, key=key)


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)

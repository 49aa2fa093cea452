"""Which values of a column are the best, and which may be as good."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path

import attrs

from hacore.errors import HacoreError
from hacore_report._runs import ORACLE, Run, Runs, label
from hacore_report._scores import Scores, image_sums, read_scores
from hacore_report._statistics import Difference, difference
from hacore_report._table import Labels, Mark, Table, more_than_the_seed
from hacore_report._values import Value


def mark_best(table: Table, runs: Runs) -> Table:
    """The table with marks on the best accuracy of each column, and on those not different from it.

    An oracle is no competitor and is never marked. runs: those of the table; each predictions file is read
    once. A column that cannot be marked, as one where predictions are missing, has a note that says why.
    """
    by_path, read = {run.place: run for run in runs.runs}, functools.cache(read_scores)
    marks: dict[tuple[Labels, Labels, str], Mark] = {}
    decisive: list[Difference] = []
    problems: dict[str, list[str]] = {}
    for column in table.columns:
        for value in table.values:
            keys = [
                key
                for row in table.rows
                if (key := (row, column, value.name)) in table.cells and ORACLE not in table.remarks[row]
            ]
            if len(keys) < 2 or value.part is None:
                continue
            try:
                cells = [[by_path[path] for path in table.cells[key].runs] for key in keys]
                differences = _of_column(cells, value, read)
            except HacoreError as error:
                name = " ".join([*map(label, column), value.name])
                problems.setdefault(str(error), []).append(name)
                continue
            decisive += [each for each in differences if each]
            marks.update({key: mark for key, mark in zip(keys, marks_of(differences), strict=True) if mark})
    notes = [
        f"the best of {', '.join(names)} is not marked: {problem}" for problem, names in problems.items()
    ]
    return attrs.evolve(table, marks=marks, legend=legend(decisive), notes=(*table.notes, *notes))


def against_best(
    sides: Sequence[Sequence[Scores]],
    types: Sequence[str] | None = None,
    paired: Callable[[int, int], bool] = lambda one, other: True,
) -> list[Difference | None]:
    """The best minus each of several experiments on the same questions; None is the best itself.

    sides: of each experiment the scores of its runs. types: only questions of these. paired: whether the
    runs of two experiments, by their places, belong together.
    """
    sums, questions_I = image_sums(sides, types)
    totals = [float(sums_SI.mean(0).sum()) for sums_SI in sums]
    best = totals.index(max(totals))
    return [
        None if place == best else difference(sums[best], sums_SI, questions_I, paired=paired(best, place))
        for place, sums_SI in enumerate(sums)
    ]


def marks_of(differences: Sequence[Difference | None]) -> list[Mark | None]:
    """What ``against_best`` says of each experiment; None where it differs from the best."""
    return [
        "best" if value is None else "not different" if value.covers_none else None for value in differences
    ]


def legend(differences: Sequence[Difference]) -> str:
    """What a mark means that these differences have decided; "" without any."""
    if not differences:
        return ""
    with_seeds = {bool(value.over_seeds) for value in differences}
    over = "images and, of several seeds, over seeds" if len(with_seeds) > 1 else "images"
    over = "images and seeds" if with_seeds == {True} else over
    return (
        "the best, or not significantly different from the best: the paired 95% interval of the difference, "
        f"over {over}, covers 0, with no correction for the number of comparisons"
    )


def _of_column(
    cells: Sequence[Sequence[Run]], value: Value, read: Callable[[Path], Scores]
) -> list[Difference | None]:
    """Raises HacoreError where the cells cannot be compared on the same questions."""
    runs = [run for cell in cells for run in cell]
    for key in ("split", "data.fingerprint"):
        if any(run.get(key) != runs[0].get(key) for run in runs):
            raise HacoreError(f"the runs differ in {key}")
    if keys := [key for cell in cells for key in more_than_the_seed(cell)]:
        raise HacoreError(f"a mean is over {keys[0]} too, which has no interval")
    ordered = [sorted(cell, key=lambda run: run.seed) for cell in cells]
    seeds = [[run.seed for run in cell] for cell in ordered]
    sides = [[read(run.predictions(run.result.split)) for run in cell] for cell in ordered]
    for side in sides:
        for scores in side:
            sides[0][0].require_same_questions(scores)
    return against_best(sides, value.types(runs), lambda one, other: seeds[one] == seeds[other])

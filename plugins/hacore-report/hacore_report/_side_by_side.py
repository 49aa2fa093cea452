"""The page about several experiments on the same questions, each averaged over its seeds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hacore.errors import HacoreError
from hacore.machine.files import write_whole
from hacore.measure.predictions import Prediction
from hacore.runs import RunFolder
from hacore_report._compared import Compared
from hacore_report._predictions import Row, by_group, mean_rows, members_of
from hacore_report._rendering import named_baselines, number, render
from hacore_report._runs import Run, label, precision_notes, precision_remark, read_runs
from hacore_report._table import differing, differing_machines, experiment_names, explained, shared_remarks
from hacore_report._values import Value, summary
from hacore_report.predictions import read_predictions

MOST_RUNS = 8


COSTS = {
    "multiply-adds": "multiply_adds",
    "parameters": "parameters",
    "training (s)": "training.seconds",
    "questions/s": "training.questions_per_second",
}


def write_comparison(
    runs: Sequence[str | Path], output: str | Path, *, device: str = "auto"
) -> tuple[Path, tuple[str, ...]]:
    """Write a page that shows experiments side by side on the same questions; returns its path, and notes.

    runs: run folders, sweep folders, folders of runs; at most ``MOST_RUNS`` experiments, measured on the
    same split of the same data, or HacoreError. Runs that differ in their seed only are one experiment, with
    mean and deviation over its seeds; where there is only one experiment, each seed is shown.
    """
    from hacore_report._gallery import open_gallery

    finished = read_runs(runs)
    _require_same_data(finished.runs)
    experiments = _experiments(finished.runs)
    tables = _same_questions(finished.runs)
    shown = [experiment[0] for experiment in experiments]  # a question has one picture of each experiment
    gallery, problem = open_gallery(
        [RunFolder(run.path) for run in shown],
        [tables[run.path] for run in shown],
        shown[0].result.split,
        device,
        first=6,
    )
    notes = precision_notes(finished.runs)
    page = _written(experiments, tables, precisions=notes, gallery=gallery, problem=problem)
    path = Path(output)
    write_whole(path, page.encode(), option="--output")
    return path, (*finished.notes, *notes)


def _written(
    experiments: Sequence[Sequence[Run]], tables: dict[Path, list[Prediction]], **values: Any
) -> str:
    """The page. values: for the template."""
    from hacore_report import _figures

    every = [run for runs in experiments for run in runs]
    first = every[0].result
    compared, legend = _compare(experiments, tables)
    devices = differing_machines(every, ["training.device"])
    return render(
        "comparison.html.jinja",
        title="Comparison of " + ", ".join(each.name for each in compared),
        sections={
            "cost": "Accuracy against cost",
            "types": "Accuracy by type of question",
            "gallery": "The same questions, side by side",
            "differences": "What differs",
        },
        result=first,
        questions=compared[0].all.questions,
        legend=legend,
        compared=compared,
        kept_differ=any(row.kept != each.all.kept for each in compared for row in each.rows),
        costs=[*COSTS, *(["device"] if devices else [])],
        device=None if devices else every[0].get("training.device"),
        differences=_differences([runs[0] for runs in experiments]),
        baselines=named_baselines(first),
        groups=members_of(compared[0].rows, first.groups or {}),
        figure=_figures.against_cost(compared),
        **values,
    )


def _experiments(runs: Sequence[Run]) -> list[list[Run]]:
    """The runs of each experiment in the order of their seeds; of one experiment, its runs one by one."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(json.dumps(run.options(), sort_keys=True), []).append(run)
    experiments = [sorted(group, key=lambda run: run.seed) for group in groups.values()]
    if len(experiments) == 1:
        experiments = [[run] for run in experiments[0]]
    if len(experiments) > MOST_RUNS:
        raise HacoreError(
            f"{len(experiments)} experiments are too many for one page; compare at most {MOST_RUNS}, or "
            "make a table with 'hacore table'"
        )
    return experiments


def _require_same_data(runs: Sequence[Run]) -> None:
    first = runs[0]
    for run in runs[1:]:
        for key in ("split", "data.fingerprint"):
            if run.get(key) != first.get(key):
                raise HacoreError(
                    f"{run.path}: {key} is {label(run.get(key))}, in {first.path} {label(first.get(key))}; "
                    "runs are compared on the same questions"
                )


def _same_questions(runs: Sequence[Run]) -> dict[Path, list[Prediction]]:
    """The predictions of each run. Raises HacoreError where they are not on the same questions."""
    tables = {run.path: read_predictions(run.predictions(run.result.split)) for run in runs}
    first, *others = tables
    questions = {(line.id, line.type) for line in tables[first]}
    for path in others:
        if {(line.id, line.type) for line in tables[path]} != questions:
            raise HacoreError(
                f"{path}: its predictions are on other questions than those of {first}; "
                "measure both again with 'hacore eval'"
            )
    return tables


def _compare(
    experiments: Sequence[Sequence[Run]], tables: dict[Path, list[Prediction]]
) -> tuple[list[Compared], str]:
    """The experiments, and what a mark means."""
    every = [run for experiment in experiments for run in experiment]
    groups = every[0].result.groups or {}
    names = experiment_names([runs[0] for runs in experiments], seeds=len(every) == len(experiments))
    rows = [mean_rows([by_group(tables[run.path], groups) for run in runs]) for runs in experiments]
    marked, legend = _marked(experiments, tables, rows[0])
    devices = differing_machines(every, ["training.device"])
    compared = [
        Compared(
            name=name,
            runs=tuple(runs),
            rows=tuple(own),
            costs=(*_costs(runs), *([_device(runs)] if devices else [])),
            marked=marks,
            remarks=(*shared_remarks(runs), *precision_remark(runs, every)),
        )
        for name, runs, own, marks in zip(names, experiments, rows, marked, strict=True)
    ]
    return compared, legend


def _costs(runs: Sequence[Run]) -> list[str]:
    """Means over seeds, with the deviation where they differ."""
    texts = []
    for name, key in COSTS.items():
        cell = summary(Value(name=name, key=key), runs)
        text = number(cell.mean if cell else None) or "–"
        texts.append(f"{text} ± {cell.deviation:,.0f}" if cell and cell.deviation else text)
    return texts


def _device(runs: Sequence[Run]) -> str:
    return ", ".join(dict.fromkeys(str(run.get("training.device") or "–") for run in runs))


def _differences(runs: Sequence[Run]) -> list[tuple[str, list[str]]]:
    """The names of the specs, and each option in which the experiments differ with its values."""
    keys = differing(runs)
    keys = ["name", *(key for key in keys if not explained(key, runs, keys) or key.startswith("selector."))]
    return [(key, [label(run.get(key)) for run in runs]) for key in keys]


def _marked(
    experiments: Sequence[Sequence[Run]], tables: dict[Path, list[Prediction]], rows: Sequence[Row]
) -> tuple[list[frozenset[int]], str]:
    """Of each experiment the places of the rows to mark; and what a mark means.

    None without answers, and none of an oracle, which is no competitor.
    """
    from hacore_report._marks import against_best, legend, marks_of
    from hacore_report._scores import Scores

    marked: list[frozenset[int]] = [frozenset() for _ in experiments]
    places = [place for place, runs in enumerate(experiments) if not runs[0].result.oracle]
    if len(places) < 2 or all(row.accuracy is None for row in rows):
        return marked, ""

    def scores(run: Run) -> Scores:
        lines = [(line.id, line.image, line.type, line.score) for line in tables[run.path]]
        return Scores.of(lines, run.predictions(run.result.split))

    def paired(one: int, other: int) -> bool:
        seeds = [[run.seed for run in experiments[places[at]]] for at in (one, other)]
        return seeds[0] == seeds[1]

    sides = [[scores(run) for run in experiments[place]] for place in places]
    groups = members_of(rows, experiments[0][0].result.groups or {})
    differences = [against_best(sides, _types(row, groups), paired) for row in rows]
    marks = [marks_of(each) for each in differences]
    for at, place in enumerate(places):
        marked[place] = frozenset(number for number, each in enumerate(marks) if each[at])
    return marked, legend([value for each in differences for value in each if value])


def _types(row: Row, groups: dict[str, list[str]]) -> list[str] | None:
    """The types of question of a row; None for all."""
    if row.kind == "all":
        return None
    return groups[row.name] if row.kind == "group" else [row.name]

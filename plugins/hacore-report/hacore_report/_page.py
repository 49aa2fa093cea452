"""Pages about runs: one file each, which fetches nothing."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from hacore.errors import DataError, HacoreError
from hacore.machine.files import write_whole
from hacore.measure.predictions import Prediction, read_predictions
from hacore.measure.scores import Baseline
from hacore.runs import Result, RunFolder
from hacore.runs.metrics import read_metrics
from hacore.runs.result import Measured, Training
from hacore_report._predictions import Compared, by_type, confusion
from hacore_report._runs import Run, label, precision_notes, precision_remark, read_runs
from hacore_report._table import experiment_names
from hacore_report._values import BASELINES

if TYPE_CHECKING:
    from hacore.runs.trained import Trained
    from hacore_report._gallery import Gallery

MOST_RUNS = 8
_MOST_DAMAGED = 5  # lines of metrics that are named
log = logging.getLogger("hacore")


def write_report(
    run: RunFolder | str | Path, *, trained: Trained | None = None, device: str = "auto"
) -> Path:
    """Write the page about a finished run, ``report/index.html`` in its folder; returns its path.

    trained: its model, where it is loaded already. Where the model or its data cannot be opened the page
    has no gallery and says why; damaged lines of metrics.jsonl are left out and named. Raises RunError when
    the run is not finished.
    """
    from hacore_report import _figures

    folder = run if isinstance(run, RunFolder) else RunFolder.open(run)
    result = folder.result()
    predictions = read_predictions(folder.predictions_file(result.split))
    rows = by_type(predictions)
    cells = round(rows[-1].kept / result.kept) if result.kept else 0
    gallery, problem = _gallery([folder], [trained], [predictions], result.split, device)
    damaged: list[str] = []
    metrics = read_metrics(folder.metrics_file, damaged=damaged.append)
    for line in damaged[:_MOST_DAMAGED]:
        log.warning(line)
    page = render(
        "run.html.jinja",
        title=result.name,
        result=result,
        spec=folder.text(),
        cost=run_cost(result, cells),
        curves=_figures.curves(metrics),
        damaged=damaged[:_MOST_DAMAGED],
        rows=rows,
        cells=cells,
        baselines=baselines_of(result),
        baseline_of=_baseline_of,
        kept=_figures.kept_cells(predictions, cells),
        confusion=confusion(predictions),
        gallery=gallery,
        problem=problem,
    )
    write_whole(folder.report_file, page.encode())
    return folder.report_file


def write_comparison(
    runs: Sequence[str | Path], output: str | Path, *, device: str = "auto"
) -> tuple[Path, tuple[str, ...]]:
    """Write a page that shows runs side by side on the same questions; returns its path, and notes.

    runs: run folders, sweep folders, folders of runs; at most ``MOST_RUNS`` runs, measured on the same
    split of the same data, or HacoreError.
    """
    from hacore_report import _figures

    finished = read_runs(runs)
    _require_same_data(finished.runs)
    folders = [RunFolder(run.path) for run in finished.runs]
    first = finished.runs[0].result
    split = first.split
    tables = [read_predictions(folder.predictions_file(split)) for folder in folders]
    for folder, table in zip(folders, tables, strict=True):
        if {(line.id, line.type) for line in table} != {(line.id, line.type) for line in tables[0]}:
            raise HacoreError(
                f"{folder.path}: its predictions are on other questions than those of {folders[0].path}; "
                "measure both again with 'hacore eval'"
            )
    marked, legend = _marked(finished.runs, folders, tables, split)
    compared = [
        Compared(
            name=name,
            result=run.result,
            types={row.name: row for row in by_type(table)},
            marked=rows,
            remarks=(*run.remarks, *precision_remark([run], finished.runs)),
        )
        for name, run, table, rows in zip(
            experiment_names(finished.runs), finished.runs, tables, marked, strict=True
        )
    ]
    gallery, problem = _gallery(folders, [None] * len(folders), tables, split, device)
    page = render(
        "comparison.html.jinja",
        title="Comparison of " + ", ".join(row.name for row in compared),
        split=split,
        data=first.data,
        questions=len(tables[0]),
        legend=legend,
        compared=compared,
        precisions=precision_notes(finished.runs),
        baselines=baselines_of(first),
        baseline_of=_baseline_of,
        figure=_figures.againstrun_cost(compared),
        gallery=gallery,
        problem=problem,
    )
    path = Path(output)
    write_whole(path, page.encode(), option="--output")
    return path, (*finished.notes, *precision_notes(finished.runs))


def _require_same_data(runs: Sequence[Run]) -> None:
    if len(runs) > MOST_RUNS:
        raise HacoreError(f"{len(runs)} runs are too many for one page; compare at most {MOST_RUNS}")
    first = runs[0]
    for run in runs[1:]:
        for key in ("split", "data.fingerprint"):
            if run.get(key) != first.get(key):
                raise HacoreError(
                    f"{run.path}: {key} is {label(run.get(key))}, in {first.path} {label(first.get(key))}; "
                    "runs are compared on the same questions"
                )


def _marked(
    runs: Sequence[Run],
    folders: Sequence[RunFolder],
    tables: Sequence[Sequence[Prediction]],
    split: str,
) -> tuple[list[frozenset[str]], str]:
    """Of each run the types of question, or "all", to mark; and what a mark means.

    None without answers, and none of an oracle, which is no competitor.
    """
    from hacore_report._marks import against_best, legend, marks_of
    from hacore_report._scores import Scores

    marked: list[frozenset[str]] = [frozenset() for _ in tables]
    places = [place for place, run in enumerate(runs) if not run.result.oracle]
    if len(places) < 2 or all(line.score is None for line in tables[0]):
        return marked, ""
    sides = [
        [
            Scores.of(
                [(line.id, line.image, line.type, line.score) for line in tables[place]],
                folders[place].predictions_file(split),
            )
        ]
        for place in places
    ]
    names = sides[0][0].types
    differences = {name: against_best(sides, [name]) for name in names} | {"all": against_best(sides)}
    marks = {name: marks_of(each) for name, each in differences.items()}
    for number, place in enumerate(places):
        marked[place] = frozenset(name for name in marks if marks[name][number])
    return marked, legend([value for each in differences.values() for value in each if value])


def _gallery(
    folders: Sequence[RunFolder],
    models: Sequence[Trained | None],
    tables: Sequence[Any],
    split: str,
    device: str,
) -> tuple[Gallery | None, str | None]:
    """The gallery, or why there is none."""
    from hacore.runs.trained import load
    from hacore_report._gallery import gallery

    try:
        loaded: list[Trained] = []
        for folder, model in zip(folders, models, strict=True):
            trained = model or load(folder, device=device)
            if loaded and trained.opened is None:  # the data have the same fingerprint
                trained = attrs.evolve(trained, opened=loaded[0].dataset.reading(None))
            loaded.append(_with_features(trained))
        return gallery(list(zip(loaded, tables, strict=True)), split, most=240 // len(folders)), None
    except HacoreError as error:
        return None, str(error)


def _with_features(trained: Trained) -> Trained:
    """The model with its data read as when it was measured: from a store of features, if any."""
    from hacore.features.describe import with_features

    if trained.opened is not None and trained.opened.store is not None:
        return trained
    try:
        return attrs.evolve(trained, opened=with_features(trained.dataset, trained.spec, trained.model))
    except DataError:  # without the store: the images give the same up to rounding
        return trained


def run_cost(result: Result, cells: int) -> list[tuple[str, str]]:
    """What the run cost, in words. cells: of the grid, 0 where it is not known."""
    training = result.training or Training(seconds=math.nan)
    rows = [
        ("cells kept", f"{result.kept:.1%} of {cells}" if cells else f"{result.kept:.1%}"),
        ("training", _duration(training.seconds) if result.training else None),
        ("questions per second in training", _number(training.questions_per_second)),
        ("steps", _number(training.steps)),
        ("weights of step", _number(result.checkpoint.get("step"))),
        ("device", training.device),
        ("precision", training.precision),
        (
            "processes, threads of each",
            f"{training.processes}, {training.threads}" if training.processes else None,
        ),
        ("parameters", _number(result.parameters)),
        ("multiply-adds of a question", _number(result.multiply_adds)),
        *(
            (f"of these: {stage.replace('_', ' ')}", _number(count))
            for stage, count in (result.multiply_adds_by_stage or {}).items()
        ),
    ]
    return [(name, value) for name, value in rows if value is not None]


def _number(value: float | None) -> str | None:
    return None if value is None else f"{value:,.0f}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


def baselines_of(result: Measured) -> list[tuple[str, Baseline]]:
    """The baselines with their names in words."""
    return [(BASELINES.get(name, name), baseline) for name, baseline in result.baselines.items()]


def _baseline_of(baseline: Baseline, name: str) -> float | None:
    """A baseline's accuracy of a type of question, or of "all"."""
    return baseline.accuracy if name == "all" else baseline.by_type.get(name)


def render(template: str, **values: Any) -> str:
    """A template of this package with these values, escaped."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("hacore_report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = lambda value: _number(value) or "–"
    environment.filters["percent"] = lambda value: "–" if value is None else f"{100 * value:.1f}"
    text: str = environment.get_template(template).render(**values)
    return text

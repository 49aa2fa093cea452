"""The page about a run: one file, which fetches nothing."""

from __future__ import annotations

import datetime
import logging
import math
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from hacore.errors import HacoreError
from hacore.machine.files import write_whole
from hacore.measure.predictions import Prediction
from hacore.runs import Result, RunFolder
from hacore.runs.metrics import EvalLine, TrainLine, read_metrics
from hacore.runs.result import Training
from hacore_report._predictions import by_group, confusion, members_of
from hacore_report._rendering import named_baselines, number, render
from hacore_report._runs import label
from hacore_report.predictions import read_predictions

if TYPE_CHECKING:
    from hacore.runs.trained import Trained
    from hacore_report._choice import Choice

_MOST_DAMAGED = 5  # lines of metrics that are named
_MOST_ROWS = 20  # of the table of types; of more, types are folded
_STAGES = ("image_encoder", "question_encoder", "fuser", "selector", "aggregator", "head")
log = logging.getLogger("hacore")


def write_report(
    run: RunFolder | str | Path, *, trained: Trained | None = None, device: str = "auto"
) -> Path:
    """Write the page about a finished run, ``report/index.html`` in its folder; returns its path.

    trained: its model, where it is loaded already. Where the model or its data cannot be opened the page
    has no gallery and says why; damaged lines of metrics.jsonl are left out and named. Raises RunError when
    the run is not finished.
    """
    return write_page(run, trained=trained, device=device)[0]


def write_page(
    run: RunFolder | str | Path, *, trained: Trained | None = None, device: str = "auto"
) -> tuple[Path, str]:
    """As ``write_report``; and what the page warns of, "" where it warns of nothing."""
    folder = run if isinstance(run, RunFolder) else RunFolder.open(run)
    result = folder.result()
    predictions = read_predictions(folder.predictions_file(result.split))
    looked = _looked(trained or folder, predictions, result.split, device)
    damaged: list[str] = []
    metrics = read_metrics(folder.metrics_file, damaged=damaged.append)
    for line in damaged[:_MOST_DAMAGED]:
        log.warning(line)
    page = _written(
        folder,
        result,
        predictions,
        metrics=metrics,
        damaged=damaged[:_MOST_DAMAGED],
        **looked,
    )
    write_whole(folder.report_file, page.encode())
    return folder.report_file, looked["choice"].warning if looked["choice"] else ""


def _looked(
    run: RunFolder | Trained, predictions: Sequence[Prediction], split: str, device: str
) -> dict[str, Any]:
    """For the template: what the model itself must be asked, or the problem, why it cannot."""
    from hacore_report._asking import open_models
    from hacore_report._choice import choice_of
    from hacore_report._gallery import gallery

    try:
        (model,) = open_models([run], device)
        shown = gallery([(model, predictions)], split, first=12)
        return {"gallery": shown, "choice": choice_of(model, split), "problem": None}
    except HacoreError as error:
        return {"gallery": None, "choice": None, "problem": str(error)}


def _written(
    folder: RunFolder,
    result: Result,
    predictions: Sequence[Prediction],
    *,
    metrics: Sequence[TrainLine | EvalLine],
    damaged: Sequence[str],
    choice: Choice | None,
    **values: Any,
) -> str:
    """The page. values: for the template."""
    from hacore_report import _figures

    groups = result.groups or {}
    rows = by_group(predictions, groups)
    cells = round(rows[-1].kept / result.kept) if result.kept else 0
    curves, kept = _figures.curves(metrics), _figures.kept_cells(predictions, cells)
    confusions, spec = confusion(predictions), folder.text()
    sections = {
        "gallery": "What it looked at",
        "types": "Accuracy by type of question",
        "kept": "Kept cells" if kept else "",
        "choice": "What the choice is worth" if choice else "",
        "confusions": "Confusions" if confusions else "",
        "model": "Model and cost",
        "training": "Training" if curves or damaged else "",
        "spec": "Spec",
    }
    return render(
        "run.html.jinja",
        title=result.name,
        sections={key: name for key, name in sections.items() if name},
        result=result,
        date=_date(folder),
        stages=_stages(spec, result),
        spec=spec,
        cost=run_cost(result, cells),
        curves=curves,
        damaged=damaged,
        rows=rows,
        most_rows=_MOST_ROWS,
        groups=members_of(rows, groups),
        cells=cells,
        baselines=named_baselines(result),
        kept=kept,
        choice=choice,
        choice_figure=_figures.choice(choice) if choice else None,
        confusion=confusions,
        **values,
    )


@attrs.frozen(kw_only=True)
class _Stage:
    """A stage of the model. options: those of its component, as the spec writes them."""

    name: str
    component: str
    options: str
    multiply_adds: int | None


def _stages(spec: str, result: Result) -> list[_Stage]:
    """None where the spec cannot be read; the page shows it all the same."""
    try:
        table = tomllib.loads(spec)
    except (ValueError, RecursionError):
        return []
    costs = result.multiply_adds_by_stage or {}
    stages = []
    for stage in _STAGES:
        if isinstance(section := table.get(stage), dict):
            options = [f"{key} = {label(value)}" for key, value in section.items() if key != "use"]
            component = label(section.get("use", "MLP"))
            words = stage.replace("_", " ")
            stages.append(
                _Stage(
                    name=words,
                    component=component,
                    options=", ".join(options),
                    multiply_adds=costs.get(stage),
                )
            )
    return stages


def _date(folder: RunFolder) -> str:
    """When the run began, as the name of its folder says; of a renamed folder, when it ended."""
    try:
        begun = datetime.datetime.strptime(folder.path.resolve().name[:15], "%Y%m%d-%H%M%S")
    except ValueError:
        begun = datetime.datetime.fromtimestamp(folder.result_file.stat().st_mtime)
    return f"{begun:%Y-%m-%d %H:%M}"


def run_cost(result: Result, cells: int) -> list[tuple[str, str]]:
    """What the run cost, in words. cells: of the grid, 0 where it is not known."""
    training = result.training or Training(seconds=math.nan)
    rows = [
        ("cells kept", f"{result.kept:.1%} of {cells}" if cells else f"{result.kept:.1%}"),
        ("training", _duration(training.seconds) if result.training else None),
        ("questions per second in training", number(training.questions_per_second)),
        ("steps", number(training.steps)),
        ("weights of step", number(result.checkpoint.get("step"))),
        ("device", training.device),
        ("precision", training.precision),
        (
            "processes, threads of each",
            f"{training.processes}, {training.threads}" if training.processes else None,
        ),
        ("parameters", number(result.parameters)),
        ("multiply-adds of a question", number(result.multiply_adds)),
    ]
    return [(name, value) for name, value in rows if value is not None]


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"

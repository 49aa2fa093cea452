"""What notebooks show: specs, runs, results, replies and tables as HTML, and how work goes on."""

from __future__ import annotations

import importlib
import time
from collections import deque
from functools import partial
from typing import Any

from hacore.cli.tables import percent
from hacore.errors import HacoreError
from hacore.measure.scores import Part
from hacore.runs import RunFolder
from hacore.runs.metrics import read_metrics
from hacore.runs.result import Measured, Result
from hacore.spec import SECTIONS, Spec, dump_spec, shown, unstructure_config
from hacore_report._compare import Comparison
from hacore_report._formats import sheet_of
from hacore_report._page import run_cost
from hacore_report._rendering import named_baselines, render
from hacore_report._runs import Runs
from hacore_report._table import Table

_SIDE = 260  # pixels of a reply's picture


def html_of(value: object) -> str | None:
    """The HTML of what hacore gives, as a spec, a result, a trained model or runs; None of anything else."""
    if isinstance(value, RunFolder):
        return _folder(value)
    if isinstance(value, Measured):
        return _rendered("result", **_result(value))
    if isinstance(value, Spec):
        return _rendered("spec", name=value.name, seed=value.seed, parts=_parts(value), text=dump_spec(value))
    if isinstance(value, Table):
        return _rendered("table", sheet=sheet_of(value, None), notes=value.notes)
    if isinstance(value, Comparison):
        return _comparison(value)
    if isinstance(value, Runs):
        return _runs(value)
    # By name, as these classes are in modules that import torch, or in packages that may not be installed.
    draw = {"Check": _check, "Reply": _reply, "Trained": _trained}.get(type(value).__name__)
    return draw(value) if draw else None


class Cell:
    """One output of a notebook's cell that changes: the last lines, then how far each piece of work is.

    Plain text, as all notebooks show and keep it; rich's bars need ipywidgets, and are lost on saving.
    """

    def __init__(self) -> None:
        self.work: dict[str, str] = {}
        self._lines: deque[str] = deque(maxlen=12)
        self._output: Any = None
        self._shown = 0.0

    def line(self, text: str) -> None:
        """Add a line."""
        self._lines.append(text)
        self._show()

    def progress(self, name: str, share: float, text: str) -> None:
        """The piece of work ``name`` is so far; shown four times a second, and at the end."""
        self.work[name] = f"{'█' * round(12 * min(share, 1)):░<12} {name}: {text}".rstrip()
        if share >= 1 or time.monotonic() - self._shown > 0.25:
            self._show()

    def _show(self) -> None:
        display = importlib.import_module("IPython.display").display  # notebooks come with it
        show = self._output.update if self._output else partial(display, display_id=True)
        text = "\n".join([*self._lines, *self.work.values()])
        self._output = show({"text/plain": text}, raw=True) or self._output
        self._shown = time.monotonic()


def _rendered(kind: str, **values: Any) -> str:
    return render("notebook.html.jinja", kind=kind, **values)


def _parts(spec: Spec) -> list[tuple[str, str, str]]:
    """Of each component its table, its name and its options, in words."""
    parts = []
    for section in SECTIONS:
        options = unstructure_config(spec.section(section).options)
        words = ", ".join(f"{key} = {shown(value)}" for key, value in options.items())
        parts.append((section.replace("_", " "), spec.section(section).use, words))
    return parts


def _result(result: Measured) -> dict[str, Any]:
    """What the template shows of a result: rows by group, by type and of all, with baselines beside them."""
    baselines = named_baselines(result)

    def rows(parts: dict[str, Part], by: str) -> list[tuple[str, Part, list[float | None]]]:
        return [
            (name, part, [getattr(baseline, by).get(name) for _, baseline in baselines])
            for name, part in parts.items()
        ]

    return {
        "result": result,
        "rows": [*rows(result.by_type, "by_type"), *rows(result.by_group, "by_group")],
        "baselines": baselines,
        "cost": run_cost(result, 0)[1:] if isinstance(result, Result) else [],
    }


def _folder(folder: RunFolder) -> str:
    """Its result, or how far it is; an error in words, as a notebook would show a traceback."""
    values: dict[str, Any] = {"path": str(folder.path), "parts": [], "state": "", "report": ""}
    try:
        values |= {"parts": _parts(folder.spec())}
        if folder.result_file.is_file():
            values |= _result(folder.result())
            if folder.report_file.is_file():
                values["report"] = folder.report_file.as_posix()
        else:
            values["state"] = _state(folder)
    except HacoreError as error:
        values["state"] = str(error)
    return _rendered("folder", **values)


def _trained(trained: Any) -> str:
    """Its parts, which may be others than those of its run, and where it is from."""
    from hacore.measure.predict import precision_name

    state = f"step {trained.step:,}, {precision_name(trained.precision)} on {trained.device}"
    path = str(trained.folder.path)
    return _rendered("folder", path=path, parts=_parts(trained.spec), state=state, report="")


def _runs(runs: Runs) -> str:
    rows = [
        [run.name, str(run.seed), percent(run.result.accuracy), percent(run.result.kept), run.place]
        for run in runs.runs
    ]
    head = ["run", "seed", "accuracy (%)", "kept (%)", "folder"]
    return _rendered("runs", count=len(rows), head=head, rows=rows, notes=runs.notes)


def _state(folder: RunFolder) -> str:
    lines = read_metrics(folder.metrics_file, tail=True)
    if not lines:
        return "not finished; no step is logged yet"
    last = lines[-1]
    return f"not finished; step {last.step:,}, epoch {last.epoch:.2f}, accuracy {last.accuracy:.1%}"


def _check(check: Any) -> str:
    return _rendered("check", check=check)


def _reply(reply: Any) -> str:
    from PIL import Image

    from hacore_report._figures import heat
    from hacore_report._gallery import data_uri

    presence = Image.fromarray(heat(reply.seen.presence))
    return _rendered(
        "reply",
        reply=reply,
        kept=data_uri(reply.draw(_SIDE, caption=False)),
        presence=data_uri(presence),
        cells=reply.seen.presence.size,
    )


def _comparison(comparison: Comparison) -> str:
    from hacore_report.compare_command import sentence, table_of

    _, columns, rows = table_of(comparison)
    return _rendered(
        "comparison",
        comparison=comparison,
        columns=columns,
        rows=rows,
        sentence=sentence(comparison),
    )

"""Accuracy against the questions that trainings have seen, and against their hours, from metrics.jsonl."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import attrs

from hacore.errors import HacoreError
from hacore.runs import RunFolder
from hacore.runs.metrics import EvalLine, read_metrics
from hacore.spec import read_toml
from hacore_report._plot import SETTINGS, line_look, picture_file, plain, save
from hacore_report._runs import run_folders


@attrs.frozen(kw_only=True)
class Curve:
    """The evaluations of one training, in order; of its split."""

    name: str
    split: str
    questions: tuple[float, ...]
    hours: tuple[float, ...]
    accuracy: tuple[float, ...]


def plot_curves(
    paths: Iterable[str | Path], output: str | Path, *, title: str | None = None
) -> tuple[str, ...]:
    """Draw the accuracy of every evaluation against questions seen, in millions, and against hours.

    paths: run folders, finished or not, folders of runs, and sweep folders. output: a file whose ending,
    .svg, .png or .pdf, says its format. Hours are those of training, over all sessions, evaluations
    included. Returns notes for the reader. Raises HacoreError where no training has been evaluated.
    """
    import matplotlib

    picture, notes = picture_file(output), list[str]()
    curves = [
        curve
        for path in paths
        for folder in run_folders(Path(path), notes)
        if (curve := _curve(folder, notes))
    ]
    if not curves:
        raise HacoreError("\n".join([*notes, "no training has been evaluated yet; there is nothing to draw"]))
    with matplotlib.rc_context(SETTINGS):
        save(_figure(curves, title), picture)
    return tuple(notes)


def _curve(folder: RunFolder, notes: list[str]) -> Curve | None:
    lines = [
        line for line in read_metrics(folder.metrics_file, damaged=notes.append) if isinstance(line, EvalLine)
    ]
    if not lines:
        notes.append(f"{folder.path}: has not been evaluated yet and is left out")
        return None
    if any(line.questions_seen is None for line in lines):
        notes.append(
            f"{folder.path}: does not say how many questions it had seen, as it is of an earlier version"
        )
        return None
    spec = read_toml(folder.spec_file)[1]  # plainly, as its components may not be installed here
    return Curve(
        name=f"{spec.get('name')}, seed {spec.get('seed')}",
        split=lines[0].split,
        questions=tuple((line.questions_seen or 0) / 1e6 for line in lines),
        hours=tuple(line.seconds / 3600 for line in lines),
        accuracy=tuple(100 * line.accuracy for line in lines),
    )


def _figure(curves: Sequence[Curve], title: str | None) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.6, 3.2), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    for number, curve in enumerate(curves):
        colour, dashes, _ = line_look(number)
        for ax, across in zip(axes, (curve.questions, curve.hours), strict=True):
            marker = "." if len(across) < 50 else None
            ax.plot(
                across,
                curve.accuracy,
                label=plain(curve.name),
                marker=marker,
                color=colour,
                linestyle=dashes,
            )
    for ax, label in zip(axes, ("training questions seen (millions)", "training (hours)"), strict=True):
        ax.set_xlabel(label)
        ax.set_xlim(left=0)
        ax.grid(axis="y", color="#DDDDDD", linewidth=0.5)
    axes[0].set_ylabel(f"accuracy on {' and '.join(sorted({curve.split for curve in curves}))} (%)")
    figure.legend(
        *axes[0].get_legend_handles_labels(),
        loc="outside upper center",
        ncols=min(len(curves), 3),
        frameon=False,
        title=title and plain(title),
    )
    return figure

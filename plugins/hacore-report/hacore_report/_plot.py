"""Accuracy, time and multiply-adds against the share of cells that are kept.

Series differ in colour, marker and line style, so that they can be told apart in grey and by readers who
are colour-blind; the colours are those of Okabe and Ito (https://jfly.uni-koeln.de/color/).
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from hacore.errors import HacoreError
from hacore_report._runs import Run, Runs, known_key, label, precision_notes, precision_remark
from hacore_report._table import differing, differing_machines, distinguishing, explained, values_of
from hacore_report._values import BASELINES, Cell, Value, baseline, sort_key, summary, value_named

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SUFFIXES = (".svg", ".png", ".pdf")
COLOURS = ("#000000", "#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = "osD^vPX"
DASHES: tuple[Any, ...] = (
    "-",
    *((0, dashes) for dashes in ((5, 1.5), (1, 1), (5, 1, 1, 1), (3, 1, 1, 1, 1, 1), (9, 2), (2, 2))),
)
SETTINGS: Any = {
    "font.family": "sans-serif",
    "font.size": 8,
    "axes.labelsize": 8,
    "axes.linewidth": 0.6,
    "figure.constrained_layout.w_pad": 0.08,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "legend.fontsize": 8,
    "lines.linewidth": 1.2,
    "pdf.fonttype": 42,  # letters stay letters, as publishers ask
    "svg.hashsalt": "hacore",  # the same runs give the same file
}


@attrs.frozen(kw_only=True)
class Point:
    """One experiment, over its seeds. cells: of each panel, None where it has no such value."""

    kept: Cell
    cells: tuple[Cell | None, ...]


def plot(
    runs: Runs,
    output: str | Path,
    *,
    series: Sequence[str] | None = None,
    value: str = "accuracy",
    time: str = "training.seconds",
    title: str | None = None,
    only_value: bool = False,
) -> tuple[str, ...]:
    """Draw a value, the time and the multiply-adds of runs against their share of kept cells.

    output: a file whose ending, .svg, .png or .pdf, says its format. series: dotted keys; one line for
    each combination of their values; by default selector and aggregator, where they differ. Points are
    means over seeds, with the sample standard deviation as error bars, of a line as a band. time:
    ``training.seconds`` or ``training.questions_per_second``. only_value: leave out the panels of time and
    multiply-adds, and draw the value larger. Returns notes for the reader.
    Raises HacoreError for a file of another format, an unknown key, and when there is nothing to draw.
    """
    import matplotlib

    path = picture_file(output)
    for key in series or ():
        known_key(key, runs.runs)
    if series is None:
        varied = differing(runs.runs)
        series = [key for key in ("selector.use", "aggregator.use") if key in varied]
    panels = [value_named(name, runs.runs) for name in ((value,) if only_value else (value, time))]
    if not only_value and any(run.result.multiply_adds is not None for run in runs.runs):
        panels.append(Value(name="multiply-adds", key="multiply_adds"))
    lines = _lines(runs.runs, series, panels)
    if not any(point.cells[0] for points in lines.values() for point in points):
        raise HacoreError(f"no run has a number for '{value}', so there is nothing to draw")
    with matplotlib.rc_context(SETTINGS):
        save(_figure(runs.runs, lines, panels, title), path)
    return (*runs.notes, *_notes(runs.runs, series, panels))


def _figure(
    runs: Sequence[Run], lines: Mapping[str, Sequence[Point]], panels: Sequence[Value], title: str | None
) -> Figure:
    """Panels side by side, one legend above them."""
    from matplotlib.figure import Figure

    alone = len(panels) == 1
    figure = Figure(figsize=(6.6, 3.8) if alone else (2.35 * len(panels), 2.5), layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for index, (panel, ax) in enumerate(zip(panels, axes, strict=True)):
        _draw_panel(ax, panel, index, lines, runs)
    if len(lines) > 1 or title:
        figure.legend(
            *axes[0].get_legend_handles_labels(),
            loc="outside right center" if alone else "outside upper center",
            ncols=1 if alone else min(len(lines), 4),
            frameon=False,
            title=title and plain(title),
            handlelength=3.2,
        )
    return figure


def _draw_panel(
    ax: Any, panel: Value, index: int, lines: Mapping[str, Sequence[Point]], runs: Sequence[Run]
) -> None:
    points = [point for line in lines.values() for point in line]
    means = [cell.mean for point in points if (cell := point.cells[index])]
    factor, words = _unit(panel, means)
    for number, (name, line) in enumerate(lines.items()):
        _draw_line(ax, name, line, index, number, factor)
    _scale(ax.set_xscale, ax.xaxis, [100 * point.kept.mean for point in points], 8)
    ax.set_xlabel("cells kept (%)")
    ax.set_ylabel(words)
    if panel.share:
        _draw_baseline(ax, panel, runs)
    elif not _scale(ax.set_yscale, ax.yaxis, [factor * mean for mean in means], 5):
        ax.set_ylim(bottom=0)
    ax.grid(axis="y", color="#DDDDDD", linewidth=0.5)
    ax.set_axisbelow(True)


def _lines(runs: Sequence[Run], series: Sequence[str], panels: Sequence[Value]) -> dict[str, list[Point]]:
    """The points of each series, by their share of kept cells."""
    experiments: dict[tuple[str, str], list[Run]] = defaultdict(list)
    for run in sorted(runs, key=lambda run: [sort_key(run.get(key)) for key in series]):
        name = ", ".join(label(value) for key in series if (value := run.get(key)) is not None)
        if run.remarks:
            name += f" ({', '.join(run.remarks)})"
        experiments[name, json.dumps(run.options(), sort_keys=True)].append(run)
    of_line: dict[str, list[Run]] = defaultdict(list)
    for (name, _), group in experiments.items():
        of_line[name] += group
    lines: dict[str, list[Point]] = defaultdict(list)
    kept = Value(name="kept", key="kept")
    for (name, _), group in experiments.items():
        share = summary(kept, group)
        if share is not None:
            name += "".join(f" ({words})" for words in precision_remark(of_line[name], runs))
            lines[name].append(Point(kept=share, cells=tuple(summary(panel, group) for panel in panels)))
    return {name: sorted(points, key=lambda point: point.kept.mean) for name, points in lines.items()}


def line_look(number: int) -> tuple[str, Any, str]:
    """Colour, dashes and marker of a line; of the first 49 no two look the same."""
    # When the colours begin anew, dashes and marker are others than before.
    cycle = number + number // len(COLOURS)
    return (
        COLOURS[number % len(COLOURS)],
        DASHES[cycle % len(DASHES)],
        MARKERS[cycle % len(MARKERS)],
    )


def _draw_line(ax: Any, name: str, points: Sequence[Point], panel: int, number: int, factor: float) -> None:
    pairs = [(point.kept, cell) for point in points if (cell := point.cells[panel]) is not None]
    colour, dashes, marker = line_look(number)
    across, heights = [100 * kept.mean for kept, _ in pairs], [factor * cell.mean for _, cell in pairs]
    deviations = _bars([cell for _, cell in pairs], factor)
    if deviations and len(pairs) > 1:
        low, high = (
            [height + sign * deviation for height, deviation in zip(heights, deviations, strict=True)]
            for sign in (-1, 1)
        )
        ax.fill_between(across, low, high, color=colour, alpha=0.12, linewidth=0, zorder=2)
        deviations = None
    ax.errorbar(
        across,
        heights,
        xerr=_bars([kept for kept, _ in pairs], 100),
        yerr=deviations,
        label=plain(name or "all runs"),
        color=colour,
        linestyle=dashes if len(pairs) > 1 else "none",
        marker=marker,
        markersize=4.2,
        markerfacecolor="white" if MARKERS.index(marker) % 2 else colour,
        markeredgewidth=1.0,
        elinewidth=0.8,
        capsize=2,
        clip_on=False,
        zorder=3 + number,
    )


def _bars(cells: Sequence[Cell], factor: float) -> list[float] | None:
    deviations = [factor * (cell.deviation or 0.0) for cell in cells]
    return deviations if any(deviations) else None


def _unit(panel: Value, heights: Sequence[float]) -> tuple[float, str]:
    """The factor from what was measured to what is shown, and the axis label with its unit."""
    if panel.key == "multiply_adds":
        power = 9 if max(heights, default=0) >= 1e10 else 6
        return 10.0**-power, f"multiply-adds ($10^{power}$)"
    if panel.key == "training.seconds":
        return 1.0, "training (s)"
    if panel.key == "training.questions_per_second":
        return 1.0, "questions/s in training"
    return (100.0 if panel.share else 1.0), panel.title


def _scale(set_scale: Any, axis: Any, numbers: Sequence[float], ratio: float) -> bool:
    """Logarithmic where the numbers span more than the ratio, with ticks at 1, 2 and 5; says whether."""
    from matplotlib.ticker import LogLocator, NullFormatter, NullLocator

    wide = bool(numbers) and min(numbers) > 0 and max(numbers) > ratio * min(numbers)
    if wide:
        set_scale("log")
        few = max(numbers) < 300 * min(numbers)
        axis.set_major_locator(LogLocator(subs=(1, 2, 5) if few else (1,), numticks=20))
        axis.set_minor_locator(NullLocator())
        axis.set_minor_formatter(NullFormatter())
    axis.set_major_formatter(lambda number, _: f"{number:,.0f}" if number >= 1000 else f"{number:g}")
    return wide


def _draw_baseline(ax: Any, panel: Value, runs: Sequence[Run]) -> None:
    cells = {words: cell for name, words in BASELINES.items() if (cell := baseline(panel, name, runs))}
    if not cells:
        return
    words, cell = max(cells.items(), key=lambda pair: pair[1].mean)
    ax.axhline(100 * cell.mean, color="#777777", linewidth=0.8, linestyle=(0, (1, 2)), zorder=1)
    ax.annotate(
        words,
        (1, 100 * cell.mean),
        xycoords=("axes fraction", "data"),
        xytext=(0, 2),
        textcoords="offset points",
        ha="right",
        fontsize=7,
        color="#555555",
    )


def picture_file(output: str | Path) -> Path:
    """HacoreError for a name whose ending is not one of ``SUFFIXES``."""
    path = Path(output)
    if path.suffix.lower() not in SUFFIXES:
        raise HacoreError(f"{output}: the name of a picture ends in {', '.join(SUFFIXES)}")
    return path


def save(figure: Any, path: Path) -> None:
    """Writes the picture. HacoreError where that cannot be."""
    # Without the date, so that the same runs give the same file.
    metadata = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(path.suffix.lower())
    try:
        figure.savefig(path, dpi=300, metadata=metadata)
    except OSError as error:
        raise HacoreError(f"{path}: cannot be written: {error.strerror or error}") from None


def _notes(runs: Sequence[Run], series: Sequence[str], panels: Sequence[Value]) -> list[str]:
    along = distinguishing(runs, without=series)
    notes = []
    if along != ("name",):
        notes.append(f"points of a line differ in {', '.join(along)}")
    others = [key for key in differing(runs) if key not in (*series, *along)]
    others = [key for key in others if not explained(key, runs, (*series, *along))]
    if any(panel.timed for panel in panels):
        others += differing_machines(runs)
    if others:
        differences = "; ".join(f"{key}: {values_of(key, runs)}" for key in others)
        notes.append(f"the runs also differ in {differences}")
    return notes + precision_notes(runs)


def plain(text: str) -> str:
    """Without formulas, which matplotlib reads between dollars."""
    return text.replace("$", r"\$")

"""The plots of a page, by matplotlib, as SVG in data URIs."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from hacore.measure.predictions import Prediction
from hacore.runs.metrics import EvalLine, TrainLine
from hacore_report._plot import COLOURS, MARKERS, SETTINGS

if TYPE_CHECKING:
    from hacore_report._choice import Choice
    from hacore_report._compared import Compared
    from hacore_report._predictions import Row

# Letters stay letters: an SVG in an <img> uses the reader's fonts, and the file stays small.
_SETTINGS = {**SETTINGS, "font.size": 10, "axes.labelsize": 10, "legend.fontsize": 9, "svg.fonttype": "none"}


@attrs.frozen(kw_only=True)
class Figure:
    """uris: of the SVG of each panel. alt: what they say, in words."""

    uris: tuple[str, ...]
    alt: str


def curves(metrics: Sequence[TrainLine | EvalLine]) -> Figure | None:
    """Loss and accuracy of training and evaluation by epoch."""
    kinds = {
        "training": [line for line in metrics if line.kind == "train"],
        "evaluation": [line for line in metrics if line.kind == "eval"],
    }
    if not any(kinds.values()):
        return None

    def draw(axes: Any) -> None:
        for number, (name, lines) in enumerate(kinds.items()):
            if lines:
                epochs = [line.epoch for line in lines]
                marker = "o" if len(lines) < 50 and number else None
                style = {"label": name, "color": COLOURS[2 - number], "marker": marker, "markersize": 3}
                axes[0].plot(epochs, [line.loss for line in lines], **style)
                axes[1].plot(epochs, [100 * line.accuracy for line in lines], **style)
        for ax, label in zip(axes, ("loss", "accuracy (%)"), strict=True):
            ax.set_xlabel("epoch")
            ax.set_ylabel(label)
            ax.grid(color="#DDDDDD", linewidth=0.5)
        axes[0].set_ylim(bottom=0)
        axes[1].set_ylim(0, 100)
        axes[0].legend(frameon=False)

    best = max(kinds["evaluation"], key=lambda line: line.accuracy, default=None)
    alt = "Loss and accuracy by epoch, in training and evaluation"
    if best:
        alt += f"; best accuracy {best.accuracy:.1%} at epoch {best.epoch:.1f}"
    return _figure(draw, 2, (4.4, 2.9), alt)


def kept_cells(predictions: Sequence[Prediction], cells: int) -> Figure | None:
    """How many cells questions keep, and which types keep more; None where all keep the same number."""
    counts = np.array([prediction.kept for prediction in predictions])
    if counts.min() == counts.max():
        return None
    types = np.array([prediction.type for prediction in predictions])
    parts = {name: counts[types == name] for name in np.unique(types)}
    ordered = sorted(parts, key=lambda name: parts[name].mean())

    def draw(axes: Any) -> None:
        step = max(1, int(np.ceil((counts.max() - counts.min() + 1) / 50)))
        axes[0].hist(counts, np.arange(counts.min(), counts.max() + step + 1, step) - 0.5, color=COLOURS[2])
        axes[0].axvline(counts.mean(), color=COLOURS[1], linestyle="--", label=f"mean {counts.mean():.1f}")
        axes[0].set_xlabel(f"kept cells of {cells}")
        axes[0].set_ylabel("questions")
        axes[0].legend(frameon=False)
        for number, name in enumerate(ordered):
            low, high = np.percentile(parts[name], [10, 90])
            axes[1].plot([low, high], [number, number], color=COLOURS[2], linewidth=2)
            axes[1].plot(parts[name].mean(), number, "o", color=COLOURS[1], markersize=5)
        axes[1].set_yticks(range(len(ordered)), ordered)
        axes[1].set_xlabel("kept cells: mean, and 10th to 90th percentile")
        axes[1].grid(axis="x", color="#DDDDDD", linewidth=0.5)

    alt = (
        f"Distribution of the number of kept cells, from {counts.min()} to {counts.max()}, mean "
        f"{counts.mean():.1f}; fewest for {ordered[0]}, most for {ordered[-1]}"
    )
    return _figure(draw, 2, (4.4, max(2.9, 0.6 + 0.22 * len(ordered))), alt)


def choice(choice: Choice) -> Figure:
    """The presence of kept and of dropped cells, and how often each place of the grid is kept."""
    kept, dropped = choice.presence_QN[choice.kept_QN], choice.presence_QN[~choice.kept_QN]
    by_place, chance = 100 * choice.by_place, 100 * choice.chance

    def draw(axes: Any) -> None:
        edges = np.histogram_bin_edges(choice.presence_QN, 60)
        for name, values, colour in (("dropped", dropped, COLOURS[2]), ("kept", kept, COLOURS[1])):
            share = np.full(len(values), 100 / len(values))
            style = {"histtype": "stepfilled", "alpha": 0.6, "color": colour, "label": name}
            axes[0].hist(values, edges, weights=share, **style)
        axes[0].set_xlabel("presence of a cell")
        axes[0].set_ylabel("of these cells (%)")
        axes[0].legend(frameon=False)
        picture = axes[1].imshow(
            by_place, cmap="Blues", vmin=0, vmax=max(by_place.max(), chance), aspect=choice.height
        )
        axes[1].set(xticks=[], yticks=[])
        axes[1].spines[:].set_visible(True)
        bar = axes[1].figure.colorbar(
            picture, ax=axes[1], pad=0.15, label="questions that keep this place (%)"
        )
        bar.ax.axhline(chance, color=COLOURS[1], linewidth=2)
        bar.ax.text(-0.4, chance, "chance", color=COLOURS[1], ha="right", va="center")

    alt = (
        f"Distribution of the presence of kept cells, median {np.median(kept):.3g}, and of dropped cells, "
        f"median {np.median(dropped):.3g}; map of the grid: places are kept by {by_place.min():.1f} to "
        f"{by_place.max():.1f}% of the questions, by chance {chance:.1f}%"
    )
    return _figure(draw, 2, (4.4, 2.9), alt)


def against_cost(runs: Sequence[Compared]) -> Figure | None:
    """Accuracy of experiments, with interval or deviation, against multiply-adds and share of kept cells."""
    points = [(run, 100 * run.all.accuracy, _bars(run.all)) for run in runs if run.all.accuracy is not None]
    if not points:
        return None
    costs = {
        "multiply-adds a question (millions)": [
            1e-6 * fmean(one.result.multiply_adds or 0 for one in run.runs) for run, *_ in points
        ],
        "cells kept (%)": [100 * fmean(one.result.kept for one in run.runs) for run, *_ in points],
    }

    def draw(axes: Any) -> None:
        for ax, (label, values) in zip(axes, costs.items(), strict=True):
            for number, (cost, (run, accuracy, bars)) in enumerate(zip(values, points, strict=True)):
                ax.errorbar(
                    cost,
                    accuracy,
                    yerr=bars,
                    marker=MARKERS[number % len(MARKERS)],
                    color=COLOURS[(number + 1) % len(COLOURS)],
                    linestyle="none",
                    capsize=2,
                    label=run.name,
                )
            ax.set_xlabel(label)
            ax.set_ylabel("accuracy (%)")
            ax.set_xlim(0, 1.08 * max(values) or 1)  # beyond the last marker, so that it is not cut
            ax.grid(color="#DDDDDD", linewidth=0.5)
            ax.figure.legend(loc="outside upper center", ncols=2, frameon=False)

    numbers = "; ".join(
        f"{run.name} {accuracy:.1f}%, {kept:.0f}% of the cells"
        for (run, accuracy, _), kept in zip(points, costs["cells kept (%)"], strict=True)
    )
    return _figure(draw, 2, (4.4, 3.2), f"Accuracy against cost: {numbers}")


def _bars(row: Row) -> list[list[float]]:
    """What to draw below and above an accuracy, in percent."""
    if row.deviation is not None or row.accuracy is None or row.low is None or row.high is None:
        return [[100 * (row.deviation or 0)]] * 2
    return [[100 * (row.accuracy - row.low)], [100 * (row.high - row.accuracy)]]


def heat(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """(rows, columns, 3) uint8: a map from its smallest value, dark, to its largest, bright."""
    import matplotlib

    span = float(values.max() - values.min())
    scaled = (values - values.min()) / span if span > 0 else np.full(values.shape, 0.5)
    colours: np.ndarray[Any, Any] = matplotlib.colormaps["viridis"](scaled, bytes=True)[..., :3]
    return colours


def _figure(draw: Any, panels: int, size: tuple[float, float], alt: str) -> Figure:
    """Each panel is a picture of its own, so that they are beside each other or one below the other."""
    import matplotlib
    from matplotlib.figure import Figure as Canvas

    with matplotlib.rc_context(_SETTINGS):
        canvases = [Canvas(figsize=size, layout="constrained") for _ in range(panels)]
        draw([canvas.subplots() for canvas in canvases])
        return Figure(uris=tuple(map(_uri, canvases)), alt=alt)


def _uri(canvas: Any) -> str:
    file = io.BytesIO()
    canvas.savefig(file, format="svg", metadata={"Date": None}, transparent=True)
    return f"data:image/svg+xml;base64,{base64.b64encode(file.getvalue()).decode()}"

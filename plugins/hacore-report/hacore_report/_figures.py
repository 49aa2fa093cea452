"""The plots of a page, by matplotlib, as SVG in data URIs."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np

from hacore.measure.predictions import Prediction
from hacore.runs.metrics import EvalLine, TrainLine
from hacore_report._plot import COLOURS, MARKERS, SETTINGS

# An SVG in an <img> uses the fonts of the reader's machine; so letters stay letters, and the file small.
_SETTINGS = {**SETTINGS, "font.size": 10, "axes.labelsize": 10, "legend.fontsize": 9, "svg.fonttype": "none"}


@attrs.frozen(kw_only=True)
class Figure:
    """uri: of the SVG. alt: what it says, in words."""

    uri: str
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
        for ax, key, factor, label in zip(
            axes, ("loss", "accuracy"), (1, 100), ("loss", "accuracy (%)"), strict=True
        ):
            for number, (name, lines) in enumerate(kinds.items()):
                drawn = [(line.epoch, factor * line[key]) for line in lines]
                if drawn:
                    ax.plot(
                        *zip(*drawn, strict=True),
                        label=name,
                        color=COLOURS[2 - number],
                        marker="o" if len(drawn) < 50 and number else None,
                        markersize=3,
                    )
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
    return _figure(draw, 2, (8.4, 2.9), alt)


def kept_cells(predictions: Sequence[Prediction], cells: int) -> Figure | None:
    """How many cells questions keep, and which types keep more; None where all keep the same number."""
    counts = np.array([it.kept for it in predictions])
    if counts.min() == counts.max():
        return None
    types = np.array([it.type for it in predictions])
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
    return _figure(draw, 2, (8.4, max(2.9, 0.6 + 0.22 * len(ordered))), alt)


def against_cost(rows: Sequence[Any]) -> Figure | None:
    """Accuracy of runs against multiply-adds and the share of kept cells.

    rows: with ``name``, ``accuracy``, ``low``, ``high``, ``multiply_adds`` and ``kept`` (a share).
    """
    drawn = [it for it in rows if it.accuracy is not None]
    if not drawn:
        return None

    def draw(axes: Any) -> None:
        for ax, label, key, factor in (
            (axes[0], "multiply-adds a question (millions)", "multiply_adds", 1e-6),
            (axes[1], "cells kept (%)", "kept", 100),
        ):
            for number, it in enumerate(drawn):
                ax.errorbar(
                    factor * (getattr(it, key) or 0),
                    100 * it.accuracy,
                    yerr=[[100 * (it.accuracy - it.low)], [100 * (it.high - it.accuracy)]],
                    marker=MARKERS[number % len(MARKERS)],
                    color=COLOURS[(number + 1) % len(COLOURS)],
                    linestyle="none",
                    capsize=2,
                    label=it.name,
                )
            ax.set_xlabel(label)
            ax.set_ylabel("accuracy (%)")
            # Far enough that a marker is not cut.
            ax.set_xlim(0, 1.08 * max(factor * (getattr(it, key) or 0) for it in drawn) or 1)
            ax.grid(color="#DDDDDD", linewidth=0.5)
        axes[0].figure.legend(
            *axes[0].get_legend_handles_labels(),
            loc="outside upper center",
            ncols=3,
            frameon=False,
        )

    said = "; ".join(f"{it.name} {it.accuracy:.1%}, {it.kept:.0%} of the cells" for it in drawn)
    return _figure(draw, 2, (8.4, 3.2), f"Accuracy against cost: {said}")


def heat(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """(rows, columns, 3) uint8: a map from its smallest value, dark, to its largest, bright."""
    import matplotlib

    span = float(values.max() - values.min())
    scaled = (values - values.min()) / span if span > 0 else np.full(values.shape, 0.5)
    colours: np.ndarray[Any, Any] = matplotlib.colormaps["viridis"](scaled, bytes=True)[..., :3]
    return colours


def _figure(draw: Any, panels: int, size: tuple[float, float], alt: str) -> Figure:
    import matplotlib
    from matplotlib.figure import Figure as Canvas

    with matplotlib.rc_context(_SETTINGS):
        figure = Canvas(figsize=size, layout="constrained")
        draw(figure.subplots(1, panels))
        held = io.BytesIO()
        figure.savefig(held, format="svg", metadata={"Date": None})
    return Figure(uri=f"data:image/svg+xml;base64,{base64.b64encode(held.getvalue()).decode()}", alt=alt)

"""What trained runs on Sort-of-CLEVR look at: how much of their kept cells lies on objects.

    python benchmarks/kept_cells.py runs/han_rn/* runs/adahan_sum/*
    python benchmarks/kept_cells.py sweeps/table1/runs/*/* --markdown

For the questions of the final split. A cell is its square of the image, though what its vector depends on
is larger; it is on an object if it holds a pixel of it. Objects are found by their colours. Where a
selector weighs cells, a cell counts by its weight. Runs that differ in their seed only share a row, with
the mean over them.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from hacore_sort_of_clevr.scenes import COLOURS, RGB
from rich.console import Console
from rich.table import Table

import hacore
from hacore.data import make_batch
from hacore.trained import Trained

Floats = npt.NDArray[np.float64]
IMAGES = 16  # of a batch
COLUMNS = (
    "run",
    "seeds",
    "cells kept %",
    "kept cells on an object %",
    "all cells on an object %",
    "kept cells on the object asked about %",
    "all cells on the object asked about %",
    "questions with a kept cell on it %",
)


def touched(image: npt.NDArray[np.uint8], grid: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """(3, H, W) -> (colours, cells): does the cell hold a pixel of the object of that colour?"""
    rows, columns = grid
    _, height, width = image.shape
    of_colour = (image[None] == RGB[:, :, None, None]).all(1)
    found = np.zeros((len(RGB), rows, columns), bool)
    colour, y, x = np.nonzero(of_colour)
    # The centre of the pixel says which cell it is in.
    found[colour, (2 * y + 1) * rows // (2 * height), (2 * x + 1) * columns // (2 * width)] = True
    return found.reshape(len(RGB), -1)


@torch.no_grad()
def measure(trained: Trained) -> Floats:
    """The numbers of ``COLUMNS`` from the third on, as shares; means over the final split's questions."""
    dataset, split = trained.dataset, trained.spec.eval.final_split
    questions, images = dataset.questions(split), dataset.images(split)
    vocabulary = {word: number for number, word in enumerate(dataset.vocabulary)}
    colour_of = {vocabulary[name]: index for index, name in enumerate(COLOURS)}
    rows: list[Floats] = []
    for start in range(0, len(images), IMAGES):
        asked = np.flatnonzero((questions.image >= start) & (questions.image < start + IMAGES))
        batch = make_batch(questions, images, asked).to(trained.device)
        selection = trained.model(
            batch.images, batch.words_QT, batch.lengths_Q, batch.image_index_Q
        ).selection
        weight = selection.masked_weight_QK
        weight = torch.ones(selection.index_QK.shape) if weight is None else weight.float().cpu()
        cells = selection.grid[0] * selection.grid[1]
        weight_QN = torch.zeros(len(asked), cells).scatter_add_(1, selection.index_QK.cpu(), weight).numpy()
        touching = np.stack([touched(image, selection.grid) for image in batch.images.cpu().numpy()])
        on = touching[batch.image_index_Q.cpu().numpy()]  # (Q, colours, N)
        colour = [next(colour_of[it] for it in words if it in colour_of) for words in batch.words_QT.tolist()]
        named = on[np.arange(len(asked)), colour]
        share = weight_QN / weight_QN.sum(1, keepdims=True)
        rows.append(
            np.stack(
                [
                    (weight_QN > 0).mean(1),
                    (share * on.any(1)).sum(1),
                    on.any(1).mean(1),
                    (share * named).sum(1),
                    named.mean(1),
                    ((weight_QN > 0) & named).any(1),
                ],
                axis=1,
            )
        )
    means: Floats = np.concatenate(rows).mean(0)
    return means


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--markdown", action="store_true")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    found: dict[str, list[Floats]] = defaultdict(list)
    for run in given.runs:
        trained = hacore.load(run, device=given.device)
        if trained.spec.data.use != "sort-of-clevr":
            parser.error(f"{run}: a run on {trained.spec.data.use}; only sort-of-clevr's objects are known")
        found[trained.spec.name.removesuffix(f"-seed{trained.spec.seed}")].append(measure(trained))
    lines = [
        [name, str(len(values)), *(f"{100 * it:.1f}" for it in np.mean(values, axis=0))]
        for name, values in found.items()
    ]
    if given.markdown:
        for line in (COLUMNS, ["---"] * len(COLUMNS), *lines):
            print("| " + " | ".join(line) + " |")
        return
    table = Table(*COLUMNS)
    for line in lines:
        table.add_row(*line)
    Console().print(table)


if __name__ == "__main__":
    main()

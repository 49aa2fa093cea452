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
        held = np.array(images[start : start + IMAGES])  # a copy, as torch wants to write
        asked = np.flatnonzero((questions.image >= start) & (questions.image < start + len(held)))
        words = [questions.words[questions.offsets[q] : questions.offsets[q + 1]] for q in asked]
        lengths = torch.tensor([len(it) for it in words])
        padded = torch.zeros(len(words), int(lengths.max()), dtype=torch.int64)
        for row, it in enumerate(words):
            padded[row, : len(it)] = torch.from_numpy(np.asarray(it, np.int64))
        index = questions.image[asked] - start
        selection = trained.model(
            torch.from_numpy(held).to(trained.device),
            padded.to(trained.device),
            lengths,
            torch.from_numpy(index).to(trained.device),
        ).selection
        weight = torch.ones(selection.index_QK.shape)
        if selection.weight_QK is not None:
            weight = selection.weight_QK.float().cpu()
        if selection.valid_QK is not None:
            weight = weight * selection.valid_QK.cpu()
        cells = selection.grid[0] * selection.grid[1]
        weight_QN = torch.zeros(len(words), cells).scatter_add_(1, selection.index_QK.cpu(), weight).numpy()
        on = np.stack([touched(image, selection.grid) for image in held])[index]  # (Q, colours, N)
        colour = [next(colour_of[int(word)] for word in it if int(word) in colour_of) for it in words]
        named = on[np.arange(len(words)), colour]
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

"""What trained runs look at: how much of their kept cells lies on objects.

    python benchmarks/kept_cells.py runs/han_rn/* runs/adahan_sum/*
    python benchmarks/kept_cells.py sweeps/table1/runs/*/* --markdown

For the questions of the final split, as their predictions record them, of any data set that knows where
its objects lie. A cell is its rectangle of the image, though what its vector depends on is larger. Where a
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
from hacore_report.predictions import read_predictions
from rich.console import Console
from rich.table import Table

import hacore
from hacore.objects import object_cells, relevant_cells
from hacore.runs.trained import Trained

Floats = npt.NDArray[np.float64]
COLUMNS = (
    "run",
    "seeds",
    "cells kept %",
    "kept cells on an object %",
    "all cells on an object %",
    "kept cells on a relevant object %",
    "all cells on a relevant object %",
    "questions with a kept cell on one %",
)


def measure(trained: Trained) -> Floats:
    """The numbers of ``COLUMNS`` from the third on, as shares; means over the final split's questions."""
    dataset, split, grid = trained.dataset, trained.spec.eval.final_split, trained.model.grid
    questions, objects = dataset.questions(split), dataset.objects(split)
    if objects is None:
        raise hacore.HacoreError(f"{trained.folder.path}: its data do not know where objects lie")
    boxes_IO4, image_Q = torch.from_numpy(objects.boxes_IO4), torch.from_numpy(questions.image)
    on_QN = object_cells(boxes_IO4, grid).any(1)[image_Q].numpy()
    relevant_QO = torch.from_numpy(objects.relevant_QO)
    relevant_QN = relevant_cells(boxes_IO4, relevant_QO, image_Q, grid).numpy()
    weight_QN = np.zeros(relevant_QN.shape)
    row_of = {number: row for row, number in enumerate(questions.ids.tolist())}
    for line in read_predictions(trained.folder.predictions_file(split)):
        if line.cells is None:
            raise hacore.HacoreError(f"{trained.folder.path}: its predictions have no cells; run hacore eval")
        weight_QN[row_of[line.id], line.cells] = np.abs(line.weights or 1.0)
    share_QN = weight_QN / weight_QN.sum(1, keepdims=True)
    columns = [
        (weight_QN > 0).mean(1),
        (share_QN * on_QN).sum(1),
        on_QN.mean(1),
        (share_QN * relevant_QN).sum(1),
        relevant_QN.mean(1),
        ((weight_QN > 0) & relevant_QN).any(1),
    ]
    means: Floats = np.stack(columns, axis=1).mean(0)
    return means


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--markdown", action="store_true")
    given = parser.parse_args(arguments)
    measures: dict[str, list[Floats]] = defaultdict(list)
    for run in given.runs:
        trained = hacore.load(run, device="cpu")
        measures[trained.spec.name.removesuffix(f"-seed{trained.spec.seed}")].append(measure(trained))
    lines = [
        [name, str(len(values)), *(f"{100 * mean:.1f}" for mean in np.mean(values, axis=0))]
        for name, values in measures.items()
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

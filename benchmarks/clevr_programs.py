"""Accuracy and kept cells on CLEVR by the length of a question's program.

    python benchmarks/clevr_programs.py runs/clevr_han_mac
    python benchmarks/clevr_programs.py runs/clevr_cells/*/* --markdown

For the questions of the final split, as the predictions of finished runs record them. A program visits the
objects that any of its functions gives; one of them is kept when the cell that holds its middle is. Runs that
differ in their seed only share a row, with the mean over them.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from hacore_clevr.dataset import Clevr
from hacore_report.predictions import read_predictions
from rich.console import Console
from rich.table import Table

import hacore
from hacore.objects import object_cells
from hacore.runs.trained import Trained

Floats = npt.NDArray[np.float64]
FIRST = (1, 7, 10, 14, 17)
"""The shortest programs of each column."""
COLUMNS = (
    *(f"{first} to {after - 1}" for first, after in pairwise(FIRST)),
    f"{FIRST[-1]} and more",
    "all",
)
MEASURES = ("accuracy %", "cells kept %", "visited objects kept %")


def measure(trained: Trained) -> Floats:
    """(3, columns): the numbers of ``MEASURES``, as shares, by length of program and over all questions."""
    dataset, split, grid = trained.dataset, trained.spec.eval.final_split, trained.model.grid
    path = trained.folder.path
    if not isinstance(dataset, Clevr) or (steps_Q := dataset.program_steps(split)) is None:
        raise hacore.HacoreError(f"{path}: its data have no programs; this is for CLEVR with programs")
    objects, questions = dataset.objects(split), dataset.questions(split)
    if objects is None:
        raise hacore.HacoreError(f"{path}: its data do not know where objects lie; prepare them with scenes")
    low_IO2, high_IO2 = torch.from_numpy(objects.boxes_IO4).split(2, 2)
    middles_ION = object_cells(torch.cat(2 * [(low_IO2 + high_IO2) / 2], 2), grid).numpy()
    row_of = {number: row for row, number in enumerate(questions.ids.tolist())}
    values_MQ = np.full((len(MEASURES), len(questions)), np.nan)
    for line in read_predictions(trained.folder.predictions_file(split)):
        if line.cells is None or line.score is None:
            raise hacore.HacoreError(f"{path}: its predictions have no cells or scores; run hacore eval")
        row = row_of[line.id]
        visited_ON = middles_ION[questions.image[row], objects.relevant_QO[row]]
        kept_O = visited_ON[:, line.cells].any(1)
        values_MQ[:, row] = line.score, line.kept / middles_ION.shape[-1], kept_O.mean() if len(kept_O) else 1
    column_Q = np.searchsorted(FIRST, steps_Q, side="right") - 1
    parts = [values_MQ[:, column_Q == column] for column in range(len(FIRST))]
    return np.stack([part.mean(1) if part.size else part.sum(1) * np.nan for part in [*parts, values_MQ]], 1)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--markdown", action="store_true")
    given = parser.parse_args(arguments)
    measures: dict[str, list[Floats]] = defaultdict(list)
    for run in given.runs:
        trained = hacore.load(run, device="cpu")
        measures[trained.spec.name.removesuffix(f"-seed{trained.spec.seed}")].append(measure(trained))
    header = ["run", "seeds", "of programs of length", *COLUMNS]
    lines = [
        [name, str(len(values)), what, *(f"{100 * mean:.1f}" for mean in row)]
        for name, values in measures.items()
        for what, row in zip(MEASURES, np.mean(values, axis=0), strict=True)
    ]
    if given.markdown:
        for line in (header, ["---"] * len(header), *lines):
            print("| " + " | ".join(line) + " |")
        return
    table = Table(*header)
    for line in lines:
        table.add_row(*line)
    Console().print(table)


if __name__ == "__main__":
    main()

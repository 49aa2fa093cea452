"""A model's output in plain numbers: answers, kept cells and how bright each is drawn."""

from __future__ import annotations

import re
from collections.abc import Sequence

import attrs
import numpy as np
import numpy.typing as npt

from hacore.interfaces import Selection
from hacore.measure.predict import likeliest
from hacore.model.network import Output

Floats = npt.NDArray[np.float32]


@attrs.frozen(kw_only=True)
class Answer:
    """An answer and its probability, the softmax of the model's scores."""

    answer: str
    probability: float


@attrs.frozen(kw_only=True)
class KeptCell:
    """A cell that was kept.

    index, row, column: place in the grid, from the top left. x, y: position in [-1, 1]. presence: how
    strongly it presented itself. weight: the factor on it, or its share where the selector mixes cells; 1
    where the selector has none.
    """

    index: int
    row: int
    column: int
    x: float
    y: float
    presence: float
    weight: float


@attrs.frozen(kw_only=True, eq=False)
class Seen:
    """What came out for one question.

    answers: the likeliest first. kept: in the selector's order. presence: (rows, columns).
    brightness: (rows, columns) in [0, 1], for pictures: 0 where not kept, and of kept cells the weight
    as a share of the largest.
    """

    answers: tuple[Answer, ...]
    kept: tuple[KeptCell, ...]
    presence: Floats
    brightness: Floats


def read_output(output: Output, answers: Sequence[str], top: int) -> list[Seen]:
    """A model's output by question, in plain numbers."""
    probability_QA, answer_QA = likeliest(output.logits_QA, top)
    selection = output.selection
    grid = selection.grid
    presence_QN = selection.presence_QN.float().cpu().numpy()
    positions_N2 = selection.positions_N2.float().cpu().numpy()
    replies = []
    for presence_N, probabilities, indices, (cells, weights) in zip(
        presence_QN, probability_QA.tolist(), answer_QA.tolist(), kept_cells(selection), strict=True
    ):
        kept = tuple(
            KeptCell(
                index=cell,
                row=cell // grid[1],
                column=cell % grid[1],
                x=round(float(positions_N2[cell, 0]), 6),
                y=round(float(positions_N2[cell, 1]), 6),
                presence=float(presence_N[cell]),
                weight=weight,
            )
            for cell, weight in zip(cells, weights or [1.0] * len(cells), strict=True)
        )
        ranked = tuple(
            Answer(answer=answers[index], probability=probability)
            for index, probability in zip(indices, probabilities, strict=True)
        )
        replies.append(
            Seen(
                answers=ranked,
                kept=kept,
                presence=presence_N.reshape(grid),
                brightness=brightness(cells, weights, grid),
            )
        )
    return replies


def brightness(cells: Sequence[int], weights: Sequence[float] | None, grid: tuple[int, int]) -> Floats:
    """(rows, columns) in [0, 1], see ``Seen``; of the kept cells of one question and their weights."""
    bright_N = np.zeros(grid[0] * grid[1], np.float32)
    bright_N[list(cells)] = 1.0 if weights is None else np.abs(weights)
    largest = bright_N.max(initial=0.0)
    return (bright_N / largest if largest > 0 else bright_N).reshape(grid)


def question_text(words: Sequence[str]) -> str:
    """Words as one writes a question."""
    return re.sub(r" (?=[?;,.!])", "", " ".join(words))


def kept_cells(selection: Selection) -> list[tuple[list[int], list[float] | None]]:
    """Of each question the kept cells, in the selector's order, and their weights, None where all are one.

    Of mixtures the cells that have a share in them, the largest first, with their shares.
    """
    if selection.share_QKN is not None:
        used_QN = selection.used_QN.cpu()
        order_QN = used_QN.argsort(dim=1, descending=True, stable=True)
        counts_Q = (used_QN > 0).sum(1).tolist()
        return [
            (order_N[:count].tolist(), used_N[order_N[:count]].tolist())
            for used_N, order_N, count in zip(used_QN, order_QN, counts_Q, strict=True)
        ]
    index_QK = selection.index_QK.cpu().numpy()
    valid, weight = selection.valid_QK, selection.weight_QK
    valid_QK = np.ones(index_QK.shape, np.bool_) if valid is None else valid.cpu().numpy()
    cells = [index_K[valid_K].tolist() for index_K, valid_K in zip(index_QK, valid_QK, strict=True)]
    if weight is None:
        return [(cells_k, None) for cells_k in cells]
    weight_QK = weight.detach().float().cpu().numpy()
    return [(cells[row], weight_QK[row, valid_K].tolist()) for row, valid_K in enumerate(valid_QK)]

"""Whether an exported program computes what the model does."""

from __future__ import annotations

import attrs
import numpy as np
import torch

from hacore.interfaces import Sizes
from hacore_export import ExportError
from hacore_export._formats import Array, Program
from hacore_export._graph import ExampleInputs, Graph

TOLERANCE = 1e-4
"""Of logits, presence and weights: the largest difference, as a share of the largest value if over 1."""
MOST_OTHER = 0.02
"""Share of questions that may keep other cells, as rounding decides about cells on the edge."""
_SHAPES = ((1, 1, 1), (2, 7, 3), (3, 40, 12), (5, 64, 25))  # images, questions, words


@attrs.frozen(kw_only=True)
class Agreement:
    """How a program compares with the model on random input of several sizes.

    questions: how many were compared. logits, presence: the largest differences. largest_logit: the
    largest absolute logit of the model. other_cells: questions for which the program keeps another set
    of cells; their logits are not compared.
    """

    questions: int
    logits: float
    largest_logit: float
    presence: float
    other_cells: int


def compare(program: Program, graph: Graph, sizes: Sizes) -> Agreement:
    """Run both on random images and questions. Raises ExportError when they disagree."""
    worst = {"logits": 0.0, "presence": 0.0, "weight": 0.0, "share": 0.0}
    largest = dict.fromkeys(worst, 0.0)
    questions = other = 0
    for seed, shape in enumerate(_SHAPES):
        inputs = random_inputs(*shape, sizes, seed)
        with torch.no_grad():
            expected = [output.numpy() for output in graph(*inputs)]
        try:
            outputs = program(*(tensor.numpy() for tensor in inputs))
        except Exception as error:
            text = " ".join(str(error).split())[:300]
            raise ExportError(
                "the exported program fails for {} images, {} questions and {} words: {}; a component "
                "depends on the sizes it was traced with".format(*shape, text)
            ) from error
        same_Q = np.array([_cells(expected, q) == _cells(outputs, q) for q in range(shape[1])])
        questions += len(same_Q)
        other += int((~same_Q).sum())
        for name, number, rows in (("logits", 0, same_Q), ("presence", 3, slice(None))):
            _widen(worst, largest, name, expected[number][rows], outputs[number][rows])
        if len(expected) > 5:  # the selector mixes cells
            _widen(worst, largest, "share", expected[5][same_Q], outputs[5][same_Q])
        for q in np.flatnonzero(same_Q).tolist():
            _widen(worst, largest, "weight", _weights(expected, q), _weights(outputs, q))
    for name, difference in worst.items():
        if not difference <= TOLERANCE * max(1.0, largest[name]):
            raise ExportError(
                f"the exported program disagrees with the model: {name} differs by up to {difference:.2g}, "
                f"where the largest is {largest[name]:.3g}; at most {TOLERANCE:g} of it is allowed"
            )
    if other > MOST_OTHER * questions:
        raise ExportError(
            f"the exported program disagrees with the model: it keeps other cells for {other} of {questions} "
            f"random questions; at most {MOST_OTHER:.0%} is allowed"
        )
    return Agreement(
        questions=questions,
        logits=worst["logits"],
        largest_logit=largest["logits"],
        presence=worst["presence"],
        other_cells=other,
    )


def random_inputs(images: int, questions: int, words: int, sizes: Sizes, seed: int = 0) -> ExampleInputs:
    """Images of blocks of random size and colour, questions of random words and lengths."""
    random = np.random.default_rng(seed)
    _, height, width = sizes.image
    pixels = np.empty((images, *sizes.image), np.uint8)
    for image in pixels:
        block = int(random.integers(1, max(2, min(height, width) // 4)))
        blocks = random.integers(0, 256, (len(image), -(-height // block), -(-width // block)), np.uint8)
        image[:] = blocks.repeat(block, 1).repeat(block, 2)[:, :height, :width]
    lengths = random.integers(1, words + 1, questions)
    lengths[0] = words
    numbers = random.integers(1, max(2, sizes.words), (questions, words))
    numbers[np.arange(words) >= lengths[:, None]] = 0
    image_index = random.integers(0, images, questions)
    return (
        torch.from_numpy(pixels),
        torch.from_numpy(numbers),
        torch.from_numpy(lengths),
        torch.from_numpy(image_index),
    )


def _cells(outputs: list[Array], q: int) -> set[int]:
    """The cells that a question keeps."""
    _, kept_QK, valid_QK, *_ = outputs
    return set(kept_QK[q][valid_QK[q]].tolist())


def _weights(outputs: list[Array], q: int) -> Array:
    """The weights of a question's cells, in the order of the grid."""
    _, kept_QK, valid_QK, presence_QN, weight_QK, *_ = outputs
    weight_N = np.zeros(presence_QN.shape[1], np.float32)
    weight_N[kept_QK[q][valid_QK[q]]] = weight_QK[q][valid_QK[q]]
    return weight_N


def _widen(
    worst: dict[str, float], largest: dict[str, float], name: str, expected: Array, output: Array
) -> None:
    if expected.size:
        # NumPy's maximum keeps NaN, Python's may not.
        worst[name] = float(np.maximum(worst[name], np.abs(output - expected).max()))
        largest[name] = max(largest[name], float(np.abs(expected).max()))

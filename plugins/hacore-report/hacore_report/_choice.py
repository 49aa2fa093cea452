"""What a model's choice of cells is worth: their presence, their places, and what other cells would do.

Letters of shapes: Q questions, N cells of the grid.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
import numpy.typing as npt

from hacore.errors import HacoreError
from hacore_report._asking import ask
from hacore_report._statistics import FEW_IMAGES, Difference, difference

if TYPE_CHECKING:
    from hacore.data import Batch, Dataset, Questions
    from hacore.model.network import Output
    from hacore.runs.trained import Trained

IMAGES, QUESTIONS = 200, 2_000
"""At most so many of a split are looked at, so that a page takes no longer for a large one."""
RIVALS: Mapping[str, str] = {"random-k": "random cells", "lowest-norm-k": "cells of lowest norm"}
"""Selectors that are put in place of the model's own, and what they keep, in words."""

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Doubles = npt.NDArray[np.float64]


@attrs.frozen(kw_only=True)
class Rival:
    """Other cells, as many, in the model. ahead: the accuracy with its own cells minus that with these."""

    name: str
    accuracy: float
    ahead: Difference

    @property
    def better(self) -> bool:
        """Whether the model's own cells are shown to be better."""
        return self.ahead.interval is not None and self.ahead.interval.low > 0

    @property
    def verdict(self) -> str:
        """Of the model's own cells, in words."""
        interval, points = self.ahead.interval, f"{100 * self.ahead.value:+.1f} points"
        if interval is None:
            return f"not shown to be better than {self.name} ({points} on one image)"
        worse = "worse than" if interval.high < 0 else "not shown to be better than"
        bounds = f"95% interval {100 * interval.low:+.1f} to {100 * interval.high:+.1f}"
        return f"{worse} {self.name} ({points}, {bounds})"


@attrs.frozen(kw_only=True, eq=False)
class Choice:
    """A model's choice of cells on a sample of a split.

    sample: of what, in words. presence_QN: how strongly cells present themselves. kept_QN: which are kept.
    height: of a cell in the picture, its width being 1. on_objects: shares of the kept cells and of all cells
    that lie on an object; None where the data do not know. accuracy: with the model's own cells, None where
    answers are not public. k: how many other cells the rivals keep. notes: what a reader of the rivals must
    know, or why there are none.
    """

    sample: str
    presence_QN: Floats
    kept_QN: Bools
    grid: tuple[int, int]
    height: float
    on_objects: tuple[float, float] | None
    accuracy: float | None
    k: int
    rivals: tuple[Rival, ...]
    notes: tuple[str, ...]

    @property
    def by_place(self) -> Floats:
        """(rows, columns): the share of the questions that keep each place."""
        shares: Floats = self.kept_QN.mean(0, dtype=np.float32).reshape(self.grid)
        return shares

    @property
    def chance(self) -> float:
        """That share where as many cells are drawn at random."""
        return float(self.kept_QN.mean())

    @property
    def warning(self) -> str:
        """A sentence where the cells are not shown to be better than some others; else ""."""
        verdicts = [rival.verdict for rival in self.rivals if not rival.better]
        if not verdicts:
            return ""
        return (
            f"the cells that this model keeps are {', and '.join(verdicts)}; "
            "do not read the presence of a cell as its importance"
        )


def choice_of(trained: Trained, split: str) -> Choice | None:
    """What the model's choice is worth on at most ``QUESTIONS`` of a split, about ``IMAGES``.

    None where it drops no cell, as soft attention does. Raises HacoreError where the model cannot be asked.
    """
    dataset = trained.dataset
    questions = dataset.questions(split)
    rows = sample(questions)
    own = _looked(trained, split, rows)
    if own.kept_QN.all():
        return None
    grid, (_, height, width) = trained.model.grid, dataset.image_size
    image_Q, public = questions.image[rows], split not in dataset.unanswered
    k = max(1, round(own.kept_QN.sum() / len(rows)))
    rivals: list[Rival] = []
    notes: list[str] = []
    if not public:
        notes.append("Other cells are not compared: the answers of this split are not public.")
    elif own.weighed:
        notes.append("Other cells are not compared: this selector weighs what it keeps, others would not.")
    else:
        rivals, notes = _rivals(trained, split, rows, own.score_Q, k)
    return Choice(
        sample=_sample_words(questions, rows),
        presence_QN=own.presence_QN,
        kept_QN=own.kept_QN,
        grid=grid,
        height=(height / grid[0]) / (width / grid[1]),
        on_objects=_on_objects(dataset, split, image_Q, own.kept_QN, grid),
        accuracy=float(own.score_Q.mean()) if public else None,
        k=k,
        rivals=tuple(rivals),
        notes=tuple(notes),
    )


def sample(questions: Questions, seed: int = 0) -> Ints:
    """Rows of random questions about random images, by image; the same ones at every call.

    Each question is as likely as any other, so that accuracy on them is that of the split up to chance.
    """
    random = np.random.default_rng(seed)
    images = np.unique(questions.image)
    chosen = random.permutation(images)[:IMAGES]
    rows: Ints = np.flatnonzero(np.isin(questions.image, chosen))
    if len(rows) > QUESTIONS:
        rows = random.choice(rows, QUESTIONS, replace=False)
    return rows[np.lexsort((rows, questions.image[rows]))]


def _sample_words(questions: Questions, rows: Ints) -> str:
    images, every = (len(np.unique(image)) for image in (questions.image[rows], questions.image))
    about = f"{images:,} of {every:,}" if images < every else f"all {every:,}"
    if len(rows) == len(questions):
        return f"all {len(rows):,} questions of the split, about {images:,} images"
    return f"{len(rows):,} of {len(questions):,} questions, about {about} images, drawn at random"


@attrs.frozen(kw_only=True, eq=False)
class _Looked:
    """presence_QN, kept_QN: as of ``Choice``. weighed: whether kept cells have weights, or are mixtures."""

    presence_QN: Floats
    kept_QN: Bools
    score_Q: Doubles
    weighed: bool


def _looked(trained: Trained, split: str, rows: Ints) -> _Looked:
    from hacore.measure.reading import kept_cells

    def read(batch: Batch, output: Output) -> tuple[Floats, Bools, Doubles, bool]:
        selection = output.selection
        presence_QN = selection.presence_QN.float().cpu().numpy()
        kept_QN = np.zeros(presence_QN.shape, bool)
        weighed = False
        for kept_N, (cells, weights) in zip(kept_QN, kept_cells(selection), strict=True):
            kept_N[cells] = True
            weighed |= weights is not None
        score_Q = trained.dataset.score(output.logits_QA, batch).cpu().numpy().astype(np.float64)
        return presence_QN, kept_QN, score_Q, weighed

    presences, kept, scores, weighed = zip(*ask(trained, split, rows, read), strict=True)
    return _Looked(
        presence_QN=np.concatenate(presences),
        kept_QN=np.concatenate(kept),
        score_Q=np.concatenate(scores),
        weighed=any(weighed),
    )


def _rivals(
    trained: Trained, split: str, rows: Ints, own_Q: Doubles, k: int
) -> tuple[list[Rival], list[str]]:
    """The rivals but for the model's own selector, and notes. own_Q: scores with its own cells."""
    image_Q = trained.dataset.questions(split).image[rows]
    rivals, notes = [], []
    for use, name in RIVALS.items():
        if use == trained.spec.selector.use:
            continue
        try:
            other_Q = _looked(trained.with_selector(use=use, k=k), split, rows).score_Q
        except HacoreError as error:
            notes.append(f"Other cells are not compared: {error}")
            break  # the other is of the same package, and fits where this one does
        ahead = over_images(own_Q, other_Q, image_Q)
        rivals.append(Rival(name=name, accuracy=float(other_Q.mean()), ahead=ahead))
    if rivals and rivals[0].ahead.images < FEW_IMAGES:
        notes.append(f"Fewer than {FEW_IMAGES} images, so that intervals may be too narrow.")
    return rivals, notes


def over_images(ours_Q: Doubles, theirs_Q: Doubles, image_Q: Ints) -> Difference:
    """The mean of the first scores minus that of the second, paired, with an interval over images."""
    _, place_Q, questions_I = np.unique(image_Q, return_inverse=True, return_counts=True)
    ours_SI, theirs_SI = (
        np.bincount(place_Q, scores_Q)[None].astype(np.float64) for scores_Q in (ours_Q, theirs_Q)
    )
    return difference(ours_SI, theirs_SI, questions_I.astype(np.int64), paired=True)


def _on_objects(
    dataset: Dataset[Any], split: str, image_Q: Ints, kept_QN: Bools, grid: tuple[int, int]
) -> tuple[float, float] | None:
    import torch

    from hacore.objects import object_cells

    objects = dataset.objects(split)
    if objects is None:
        return None
    images, place_Q = np.unique(image_Q, return_inverse=True)
    on_QN = object_cells(torch.from_numpy(objects.boxes_IO4[images]), grid).any(1).numpy()[place_Q]
    return float(on_QN[kept_QN].mean()), float(on_QN.mean())

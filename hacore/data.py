"""The contract of datasets, and the batches made from them.

Letters as in ``hacore.interfaces``: Q questions, I images, T words, A answers.
"""

from __future__ import annotations

import copy
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, Self, TypeVar

import attrs
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from hacore.errors import DataError
from hacore.features.mapped import MappedFeatures
from hacore.features.store import FeatureStore
from hacore.interfaces import Sizes
from hacore.machine.texts import composed
from hacore.objects import Objects, relevant_cells

ConfigT = TypeVar("ConfigT")
Ints = npt.NDArray[np.int64]

PADDING, UNKNOWN = 0, 1
"""Word indices that every vocabulary reserves; its first two entries are ``<pad>`` and ``<unk>``."""


def cache_folder() -> Path:
    """Where datasets keep what they download or generate: $HACORE_CACHE, else the user's cache."""
    if chosen := os.environ.get("HACORE_CACHE"):
        return Path(chosen).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "hacore"


@attrs.frozen(kw_only=True, eq=False)
class Questions:
    """The questions of a split, as columns; ragged words are stored end to end.

    words: (total,) vocabulary indices. offsets: (Q + 1,); question q is words[offsets[q]:offsets[q+1]],
    at least one word. image: (Q,) row of the split's images. answer: (Q,) index of the answer, -1 where
    it is not known. type: (Q,) index of the question type. ids: (Q,) the data set's own numbers,
    int64, or dtype object for integers that need more bits, see ``hacore_packing.ids.id_column``.
    accepted: (Q, S) answers that score something, -1 where a question has fewer than S, and
    accepted_score: (Q, S) their scores; None where there is one right answer a question.
    """

    words: npt.NDArray[np.integer[Any]]
    offsets: Ints
    image: Ints
    answer: Ints
    type: Ints
    ids: npt.NDArray[Any]
    accepted: npt.NDArray[np.integer[Any]] | None = None
    accepted_score: npt.NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.image)


@attrs.frozen(kw_only=True, eq=False)
class Batch:
    """Questions about some images, ready for the model.

    images: (I, 3, H, W) uint8, or float in [0, 1] once augmented; or (I, N, C), the features that a store
    has of them. words_QT: int64, 0 is padding.
    lengths_Q: int64, stays on the CPU, where packing needs it. image_index_Q, answer_Q (-1 unknown),
    type_Q: int64. row_Q: int64 NumPy, the row of each question in its split. accepted_QS: int64, -1 for
    none, and accepted_score_QS: float32, as in ``Questions``; None where those are.
    image_id_Q: int64, the row of each question's image in its split; None for images of no split.
    boxes_IO4, relevant_QO: as in ``hacore.objects.Objects``; None unless they were asked for.
    """

    images: Tensor
    words_QT: Tensor
    lengths_Q: Tensor
    image_index_Q: Tensor
    answer_Q: Tensor
    type_Q: Tensor
    row_Q: Ints
    accepted_QS: Tensor | None = None
    accepted_score_QS: Tensor | None = None
    image_id_Q: Tensor | None = None
    boxes_IO4: Tensor | None = None
    relevant_QO: Tensor | None = None

    def __len__(self) -> int:
        return len(self.row_Q)

    def relevant_QN(self, grid: tuple[int, int]) -> Tensor | None:
        """The cells of a grid on which the objects lie that each question is about, if they are known."""
        if self.boxes_IO4 is None or self.relevant_QO is None:
            return None
        return relevant_cells(self.boxes_IO4, self.relevant_QO, self.image_index_Q, grid)

    def inputs(self, grid: tuple[int, int]) -> tuple[Any, ...]:
        """What ``VQAModel.forward`` takes, in its order; ``grid``: that of the model."""
        tensors = self.images, self.words_QT, self.lengths_Q, self.image_index_Q, self.image_id_Q
        return *tensors, self.relevant_QN(grid)

    def to(self, device: torch.device) -> Batch:
        """The batch on a device; copies do not wait for the device."""
        if device.type == "cpu":
            return self

        def move(tensor: Tensor | None) -> Tensor | None:
            if tensor is None or tensor.device.type != "cpu":
                return tensor
            if device.type == "cuda":  # from pinned memory the copy does not wait
                tensor = tensor.pin_memory()
            return tensor.to(device, non_blocking=True)

        moved: dict[str, Any] = {
            field.name: move(getattr(self, field.name))
            for field in attrs.fields(Batch)
            if field.name not in ("lengths_Q", "row_Q")
        }
        return attrs.evolve(self, **moved)


def word_index(vocabulary: Sequence[str]) -> dict[str, int]:
    """The number of each word, also by its composed form, as earlier data may hold accents apart."""
    exact = {word: number for number, word in enumerate(vocabulary)}
    return {composed(word): number for word, number in exact.items()} | exact


_WORD = r"[\w'-]+|\?"


class Dataset(ABC, Generic[ConfigT]):
    """Questions about images, with their vocabulary, answers, types and metric.

    Built from its config; generates, downloads or opens what it needs. Sets
    vocabulary: words by index, the first two ``<pad>`` and ``<unk>``. answers: answers by index.
    question_types: types by index. groups: {name: types} for scores over several types.
    splits: names of splits. unanswered: those whose answers are not public, which can be predicted
    but not scored. image_size: (3, H, W). image_mean, image_std: per channel, pixels scaled
    to [0, 1], over the training images. fingerprint: names the data's content, so that a run is
    not continued on other data. word_rule: ``split_words`` as data, for programs without hacore: lower the
    question, bring it to Unicode's form ``normalize``, replace texts, find all matches of a regular
    expression of Python's; ``empty`` stands for none. Set it together with ``split_words``; without it
    exported models do not say how to split.
    store: what has features of its images, see ``reading``; None: a model takes the images themselves.
    name: what the record of a run calls a dataset that a program gives.
    """

    vocabulary: tuple[str, ...]
    answers: tuple[str, ...]
    question_types: tuple[str, ...]
    groups: Mapping[str, tuple[str, ...]] = {}
    splits: tuple[str, ...]
    unanswered: tuple[str, ...] = ()
    image_size: tuple[int, int, int]
    image_mean: tuple[float, ...]
    image_std: tuple[float, ...]
    fingerprint: str
    word_rule: Mapping[str, Any] = {"normalize": "NFC", "replace": {}, "pattern": _WORD, "empty": []}
    store: FeatureStore | None = None
    name: str = ""

    def __init__(self, config: ConfigT) -> None:
        self.config = config

    def reading(self, store: FeatureStore | None) -> Self:
        """This dataset with a model's inputs from a store of features; all else is the same."""
        view = copy.copy(self)
        view.store = store
        return view

    def inputs(self, split: str) -> npt.NDArray[np.uint8] | MappedFeatures:
        """What a model takes of the images of a split: (I, 3, H, W) pixels, or (I, N, C) stored features."""
        return self.images(split) if self.store is None else self.store.images(split)

    def objects(self, split: str) -> Objects | None:
        """Where the objects of the images lie and which each question is about; None, by default, where the
        data do not know.
        """
        return None

    @classmethod
    def expected(cls, config: ConfigT) -> tuple[Sizes, int] | None:
        """``sizes`` and the words of a usual question, where the options tell them without the data."""
        return None

    @abstractmethod
    def questions(self, split: str) -> Questions:
        """The questions of a split."""

    @abstractmethod
    def images(self, split: str) -> npt.NDArray[np.uint8]:
        """(I, 3, H, W), possibly memory-mapped."""

    @staticmethod
    def split_words(question: str) -> list[str]:
        """The words of a question, spelled as the vocabulary spells them.

        By default the lower-cased words and question marks, accents composed; other punctuation is dropped.
        It must need no data: a trained model splits questions with it where there are no data.
        """
        return re.findall(_WORD, composed(question.lower()))

    def tokenize(self, question: str) -> list[int]:
        """Vocabulary indices of a question's words, ``UNKNOWN`` for words never seen.

        A dataset of which this says too little, as its words are not looked up one by one, replaces it;
        its trained models then open the data when they are asked a question.
        """
        index = word_index(self.vocabulary)
        return [index.get(word, UNKNOWN) for word in self.split_words(composed(question))]

    def submission(self, split: str, answers: Sequence[str]) -> str | None:
        """The file that the data set's official evaluation takes, as text; None if there is none.

        answers: one for each question of the split, in the order of ``questions(split)``.
        """
        return None

    def word_vectors(self) -> npt.NDArray[np.float32] | None:
        """(words, C) vectors to start the question encoder's embedding with, zeros for a word without one.

        None, by default, where the data come with no such vectors.
        """
        return None

    def loss(self, logits_QA: Tensor, batch: Batch) -> Tensor:
        """Loss summed over the batch's questions; cross-entropy on the answer by default."""
        return F.cross_entropy(logits_QA, batch.answer_Q, reduction="sum", ignore_index=-1)

    def score(self, logits_QA: Tensor, batch: Batch) -> Tensor:
        """(Q,) float32 in [0, 1] per question; 1 for the right answer by default."""
        return (logits_QA.argmax(-1) == batch.answer_Q).float()

    def majority(self, train: Questions, asked: Questions) -> npt.NDArray[np.float32]:
        """(Q,) score of answering each question with its type's most frequent training answer."""
        types, answers = len(self.question_types), len(self.answers)
        known = train.answer >= 0
        counts = np.zeros((types, answers), np.int64)
        np.add.at(counts, (train.type[known], train.answer[known]), 1)
        right: npt.NDArray[np.bool_] = counts.argmax(1)[asked.type] == asked.answer
        return right.astype(np.float32)

    def sizes(self) -> Sizes:
        """What the first components of a model need to know. DataError for numbers that are not finite."""
        for name in ("image_mean", "image_std"):
            if not np.isfinite(getattr(self, name)).all():
                raise DataError(f"{name} of the data is {getattr(self, name)}; must be finite, make it again")
        vectors = self.word_vectors()
        if vectors is not None and not np.isfinite(vectors).all():
            word = self.vocabulary[int(np.flatnonzero(~np.isfinite(vectors).all(1))[0])]
            raise DataError(f"the word vector of '{word}' is not finite; get the file of vectors again")
        return Sizes(
            image=self.image_size,
            image_mean=self.image_mean,
            image_std=self.image_std,
            words=len(self.vocabulary),
            answers=len(self.answers),
            word_vectors=vectors,
        )


Images = npt.NDArray[np.uint8] | MappedFeatures | Tensor


def resident(images: npt.NDArray[np.uint8] | MappedFeatures, device: torch.device) -> Images:
    """The images, or their features, in the GPU's memory if they take at most half of what is free.

    Else as they are.
    """
    if device.type != "cuda":
        return images
    free, _ = torch.cuda.mem_get_info(device)
    if images.nbytes > free // 2:
        return images
    copy_on_device = torch.empty(images.shape, dtype=getattr(torch, images.dtype.name), device=device)
    for start in range(0, len(images), 4096):  # in parts, so that a mapped file need not fit the memory
        part = np.ascontiguousarray(images[start : start + 4096])
        copy_on_device[start : start + len(part)] = torch.from_numpy(part)
    return copy_on_device


def make_batch(questions: Questions, images: Images, rows: Ints, objects: Objects | None = None) -> Batch:
    """The batch of some questions; each image they ask about is in it once.

    images: those of the split, (I, 3, H, W), or their features, (I, N, C); a tensor stays on its device.
    objects: those of the split, for a model with an oracle.
    Words are padded to the longest question of the batch, never cut.
    """
    used, image_index = np.unique(questions.image[rows], return_inverse=True)
    starts = questions.offsets[rows]
    lengths = questions.offsets[rows + 1] - starts
    column = np.arange(lengths.max(initial=1))
    inside = column < lengths[:, None]
    words = np.zeros(inside.shape, np.int64)
    accepted, score = questions.accepted, questions.accepted_score
    words[inside] = questions.words[(starts[:, None] + column)[inside]]
    return Batch(
        images=_take(images, used),
        words_QT=torch.from_numpy(words),
        lengths_Q=torch.from_numpy(lengths),
        image_index_Q=torch.from_numpy(image_index.astype(np.int64)),
        answer_Q=torch.from_numpy(questions.answer[rows]),
        type_Q=torch.from_numpy(questions.type[rows]),
        row_Q=rows,
        accepted_QS=None if accepted is None else torch.from_numpy(accepted[rows].astype(np.int64)),
        accepted_score_QS=None if score is None else torch.from_numpy(score[rows]),
        image_id_Q=torch.from_numpy(questions.image[rows]),
        boxes_IO4=None if objects is None else torch.from_numpy(objects.boxes_IO4[used]),
        relevant_QO=None if objects is None else torch.from_numpy(objects.relevant_QO[rows]),
    )


def _take(images: Images, used: Ints) -> Tensor:
    if isinstance(images, Tensor):
        index = torch.from_numpy(used)
        if images.device.type == "cuda":
            index = index.pin_memory().to(images.device, non_blocking=True)
        return images.index_select(0, index)
    return torch.from_numpy(np.ascontiguousarray(images[used]))

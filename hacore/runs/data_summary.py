"""What a model must know of its data to be built and asked, kept in the run folder as ``inputs.json``.

With it a trained model answers questions where its data are not available.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import attrs
import numpy as np

from hacore.data import UNKNOWN, Dataset, word_index
from hacore.errors import RunError
from hacore.interfaces import Sizes
from hacore.machine.files import read_json, write_json
from hacore.machine.records import Count, Record
from hacore.machine.texts import composed

_MOST_PIXELS = 20_000  # of a side
_MOST_CHANNELS = 100_000
_DTYPES = ("", "float16", "bfloat16", "float32", "float64")


@attrs.frozen(kw_only=True, slots=False, eq=False)
class DataSummary(Record):
    """Words, answers and sizes of a dataset, as in ``hacore.data.Dataset``.

    word_vectors: channels of the vectors that the embedding started with, 0 without such.
    stored_dtype: of the stored features that the model was trained on, as "float16"; "" for images.
    own_words: whether the dataset's class splits questions in its own way.
    """

    vocabulary: tuple[str, ...]
    answers: tuple[str, ...]
    image_size: tuple[int, int, int]
    image_mean: tuple[float, ...]
    image_std: tuple[float, ...]
    word_vectors: Count
    fingerprint: str
    stored_dtype: str = ""
    own_words: bool = False

    @classmethod
    def of(cls, dataset: Dataset[Any]) -> DataSummary:
        """Those of a dataset."""
        vectors = dataset.word_vectors()
        return cls(
            vocabulary=tuple(dataset.vocabulary),
            answers=tuple(dataset.answers),
            image_size=dataset.image_size,
            image_mean=tuple(float(value) for value in dataset.image_mean),
            image_std=tuple(float(value) for value in dataset.image_std),
            word_vectors=0 if vectors is None else vectors.shape[1],
            fingerprint=dataset.fingerprint,
            stored_dtype=dataset.store.dtype if dataset.store else "",
            own_words=type(dataset).split_words is not Dataset.split_words
            or type(dataset).tokenize is not Dataset.tokenize,
        )

    @classmethod
    def read(cls, path: Path) -> DataSummary:
        """Those of a file. Raises RunError when it is damaged."""
        way_out = "remove it, and the data are opened instead"
        summary = cls.from_dict(read_json(path, way_out), str(path), way_out)
        if problem := summary.problem():
            raise RunError(f"{path}: is not what hacore wrote: {problem}; {way_out}")
        return summary

    def problem(self) -> str:
        """Why no model can have been built for this, or ""."""
        channels, height, width = self.image_size
        if channels != 3 or not 1 <= min(height, width) <= max(height, width) <= _MOST_PIXELS:
            return f"image_size is {list(self.image_size)}, not 3 channels of 1 to {_MOST_PIXELS:,} pixels"
        if not len(self.image_mean) == len(self.image_std) == channels or min(self.image_std) < 0:
            return f"image_mean and image_std are not {channels} numbers, or a deviation is below 0"
        if self.stored_dtype not in _DTYPES:
            return f"stored_dtype is {self.stored_dtype!r}, not one of {', '.join(filter(None, _DTYPES))}"
        if self.word_vectors > _MOST_CHANNELS:
            return f"word_vectors is {self.word_vectors}, at most {_MOST_CHANNELS:,} channels expected"
        if not self.vocabulary or not self.answers:
            return "it has no words or no answers"
        return ""

    def write(self, path: Path) -> None:
        """Write the file, whole."""
        write_json(path, self.as_dict())

    def sizes(self) -> Sizes:
        """As ``Dataset.sizes``, for trained weights: zeros stand for word vectors, none are pretrained."""
        words = len(self.vocabulary)
        vectors = np.zeros((words, self.word_vectors), np.float32) if self.word_vectors else None
        return Sizes(
            image=self.image_size,
            image_mean=self.image_mean,
            image_std=self.image_std,
            words=words,
            answers=len(self.answers),
            word_vectors=vectors,
            pretrained=False,
        )

    @cached_property
    def _index(self) -> dict[str, int]:
        return word_index(self.vocabulary)

    def number(self, words: list[str]) -> list[int]:
        """Vocabulary indices of words, ``UNKNOWN`` for words never seen; accents may be composed or apart."""
        index = self._index
        return [index.get(word, index.get(composed(word), UNKNOWN)) for word in words]

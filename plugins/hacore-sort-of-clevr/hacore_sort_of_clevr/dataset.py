"""The dataset Sort-of-CLEVR."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from hacore.data import Dataset, Questions, cache_folder
from hacore.objects import Objects
from hacore_sort_of_clevr import Config
from hacore_sort_of_clevr.questions import (
    ANSWERS,
    GROUPS,
    TYPES,
    VOCABULARY,
    relevant_table,
    with_answers,
    word_columns,
)
from hacore_sort_of_clevr.scenes import COLOURS, SHAPES, SIZE, SceneObject, object_boxes, pixel_statistics
from hacore_sort_of_clevr.store import Generated, open_store


class SortOfClevr(Dataset[Config]):
    """Sort-of-CLEVR (Santoro et al. 2017, arXiv 1706.01427, appendix D), generated on first use.

    White images of 75x75 with six objects, one of each colour, each a square ("rectangle" in the
    answers) or a circle 10 pixels wide. Questions: see ``hacore_sort_of_clevr.questions``; those of an
    image are drawn without repetition, 10 of the 18 possible ones of either kind by default.

    The paper holds out 200 of 10,000 images; here another 200 of the rest are for validation.
    test comes first in the files, then val, then train: with more images the test images stay the same.
    Question ids count in that order over all splits.

    With ``closest = "popular"`` the answers to questions about the closest object, and the objects they are
    about, are those of the most used generator (kimhc6028/relational-networks): it looks for the nearest of
    all objects after setting the squared distance of the object to itself to 999. All else stays the same.

    DataError when the files cannot be written or are damaged.
    """

    vocabulary = VOCABULARY
    answers = ANSWERS
    question_types = TYPES
    groups = GROUPS
    splits = ("train", "val", "test")
    image_size = (3, SIZE, SIZE)

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        wanted = Generated(images=config.images, questions=config.questions, data_seed=config.data_seed)
        parent = Path(config.root).expanduser() if config.root else cache_folder() / "sort-of-clevr"
        self._arrays = open_store(parent, wanted)
        self._questions = self._arrays.questions
        if config.closest != "other":
            # The files are those of "other": only answers differ, and they follow from the scenes.
            scenes = self._arrays.scenes.astype(np.int64)
            self._questions = with_answers(self._questions, scenes, config.closest)
        first_train = config.held_out + config.validation
        self._ranges = {
            "train": slice(first_train, config.images),
            "val": slice(config.held_out, first_train),
            "test": slice(0, config.held_out),
        }
        self.image_mean, self.image_std = pixel_statistics(
            self._arrays.scenes[self._ranges["train"]].astype(np.int64)
        )
        self.fingerprint = f"sort-of-clevr-{wanted.key}-{config.held_out}-{config.validation}"
        if config.closest != "other":
            self.fingerprint += f"-{config.closest}-closest"

    def questions(self, split: str) -> Questions:
        chosen = self._range(split)
        rows = self._questions[chosen].astype(np.int64)
        images, each, _ = rows.shape
        types, colours, answers = (np.ascontiguousarray(column) for column in rows.reshape(-1, 3).T)
        words, offsets = word_columns(types, colours)
        return Questions(
            words=words,
            offsets=offsets,
            image=np.repeat(np.arange(images, dtype=np.int64), each),
            answer=answers,
            type=types,
            ids=chosen.start * each + np.arange(images * each, dtype=np.int64),
        )

    def images(self, split: str) -> npt.NDArray[np.uint8]:
        return self._arrays.images[self._range(split)]

    def objects(self, split: str) -> Objects:
        """The six objects of each image, in the order of ``COLOURS``; see ``relevant_table``."""
        chosen = self._range(split)
        scenes = self._arrays.scenes[chosen].astype(np.int64)
        types, colours, _ = self._questions[chosen].transpose(2, 0, 1)
        table = relevant_table(scenes, self.config.closest)
        relevant_QO = table[np.arange(len(scenes))[:, None], types, colours]
        return Objects(
            boxes_IO4=object_boxes(scenes), relevant_QO=relevant_QO.reshape(-1, relevant_QO.shape[-1])
        )

    def scene(self, split: str, image: int) -> list[SceneObject]:
        """The objects of an image of a split, in the order of ``COLOURS``."""
        rows = self._arrays.scenes[self._range(split)][image].tolist()
        return [
            SceneObject(colour=colour, shape=SHAPES[shape], x=x, y=y)
            for colour, (shape, x, y) in zip(COLOURS, rows, strict=True)
        ]

    def _range(self, split: str) -> slice:
        if split not in self._ranges:
            raise ValueError(f"no split {split!r}; the splits are {', '.join(self.splits)}")
        return self._ranges[split]

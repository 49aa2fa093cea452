"""The dataset easy-VQA."""

from __future__ import annotations

import hashlib

import attrs
import numpy as np
import numpy.typing as npt
from hacore_packing.making import channel_statistics
from hacore_packing.packs import digest_of

from hacore.data import Dataset, Questions
from hacore_easy_vqa import TRAIN_IMAGES, Config
from hacore_easy_vqa.official import SIZE, Official, read_official

TYPES = ("shape", "color", "present", "absent")
GROUPS = {"what": ("shape", "color"), "yes/no": ("present", "absent")}


def question_type(words: list[str]) -> str:
    """The type of a question, by its wording alone.

    ``shape`` and ``color`` are what it asks for. The others, answered by yes or no, ask whether a shape or
    colour is ``present``, or with "not" or "no" whether it is ``absent``.
    """
    if words[0] == "what":
        return "color" if "color" in words else "shape"
    return "absent" if {"no", "not"} & {*words} else "present"


@attrs.frozen(eq=False)
class _Part:
    """Questions about some images. rows: places in the official file. image: (Q,) rows of ``images``."""

    rows: npt.NDArray[np.int64]
    questions: list[str]
    answers: list[str]
    image: npt.NDArray[np.int64]
    images: npt.NDArray[np.uint8]

    @classmethod
    def of(cls, official: Official, chosen: npt.NDArray[np.bool_]) -> _Part:
        """chosen: (I,) which images."""
        rows = np.flatnonzero(chosen[official.image])
        return cls(
            rows,
            [official.questions[row] for row in rows],
            [official.answers[row] for row in rows],
            (np.cumsum(chosen) - 1)[official.image[rows]],
            official.images[chosen],
        )


class EasyVQA(Dataset[Config]):
    """easy-VQA (Victor Zhou 2019), from the package ``easy-vqa``: nothing is downloaded or prepared.

    Pictures of 64x64 with one circle, rectangle or triangle in one of eight colours, and about ten questions
    each, in 107 wordings. test is the official split. The package has none for validation: val has the
    questions about ``validation`` images of its training split, drawn by a digest of seed and number. Ids are
    the places of the questions in the official files. question_types: see ``question_type``.

    DataError when a file of the package is missing or damaged.
    """

    question_types = TYPES
    groups = GROUPS
    splits = ("train", "val", "test")
    image_size = (3, SIZE, SIZE)

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        official, test = read_official("train"), read_official("test")
        seed = str(config.validation_seed)
        order = sorted(range(TRAIN_IMAGES), key=lambda image: digest_of([seed, str(image)]))
        validation = np.isin(np.arange(TRAIN_IMAGES), order[: config.validation])
        train = _Part.of(official, ~validation)
        self._parts = {
            "train": train,
            "val": _Part.of(official, validation),
            "test": _Part.of(test, np.ones(len(test.images), bool)),
        }
        words = {word for question in {*train.questions} for word in self.split_words(question)}
        self.vocabulary = ("<pad>", "<unk>", *sorted(words))
        self.answers = tuple(sorted({*official.answers}))
        self.image_mean, self.image_std = _statistics(train.images)
        self.fingerprint = f"easy-vqa-{_digest(official, test)}-{config.validation}-{config.validation_seed}"

    def questions(self, split: str) -> Questions:
        part = self._part(split)
        texts = part.questions
        numbers = {text: self.tokenize(text) for text in {*texts}}
        types = {text: TYPES.index(question_type(self.split_words(text))) for text in numbers}
        answers = [self.answers.index(answer) for answer in part.answers]
        return Questions(
            words=np.array([number for text in texts for number in numbers[text]], np.int32),
            offsets=np.cumsum([0, *(len(numbers[text]) for text in texts)], dtype=np.int64),
            image=part.image,
            answer=np.array(answers, np.int64),
            type=np.array([types[text] for text in texts], np.int64),
            ids=part.rows,
        )

    def images(self, split: str) -> npt.NDArray[np.uint8]:
        return self._part(split).images

    def _part(self, split: str) -> _Part:
        if split not in self._parts:
            raise ValueError(f"no split {split!r}; the splits are {', '.join(self.splits)}")
        return self._parts[split]


def _statistics(images: npt.NDArray[np.uint8]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of each channel of (I, 3, H, W), pixels in [0, 1]."""
    counts = np.stack([np.bincount(images[:, channel].ravel(), minlength=256) for channel in range(3)])
    values = np.arange(256)
    total, squares = counts @ values, counts @ values**2
    mean, std = channel_statistics(int(counts[0].sum()), total.tolist(), squares.tolist())
    return tuple(mean), tuple(std)


def _digest(*parts: Official) -> str:
    """16 hexadecimal digits that name the content of the package."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(digest_of([*part.questions, *part.answers]).encode())
        digest.update(part.image.tobytes())
        digest.update(part.images.tobytes())
    return digest.hexdigest()[:16]

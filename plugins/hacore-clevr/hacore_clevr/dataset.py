"""The dataset CLEVR."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from hacore_packing.images import LogTell
from hacore_packing.packs import row_limit, select_words
from hacore_packing.prepare import Source, open_prepared, open_root, prepare_command
from hacore_packing.readers import source_folder

from hacore.data import Dataset, Questions, word_index
from hacore.errors import DataError
from hacore.interfaces import Sizes
from hacore.objects import Objects
from hacore_clevr import Config, PrepareConfig
from hacore_clevr.attributes import TYPES, attribute_questions, empty_places
from hacore_clevr.domain import ANSWERS, GROUPS
from hacore_clevr.official import find_splits, picture_files
from hacore_clevr.pack import FORMAT, Pack, Stored
from hacore_clevr.prepare import default_folder, is_current, prepare
from hacore_clevr.words import WORD_RULE, split_words

_WORDS, _WORDS_ASKED = 83, 19  # by the official templates: the vocabulary, and a usual question
_COGENT = {"trainA": "train", "valA": "val", "testA": "test"}


class Clevr(Dataset[Config]):
    """CLEVR (Johnson et al. 2017, arXiv 1612.06890), CLEVR-CoGenT, and what is generated in their format.

    ``root`` is a prepared folder, or an official one, which is prepared on first use and kept in the
    cache. The splits are those of the folder; of CLEVR-CoGenT, trainA, valA and testA are called train,
    val and test, and valB and testB keep their names. Splits without answers can be predicted only.
    ``dev_images`` sets images of train aside as split dev, so that a checkpoint can be chosen without
    looking at val. ``train_steps`` leaves long programs out of train, to begin with what is easy.

    With ``about = "attributes"`` the questions are other ones, made of the scenes: for every object its size,
    color, material and shape, in one word that does not say which object is meant. An oracle selector knows:
    objects lie in the cell of their middle. A training on them teaches an image encoder what an object looks
    like; with ``empty_places`` also where one is, as each object and these places are asked for being one.

    question_types: one for each question family, named by its number and its programs' last function
    ("17 query_color"), which the number tells where there are no programs; "unknown" without either.
    groups: the five of the published scores. answers: always the same 28. Vocabulary and tokens: see
    ``hacore_clevr.words``. image_mean and image_std are over all training images of the folder, regardless
    of ``train_images``.

    DataError when the data is missing, damaged or prepared at another ``size``.
    """

    answers = ANSWERS

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        pack = self._pack = _open(config)
        self._stored = _split_names(pack)
        self.splits = tuple(self._stored)
        attributes = config.about == "attributes"
        self.unanswered = tuple(
            split for split, name in self._stored.items() if not (attributes or pack.splits[name].answered)
        )
        self.vocabulary = pack.vocabulary
        about_objects = TYPES if config.empty_places else TYPES[:-1]
        self.question_types, last = (about_objects,) * 2 if attributes else (pack.types, pack.functions)
        self.groups = _groups(self.question_types, last)
        self.image_size = (3, *pack.size)
        self.image_mean, self.image_std = pack.mean, pack.std
        self._images = {split: pack.images(name) for split, name in self._stored.items()}
        self._first = dict.fromkeys(self.splits, 0)  # row of the stored images that is the split's first
        if config.dev_images:
            self._take_dev(config.dev_images)
        self._images["train"] = self._images["train"][
            : row_limit(config, "train_images", self._images["train"])
        ]
        self._questions: dict[str, Questions] = {}
        chosen = f"{config.train_images or 'all'}-{config.train_questions or 'all'}-{config.dev_images}"
        easy = f"-{config.train_steps}-steps" if config.train_steps else ""
        about = f"-{config.about}" if config.about != "scenes" else ""
        about += f"-{config.empty_places}-empty" if config.empty_places else ""
        self.fingerprint = f"{pack.fingerprint}-{chosen}{easy}{about}"
        self.questions("train")  # a limit that is too large is an error now, not when training starts

    def _take_dev(self, count: int) -> None:
        """Makes the last images of train a split of their own."""
        rest = len(self._images["train"]) - count
        if rest < 1:
            raise DataError(
                f"data.dev_images = {count}; train has {count + rest} images, leave some to train on"
            )
        if "dev" in self.splits:
            raise DataError(f"data.dev_images = {count}; the data has a split dev already, leave it out")
        place = self.splits.index("train") + 1
        self.splits = (*self.splits[:place], "dev", *self.splits[place:])
        self._stored["dev"], self._first["dev"] = self._stored["train"], rest
        self._images["train"], self._images["dev"] = np.split(self._images["train"], [rest])
        if "train" in self.unanswered:
            self.unanswered = (*self.unanswered, "dev")

    @classmethod
    def expected(cls, config: Config) -> tuple[Sizes, int] | None:
        """As if made by the official templates."""
        if not config.root or Path(config.root).expanduser().exists():
            return None
        return Sizes(image=(3, *config.size), words=_WORDS, answers=len(ANSWERS)), _WORDS_ASKED

    def questions(self, split: str) -> Questions:
        if split not in self._questions:
            self._questions[split] = self._asked(split)[0]
        return self._questions[split]

    def program_steps(self, split: str) -> npt.NDArray[np.int16] | None:
        """(Q,), the functions of each question's program, as ``train_steps`` counts them; 0 where a question
        has no program. None where the data were packed without them."""
        stored = self._pack.questions(self._name(split))
        if stored.steps is None or self.config.about == "attributes":
            return None
        return stored.steps[self._rows(split, stored)]

    def objects(self, split: str) -> Objects | None:
        """By programs and scenes; None where the data have none, or were packed without them."""
        stored = self._pack.questions(self._name(split))
        relevant_QO = self._asked(split)[1]
        if stored.boxes is None or relevant_QO is None:
            return None
        first = self._first[split]
        if self.config.about == "attributes":
            boxes_IO4 = np.tile(self._places(split, stored), 2)
        else:
            boxes_IO4 = stored.boxes[first : first + len(self._images[split])]
        return Objects(boxes_IO4=boxes_IO4, relevant_QO=relevant_QO)

    def _asked(self, split: str) -> tuple[Questions, npt.NDArray[np.bool_] | None]:
        """The questions, and which objects each is about, if that is known."""
        stored = self._pack.questions(self._name(split))
        if self.config.about == "attributes":
            return self._attributes(split, stored)
        rows = self._rows(split, stored)
        questions = _select(stored, rows, stored.image - self._first[split])
        if stored.boxes is None or stored.relevant is None or not (stored.relevant >= 0).any():
            return questions, None
        known_Q1 = np.maximum(stored.relevant[rows], 0)[:, None]
        return questions, (known_Q1 >> np.arange(stored.boxes.shape[1]) & 1).astype(bool)

    def _attributes(self, split: str, stored: Stored) -> tuple[Questions, npt.NDArray[np.bool_]]:
        first = self._first[split]
        if stored.attributes is None or not (stored.attributes >= 0).any():
            raise DataError(
                f"data.about = 'attributes': {self._pack.folder} holds no attributes of the objects of split "
                f"{self._name(split)}; prepare or generate it again from data with scenes"
            )
        attributes_IOA = stored.attributes[first : first + len(self._images[split])]
        return attribute_questions(attributes_IOA, self._places(split, stored), word_index(self.vocabulary))

    def _places(self, split: str, stored: Stored) -> npt.NDArray[np.float32]:
        """(I, P, 2): the middles of the objects, and after them the empty places."""
        assert stored.boxes is not None
        first = self._first[split]
        boxes_IO4 = stored.boxes[first : first + len(self._images[split])]
        middle_IO2 = (boxes_IO4[..., :2] + boxes_IO4[..., 2:]) / 2
        return np.concatenate([middle_IO2, empty_places(middle_IO2, self.config.empty_places)], 1)

    def _rows(self, split: str, stored: Stored) -> npt.NDArray[np.int64]:
        """Rows of the stored questions that the split has here."""
        row = stored.image - self._first[split]
        chosen = (row >= 0) & (row < len(self._images[split]))
        if split != "train":
            return np.flatnonzero(chosen)
        if (most := self.config.train_steps) is not None:
            if stored.steps is None:
                raise DataError(
                    f"data.train_steps = {most}: {self._pack.folder} does not hold the lengths of programs; "
                    "prepare or generate it again"
                )
            chosen &= (stored.steps > 0) & (stored.steps <= most)
            if not chosen.any():
                raise DataError(f"data.train_steps = {most}: no program is so short; raise it")
        rows = np.flatnonzero(chosen)
        return rows[: row_limit(self.config, "train_questions", rows)]

    def images(self, split: str) -> npt.NDArray[np.uint8]:
        self._name(split)
        return self._images[split]

    word_rule = WORD_RULE

    @staticmethod
    def split_words(question: str) -> list[str]:
        return split_words(question)

    def submission(self, split: str, answers: Sequence[str]) -> str:
        """One answer a line, in the order of the questions file, as the official evaluation takes it.

        ValueError unless there is one answer of the 28 for each question.
        """
        expected = len(self.questions(split))
        if len(answers) != expected:
            raise ValueError(f"{len(answers)} answers for the {expected} questions of split {split}")
        if unknown := sorted(set(answers) - set(ANSWERS)):
            raise ValueError(f"{unknown[0]!r} is not an answer; the answers are {', '.join(ANSWERS)}")
        return "".join(f"{answer}\n" for answer in answers)

    def _name(self, split: str) -> str:
        if split not in self._stored:
            raise ValueError(f"no split {split!r}; the splits are {', '.join(self.splits)}")
        return self._stored[split]


def _open(config: Config) -> Pack:
    wanted = (
        "a folder of CLEVR, which 'hacore data download clevr' fetches, or one that 'hacore data generate "
        "clevr' makes"
    )

    def source(pack: Pack) -> Source:
        root = source_folder(pack, "root")
        if not root:
            return None
        places = ("--output", Path(config.root).expanduser())
        command = prepare_command("clevr", root, pack.size, *places, splits=pack.splits)
        return picture_files(root, pack.splits), command

    def official(root: Path) -> Pack:
        find_splits(root)  # says what is wrong with the folder before anything is said to be prepared
        return open_prepared(
            root,
            default_folder(root, config.size),
            FORMAT,
            is_current=is_current,
            prepare=lambda: prepare(PrepareConfig(root=str(root), size=config.size), LogTell()),
            command=prepare_command("clevr", root, config.size),
            paths=lambda pack: picture_files(root, pack.splits),
        )

    return open_root(config.root, config.size, FORMAT, wanted=wanted, source=source, official=official)


def _split_names(pack: Pack) -> dict[str, str]:
    """Names of the splits in the pack by the names they have here."""
    if "train" in pack.splits:
        return {name: name for name in pack.splits}
    return {_COGENT.get(name, name): name for name in pack.splits}


def _groups(types: Sequence[str], last: Sequence[str]) -> dict[str, tuple[str, ...]]:
    named = list(zip(types, last, strict=True))
    return {
        group: tuple(name for name, function in named if function in functions)
        for group, functions in GROUPS.items()
    }


def _select(stored: Stored, rows: npt.NDArray[np.int64], image: npt.NDArray[np.int32]) -> Questions:
    """Some questions of a split, in the order of their rows; image: row of the image of every question."""
    words, offsets = select_words(stored.words, stored.offsets, rows)
    return Questions(
        words=words,
        offsets=offsets,
        image=image[rows].astype(np.int64),
        answer=stored.answer[rows].astype(np.int64),
        type=stored.type[rows].astype(np.int64),
        ids=stored.ids[rows],
    )

"""The dataset "folder"."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from hacore_packing.images import LogTell
from hacore_packing.making import channel_statistics
from hacore_packing.packs import digest_of, select_words
from hacore_packing.prepare import Source, open_prepared, open_root, prepare_command
from hacore_packing.readers import source_folder
from torch import Tensor

from hacore.data import UNKNOWN, Batch, Dataset, Questions
from hacore.errors import DataError
from hacore_folder import Config, PrepareConfig
from hacore_folder.answers import accepted_answers, choose_answers
from hacore_folder.pack import FORMAT, Content, Pack, Stored
from hacore_folder.prepare import default_folder, is_current, picture_files, prepare
from hacore_folder.question_types import question_types
from hacore_folder.questions import ANSWERED, SPLITS, TABLE, find_table
from hacore_folder.splits import TRAIN, VAL, split_questions

log = logging.getLogger("hacore")


class Folder(Dataset[Config]):
    """Pictures in a folder, and questions about them in a table beside them, ``questions.csv`` say.

    ``root`` is such a folder, which is prepared on first use and again when a file of it changes, or a
    prepared one. Splits: those that the table names, or shares of the pictures, see
    ``hacore_folder.splits``. question_types: see ``hacore_folder.question_types``. Words and answers are
    those of the training questions; a question none of whose answers is among them adds nothing to the loss
    and counts as wrong.

    loss, score: where questions have several answers, each is right: the loss is the negative logarithm of
    their probability together. Images of a split are its own where they lie together; splits whose pictures
    do not share one array of them.

    DataError when the data are missing, broken, or prepared at another ``size``.
    """

    def __init__(self, config: Config) -> None:
        self.read(config, _open(config))

    def read(self, config: Config, pack: Content) -> None:
        """Take the questions and pictures of a pack, or of what is like one."""
        super().__init__(config)
        stored = self._stored = pack.stored()
        self._split_Q = _splits(pack, stored, config)
        self.splits = tuple(name for number, name in enumerate(SPLITS) if (self._split_Q == number).any())
        train_Q = self._split_Q == TRAIN
        self.answers, number_of_text = choose_answers(pack.answers, stored.answers[train_Q], config.answers)
        self._accepted_QS = accepted_answers(stored.answers, number_of_text)
        words, _ = select_words(stored.words, stored.offsets, np.flatnonzero(train_Q))
        named = sorted({pack.words[number] for number in np.unique(words).tolist()})
        self.vocabulary = ("<pad>", "<unk>", *named)
        index = {word: number for number, word in enumerate(self.vocabulary)}
        self._number = np.array([index.get(word, UNKNOWN) for word in pack.words], np.int32)
        self.question_types, self._type_Q = question_types(pack, stored, train_Q)
        self._images = pack.images()
        self.image_size = (3, *pack.size)
        rows = np.unique(stored.image[train_Q])
        mean, std = channel_statistics(
            len(rows) * pack.size[0] * pack.size[1],
            stored.total[rows].sum(0).tolist(),
            stored.squares[rows].sum(0).tolist(),
        )
        self.image_mean, self.image_std = tuple(mean), tuple(std)
        self._parts = self._place()
        self._questions: dict[str, Questions] = {}
        options = [str(config.shares), str(config.split_seed), str(config.answers)]
        self.fingerprint = f"{pack.fingerprint}-{digest_of(options)[:8]}"

    def questions(self, split: str) -> Questions:
        if split not in self._questions:
            self._questions[split] = self._columns(split)
        return self._questions[split]

    def images(self, split: str) -> npt.NDArray[np.uint8]:
        self._require(split)
        return self._images[self._parts[split]]

    def _columns(self, split: str) -> Questions:
        rows = self._rows(split)
        stored, accepted_QS = self._stored, self._accepted_QS[rows]
        words, offsets = select_words(self._number[stored.words], stored.offsets, rows)
        several = self._accepted_QS.shape[1] > 1
        return Questions(
            words=words,
            offsets=offsets,
            image=stored.image[rows] - self._parts[split].start,
            answer=accepted_QS[:, 0].astype(np.int64),
            type=self._type_Q[rows],
            ids=stored.ids[rows],
            accepted=accepted_QS if several else None,
            accepted_score=(accepted_QS >= 0).astype(np.float32) if several else None,
        )

    def loss(self, logits_QA: Tensor, batch: Batch) -> Tensor:
        if batch.accepted_QS is None:
            return super().loss(logits_QA, batch)
        right_QA = torch.zeros_like(logits_QA).scatter_add(
            1, batch.accepted_QS.clamp(min=0), (batch.accepted_QS >= 0).to(logits_QA.dtype)
        )
        # Without a known answer every one counts as right, which has the probability 1 and no gradient.
        wrong_QA = (right_QA == 0) & (right_QA > 0).any(1, keepdim=True)
        return -logits_QA.log_softmax(1).masked_fill(wrong_QA, -torch.inf).logsumexp(1).sum()

    def score(self, logits_QA: Tensor, batch: Batch) -> Tensor:
        if batch.accepted_QS is None:
            return super().score(logits_QA, batch)
        return (batch.accepted_QS == logits_QA.argmax(-1)[:, None]).any(1).float()

    def majority(self, train: Questions, asked: Questions) -> npt.NDArray[np.float32]:
        """(Q,) whether the answer that is right most often in training for the question's type is right."""
        if train.accepted is None or asked.accepted is None:
            return super().majority(train, asked)
        counts = np.zeros((len(self.question_types), len(self.answers)), np.int64)
        known = train.accepted >= 0
        types = np.broadcast_to(train.type[:, None], known.shape)
        np.add.at(counts, (types[known], train.accepted[known]), 1)
        best = counts.argmax(1)[asked.type]
        right: npt.NDArray[np.bool_] = (asked.accepted == best[:, None]).any(1)
        return right.astype(np.float32)

    def _rows(self, split: str) -> npt.NDArray[np.int64]:
        """The questions of a split."""
        self._require(split)
        return np.flatnonzero(self._split_Q == SPLITS.index(split))

    def _require(self, split: str) -> None:
        if split not in self.splits:
            raise ValueError(f"no split {split!r}; the splits are {', '.join(self.splits)}")

    def _place(self) -> dict[str, slice]:
        """Rows of the pictures of each split: its own where they lie together, else those of all such splits.

        So splits that were drawn from the same pictures share one array, and its features are made once.
        """
        rows = {split: np.unique(self._stored.image[self._rows(split)]) for split in self.splits}
        spans = {split: slice(int(row[0]), int(row[-1]) + 1) for split, row in rows.items()}
        mixed = [split for split, span in spans.items() if span.stop - span.start > len(rows[split])]
        shared = slice(
            min((spans[split].start for split in mixed), default=0),
            max((spans[split].stop for split in mixed), default=0),
        )
        return {split: shared if split in mixed else span for split, span in spans.items()}


def _splits(pack: Content, stored: Stored, config: Config) -> npt.NDArray[np.int8]:
    try:
        split_Q = split_questions(stored.split, stored.image, pack.pictures, config.shares, config.split_seed)
    except DataError as error:
        raise DataError(f"{pack.table}: {error}") from None
    if (stored.split >= 0).any() and (split_Q != stored.split).any():
        count = len(np.unique(stored.image[split_Q == VAL]))
        log.info("%s: has no split val; %d pictures of train are val now", pack.table, count)
    return split_Q


def _open(config: Config) -> Pack:
    wanted = f"a folder with pictures and a {TABLE}.csv that has the columns {', '.join(ANSWERED)}"

    def source(pack: Pack) -> Source:
        root = source_folder(pack, "root")
        if not root:
            return None
        places = ("--output", Path(config.root).expanduser())
        return picture_files(root, pack), prepare_command("folder", root, pack.size, *places)

    def official(root: Path) -> Pack:
        find_table(root)  # says what is wrong with the folder before anything is said to be prepared
        return open_prepared(
            root,
            default_folder(root, config.size),
            FORMAT,
            is_current=is_current,
            prepare=lambda: prepare(PrepareConfig(root=str(root), size=config.size), LogTell()),
            command=prepare_command("folder", root, config.size),
            paths=lambda pack: picture_files(root, pack),
        )

    return open_root(config.root, config.size, FORMAT, wanted=wanted, source=source, official=official)

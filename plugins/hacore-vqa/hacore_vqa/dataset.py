"""The datasets VQA v2 and VQA-CP v2."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import attrs
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from hacore_packing.images import LogTell
from hacore_packing.packs import row_limit, select_words
from hacore_packing.prepare import Source, open_prepared, open_root, prepare_command
from hacore_packing.readers import source_folder
from torch import Tensor

from hacore.data import PADDING, UNKNOWN, Batch, Dataset, Questions
from hacore.errors import DataError
from hacore_vqa import Config, CpConfig, PrepareConfig
from hacore_vqa.answers import choose_answers
from hacore_vqa.carve import carve
from hacore_vqa.official import CP, V2, Layout, find_splits
from hacore_vqa.pack import FORMAT, Pack, Stored, Texts
from hacore_vqa.parts import picture_files
from hacore_vqa.prepare import default_folder, is_current, prepare
from hacore_vqa.question_types import question_types
from hacore_vqa.vectors import read_vectors
from hacore_vqa.words import PAD, UNK, WORD_RULE, split_words

log = logging.getLogger("hacore")


class VqaV2(Dataset[Config]):
    """VQA v2 (Goyal et al. 2017, arXiv 1612.00837) from its official files.

    ``root`` is a prepared folder, or an official one, which is prepared on first use and kept in the cache.
    Splits: train, val, and, predicted only, test and test-dev, where the folder has them.

    answers: see ``hacore_vqa.answers``. score: what the official metric gives for the answer, so that an
    accuracy here is the official one; answers without ``answer_id`` are ten people's. loss: cross-entropy or
    binary, on the most frequent answer or on every answer's score. A question whose most frequent answer is
    not in the set has answer -1: as a single target it adds nothing to cross-entropy and counts for the
    binary loss as having no right answer. It is still scored.
    question_types: see ``hacore_vqa.question_types``; groups are the official answer types.
    Vocabulary and tokens: see ``hacore_vqa.words``; words are those of the training questions. Limits of
    the training split change neither answers nor words.

    DataError when the data is missing, damaged or prepared at another ``size``.
    """

    layout: ClassVar[Layout] = V2

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        pack = self._pack = _open(self.layout, config)
        self._stored = {split: pack.questions(split) for split in pack.splits}
        self._parts = {split: pack.images(split) for split in pack.splits}
        texts = pack.texts()
        for split, stored in self._stored.items():
            pack.require_texts(split, stored, texts)
        self._split(texts)
        self.splits = tuple(self._stored)
        self.unanswered = tuple(name for name, info in pack.splits.items() if not info.answered)
        counted = config.answers_from.split("+")
        if missing := [name for name in counted if name in self.layout.splits and name not in self._stored]:
            raise DataError(
                f"data.answers_from = '{config.answers_from}': there is no split {missing[0]}; prepare it, "
                "or set answers_from = 'train'"
            )
        self._answers = choose_answers(
            texts,
            [stored.chosen for name, stored in self._stored.items() if name in counted],
            config.answers,
            config.min_answer_count,
        )
        self.answers = self._answers.answers
        if not self.answers:
            raise DataError(
                f"data.min_answer_count = {config.min_answer_count}: no answer is that frequent; lower it"
            )
        self.question_types, self.groups, self._type_of = question_types(texts, self._stored.values())
        counts = np.bincount(self._stored["train"].words, minlength=len(texts.words))
        kept = np.flatnonzero(counts >= config.min_word_count)
        named = sorted({texts.words[number] for number in kept} - {PAD, UNK})
        self.vocabulary = (PAD, UNK, *named)
        index = {word: number for number, word in enumerate(self.vocabulary)}
        self._number = np.array([index.get(word, UNKNOWN) for word in texts.words], np.int32)
        self.image_size = (3, *pack.size)
        self.image_mean, self.image_std = pack.mean, pack.std
        self._parts["train"] = self._parts["train"][: row_limit(config, "train_images", self._parts["train"])]
        self._questions: dict[str, Questions] = {}
        self._vectors: npt.NDArray[np.float32] | None = None
        self.fingerprint = f"{pack.fingerprint}-{_digest(config)}"
        self.questions("train")  # a limit that is too large is an error now, not when training starts

    def _split(self, texts: Texts) -> None:
        """Changes the splits of the pack to those of the data set."""

    def questions(self, split: str) -> Questions:
        self._require(split)
        if split not in self._questions:
            stored = self._stored[split]
            rows = np.flatnonzero(stored.image < len(self._parts[split]))
            if split == "train":
                rows = rows[: row_limit(self.config, "train_questions", rows)]
            self._questions[split] = self._columns(select(stored, rows), split not in self.unanswered)
        return self._questions[split]

    def _columns(self, stored: Stored, answered: bool) -> Questions:
        accepted, score = np.full((len(stored), 1), -1, np.int32), np.zeros((len(stored), 1), np.float32)
        if answered:
            accepted, score = self._answers.accepted(stored)
        return Questions(
            words=self._number[stored.words],
            offsets=stored.offsets,
            image=stored.image,
            answer=self._answers.wanted(stored),
            type=self._type_of(stored),
            ids=stored.ids,
            accepted=accepted,
            accepted_score=score,
        )

    def images(self, split: str) -> npt.NDArray[np.uint8]:
        self._require(split)
        return self._parts[split]

    word_rule = WORD_RULE

    @staticmethod
    def split_words(question: str) -> list[str]:
        return split_words(question)

    def word_vectors(self) -> npt.NDArray[np.float32] | None:
        if self.config.word_vectors and self._vectors is None:
            self._vectors = read_vectors(Path(self.config.word_vectors).expanduser(), self.vocabulary)
            self._vectors[PADDING] = 0
        return self._vectors

    def loss(self, logits_QA: Tensor, batch: Batch) -> Tensor:
        if self.config.targets == "soft":
            assert batch.accepted_QS is not None
            target_QA = self._targets(logits_QA, batch.accepted_QS, batch.accepted_score_QS)
        elif self.config.loss == "cross-entropy":
            return super().loss(logits_QA, batch)
        else:
            target_QA = self._targets(logits_QA, batch.answer_Q[:, None], None)
        if self.config.loss == "binary":
            return F.binary_cross_entropy_with_logits(logits_QA, target_QA, reduction="sum")
        share_QA = target_QA / target_QA.sum(1, keepdim=True).clamp(min=1e-9)
        return -(share_QA * logits_QA.log_softmax(1)).sum()

    def score(self, logits_QA: Tensor, batch: Batch) -> Tensor:
        assert batch.accepted_QS is not None
        assert batch.accepted_score_QS is not None
        given_QS = batch.accepted_QS == logits_QA.argmax(-1)[:, None]
        return (given_QS * batch.accepted_score_QS).sum(1)

    def majority(self, train: Questions, asked: Questions) -> npt.NDArray[np.float32]:
        """(Q,) official score of the answer that scores best on the training questions of the type.

        Only the question type counts: the question alone does not tell its answer type.
        """
        assert train.accepted is not None
        assert train.accepted_score is not None
        totals = np.zeros((len(self.question_types), len(self.answers)))
        scored = train.accepted >= 0
        types = np.broadcast_to(self._question_type(train)[:, None], scored.shape)
        np.add.at(totals, (types[scored], train.accepted[scored]), train.accepted_score[scored])
        best = totals.argmax(1)[self._question_type(asked)]
        score: npt.NDArray[np.float32] = (
            ((asked.accepted == best[:, None]) * asked.accepted_score).sum(1).astype(np.float32)
        )
        return score

    def submission(self, split: str, answers: Sequence[str]) -> str:
        """The official results file: JSON, ``[{"question_id": ..., "answer": ...}, ...]``.

        ValueError unless there is one answer for each question.
        """
        ids = self.questions(split).ids.tolist()
        if len(answers) != len(ids):
            raise ValueError(f"{len(answers)} answers for the {len(ids)} questions of split {split}")
        return json.dumps(
            [{"question_id": number, "answer": answer} for number, answer in zip(ids, answers, strict=True)]
        )

    def _question_type(self, questions: Questions) -> npt.NDArray[np.int64]:
        """(Q,) the first of the types with the same question type."""
        names = [name.rpartition(" (")[0] for name in self.question_types]
        return np.array([names.index(name) for name in names], np.int64)[questions.type]

    @staticmethod
    def _targets(logits_QA: Tensor, answer_QS: Tensor, score_QS: Tensor | None) -> Tensor:
        """(Q, A): the scores of some answers of each question, ones by default; answer -1 is none."""
        target_QA = torch.zeros_like(logits_QA)
        score_QS = torch.ones_like(answer_QS, dtype=logits_QA.dtype) if score_QS is None else score_QS
        present_QS = answer_QS >= 0
        return target_QA.scatter_add(1, answer_QS.clamp(min=0), (score_QS * present_QS).to(logits_QA.dtype))

    def _require(self, split: str) -> None:
        if split not in self._stored:
            raise ValueError(f"no split {split!r}; the splits are {', '.join(self.splits)}")


class VqaCpV2(VqaV2):
    """VQA-CP v2 (Agrawal et al. 2018, arXiv 1712.00377) from its official files.

    Questions of VQA v2's train and val, split so that answer priors differ between train and test. Split val
    is carved out of train, see ``hacore_vqa.carve``; all else is as in ``VqaV2``.
    """

    layout = CP
    config: CpConfig

    def _split(self, texts: Texts) -> None:
        config, train = self.config, self._stored["train"]
        if not config.validation:
            return
        carved = carve(
            train, texts, share=config.validation, by=config.validation_by, seed=config.validation_seed
        )
        if not carved.any() or carved.all():
            raise DataError(
                f"data.validation = {config.validation}: no group of questions is that small a part of the "
                f"{len(train)} training questions; raise it, set validation_by = 'image', or 0 for no val"
            )
        split = {
            "train": select(train, np.flatnonzero(~carved)),
            "val": select(train, np.flatnonzero(carved)),
        }
        self._stored = split | {name: stored for name, stored in self._stored.items() if name != "train"}
        self._parts["val"] = self._parts["train"]


def select(stored: Stored, rows: npt.NDArray[np.int64]) -> Stored:
    """Some questions of a split, in the order of their rows."""
    words, offsets = select_words(stored.words, stored.offsets, rows)
    columns = {
        field.name: getattr(stored, field.name)[rows]
        for field in attrs.fields(Stored)
        if field.name not in ("words", "offsets")
    }
    return Stored(words=words, offsets=offsets, **columns)


def _open(layout: Layout, config: Config) -> Pack:
    def source(pack: Pack) -> Source:
        root = source_folder(pack, "root")
        images = source_folder(pack, "images") or root
        if not root or not images:
            return None
        places = ("--images", images, "--output", Path(config.root).expanduser())
        command = prepare_command(pack.data, root, pack.size, *places, splits=pack.splits)
        return picture_files(images, pack.parts), command

    def official(root: Path) -> Pack:
        find_splits(root, layout)  # says what is wrong with the folder before anything is said to be prepared
        images = Path(config.images).expanduser() if config.images else root
        asked = PrepareConfig(root=str(root), images=config.images, size=config.size)
        where: list[str | Path] = ["--images", images] if config.images else []
        return open_prepared(
            root,
            default_folder(layout, root, config.size, images),
            FORMAT,
            is_current=is_current,
            prepare=lambda: prepare(layout, asked, LogTell()),
            command=prepare_command(layout.name, root, config.size, *where),
            paths=lambda pack: picture_files(images, pack.parts),
        )

    wanted = f"the folder of {layout.name}; {layout.way}"
    pack = open_root(config.root, config.size, FORMAT, wanted=wanted, source=source, official=official)
    if pack.data != layout.name:
        raise DataError(f"{config.root}: is prepared from {pack.data}; set data.use = '{pack.data}'")
    return pack


def _digest(config: Config) -> str:
    """Names the options that change what is read; not where the data is. Word vectors count by their name."""
    options = {key: value for key, value in attrs.asdict(config).items() if key not in ("root", "images")}
    options["word_vectors"] = Path(config.word_vectors).name
    return hashlib.sha256(json.dumps(options, sort_keys=True).encode()).hexdigest()[:8]

"""What a dataset promises."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from hacore.data import PADDING, UNKNOWN, Batch, Dataset, Questions, make_batch
from hacore_testing._base import Contract
from hacore_testing._checks import require, require_close, require_finite, require_tensor

SAMPLE = 64
"""Questions looked at one by one; images whose mean is taken are ten times as many."""


def evenly(count: int, most: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Up to ``most`` row numbers spread evenly over ``count`` rows."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).astype(np.int64))


class DatasetContract(Contract):
    """Splits of questions about images, vocabulary, answers, types and metric."""

    _built: ClassVar[Any] = None

    @classmethod
    def make(cls) -> Dataset[Any]:
        """A dataset from the given options."""
        dataset: Dataset[Any] = cls.component_class()(cls.config())
        return dataset

    @classmethod
    def dataset(cls) -> Dataset[Any]:
        """The dataset of all tests, built once."""
        if "_built" not in vars(cls):
            cls._built = cls.make()
        built: Dataset[Any] = cls._built
        return built

    @classmethod
    def batch(cls, split: str = "train") -> Batch:
        """Questions spread over a split."""
        dataset = cls.dataset()
        questions = dataset.questions(split)
        return make_batch(questions, dataset.images(split), evenly(len(questions), SAMPLE))

    def test_words_and_answers(self) -> None:
        """Vocabulary, answers and question types are tuples of different names; padding comes first."""
        dataset = self.dataset()
        for attribute in ("vocabulary", "answers", "question_types", "splits"):
            names: Any = getattr(dataset, attribute, None)
            require(
                isinstance(names, tuple) and names and all(isinstance(name, str) and name for name in names),
                f"{attribute} must be a tuple of strings, found {type(names).__name__} {str(names)[:40]}",
            )
            require(len(set(names)) == len(names), f"{attribute} has a name twice")
        require(
            dataset.vocabulary[:2] == ("<pad>", "<unk>"),
            f"the vocabulary must begin with '<pad>', '<unk>', found {dataset.vocabulary[:2]}",
        )
        require("train" in dataset.splits, f"no split is called 'train'; splits: {', '.join(dataset.splits)}")
        for group, types in dataset.groups.items():
            unknown = sorted(set(types) - set(dataset.question_types))
            require(not unknown, f"group '{group}' names question types that do not exist: {unknown}")

    def test_questions(self) -> None:
        """The columns of every split have the same length and hold indices that exist."""
        dataset = self.dataset()
        for split in dataset.splits:
            questions = dataset.questions(split)
            require(
                isinstance(questions, Questions), f"questions('{split}') must return hacore.data.Questions"
            )
            count = len(questions.image)
            require(count > 0, f"split '{split}' has no questions")
            images = len(dataset.images(split))
            limits = {
                "image": (0, images),
                "answer": (-1, len(dataset.answers)),
                "type": (0, len(dataset.question_types)),
                "ids": (None, None),
            }
            for name, (low, high) in limits.items():
                column = getattr(questions, name)
                where = f"{name} of split '{split}'"
                large = name == "ids" and column.dtype == object and all(type(one) is int for one in column)
                require(
                    (column.dtype == np.int64 or large) and column.shape == (count,),
                    f"{where} must be int64 ({count},), found {column.dtype} {column.shape}",
                )
                if low is not None and high is not None:
                    require(
                        low <= column.min() and column.max() < high,
                        f"{where} reaches from {column.min()} to {column.max()}; must lie in [{low}, {high})",
                    )
            require(len(np.unique(questions.ids)) == count, f"ids of split '{split}' are not all different")
            self._check_words(split, questions)
            self._check_accepted(split, questions)

    def _check_accepted(self, split: str, questions: Questions) -> None:
        answers, scores = questions.accepted, questions.accepted_score
        where = f"of split '{split}'"
        if answers is None or scores is None:
            require(
                answers is None and scores is None,
                f"accepted and accepted_score {where} must be given together",
            )
            return
        require(
            np.issubdtype(answers.dtype, np.integer) and answers.ndim == 2 and len(answers) == len(questions),
            f"accepted {where} must be integers ({len(questions)}, S), found {answers.dtype} {answers.shape}",
        )
        require(
            scores.dtype == np.float32 and scores.shape == answers.shape,
            f"accepted_score {where} must be float32 {answers.shape}, found {scores.dtype} {scores.shape}",
        )
        limit = len(self.dataset().answers)
        require(
            answers.min() >= -1 and answers.max() < limit,
            f"accepted {where} reaches from {answers.min()} to {answers.max()}; must lie in [-1, {limit})",
        )
        require(
            scores.min() >= 0 and scores.max() <= 1 and not scores[answers < 0].any(),
            f"accepted_score {where} must lie in [0, 1], and be 0 where there is no answer",
        )

    def test_word_vectors(self) -> None:
        """Vectors of words, if the data have any, are one row of finite float32 for each word."""
        vectors = self.dataset().word_vectors()
        if vectors is None:
            return
        words = len(self.dataset().vocabulary)
        require(
            vectors.dtype == np.float32 and vectors.ndim == 2 and len(vectors) == words,
            f"word_vectors must be float32 ({words}, C), found {vectors.dtype} {vectors.shape}",
        )
        require(np.isfinite(vectors).all(), "word_vectors must be finite; zeros stand for a word without one")
        require(not vectors[PADDING].any(), "word_vectors of the padding must be zeros")

    def _check_words(self, split: str, questions: Questions) -> None:
        offsets, words = questions.offsets, questions.words
        require(
            offsets.dtype == np.int64 and offsets.shape == (len(questions) + 1,),
            f"offsets of split '{split}' must be int64 ({len(questions) + 1},), "
            f"found {offsets.dtype} {offsets.shape}",
        )
        require(
            offsets[0] == 0 and offsets[-1] == len(words),
            f"offsets of split '{split}' must run from 0 to {len(words)}, the number of words",
        )
        empty = np.flatnonzero(np.diff(offsets) < 1)
        require(not len(empty), f"question {empty[:1]} of split '{split}' has no words")
        size = len(self.dataset().vocabulary)
        require(
            np.issubdtype(words.dtype, np.integer) and words.min() >= 1 and words.max() < size,
            f"words of split '{split}' must be integers in [1, {size}), 0 is padding; "
            f"found {words.dtype} from {words.min()} to {words.max()}",
        )

    def test_training_answers_are_known(self) -> None:
        """Questions of the training split have answers."""
        answers = self.dataset().questions("train").answer
        require((answers >= 0).any(), "no question of split 'train' has a known answer")

    def test_images(self) -> None:
        """Images are uint8 (I, 3, H, W) of one size."""
        dataset = self.dataset()
        for split in dataset.splits:
            images = dataset.images(split)
            require(images.dtype == np.uint8, f"images of split '{split}' are {images.dtype}; must be uint8")
            require(
                images.shape[1:] == tuple(dataset.image_size),
                f"images of split '{split}' have shape {images.shape}; image_size is {dataset.image_size}",
            )

    def test_image_statistics(self) -> None:
        """``image_mean`` and ``image_std`` are those of the training images, pixels in [0, 1]."""
        dataset = self.dataset()
        images = dataset.images("train")
        pixels = images[evenly(len(images), 10 * SAMPLE)] / 255.0
        for name, value in (("mean", pixels.mean((0, 2, 3))), ("std", pixels.std((0, 2, 3)))):
            given = getattr(dataset, f"image_{name}")
            require(len(given) == len(value), f"image_{name} needs {len(value)} numbers, found {len(given)}")
            require(
                np.abs(np.asarray(given) - value).max() < 0.03,
                f"image_{name} is {np.round(given, 3)}, of the training images it is {np.round(value, 3)}",
            )
        require(min(dataset.image_std) >= 0, "image_std must not be negative; 0 is a channel without change")

    def test_same_options_same_data(self) -> None:
        """Built again from the same options, the data set is the same."""
        first, second = self.dataset(), self.make()
        require(
            isinstance(first.fingerprint, str) and first.fingerprint,
            "fingerprint must be a string, not empty",
        )
        require(
            first.fingerprint == second.fingerprint
            and (first.vocabulary, first.answers, first.question_types, first.splits)
            == (second.vocabulary, second.answers, second.question_types, second.splits),
            "two builds from the same options differ in fingerprint, vocabulary, answers, types or splits",
        )
        for split in first.splits:
            left, right = first.questions(split), second.questions(split)
            for name in ("words", "offsets", "image", "answer", "type", "ids"):
                require(
                    np.array_equal(getattr(left, name), getattr(right, name)),
                    f"two builds from the same options differ in {name} of split '{split}'",
                )
            rows = evenly(len(first.images(split)), SAMPLE)
            require(
                np.array_equal(first.images(split)[rows], second.images(split)[rows]),
                f"two builds from the same options differ in the images of split '{split}'",
            )

    def test_tokenize(self) -> None:
        """Words never seen become ``UNKNOWN``; every index is one of the vocabulary."""
        dataset = self.dataset()
        numbers = dataset.tokenize("qzxv qqzzx")
        require(
            len(numbers) > 0 and set(numbers) == {UNKNOWN},
            f"tokenize gives {numbers} for words it cannot know; must be {UNKNOWN} for each",
        )

    def test_metric(self) -> None:
        """Scores are float32 in [0, 1], one a question, best for the right answer."""
        dataset = self.dataset()
        for split in dataset.splits:
            batch = self.batch(split)
            known = batch.answer_Q >= 0
            shape = (len(batch),)
            right_QA = self._logits(batch.answer_Q.clamp(min=0))
            wrong_QA = -right_QA
            scores = {}
            for name, logits_QA in (("right", right_QA), ("wrong", wrong_QA)):
                score = dataset.score(logits_QA, batch)
                require_tensor(score, f"score on split '{split}'", shape, "(Q,)")
                require(score.dtype == torch.float32, f"score is {score.dtype}; must be torch.float32")
                require(
                    float(score.min()) >= 0 and float(score.max()) <= 1,
                    f"score on split '{split}' leaves [0, 1]",
                )
                scores[name] = score
            if known.any():
                require(
                    float(scores["right"][known].mean()) > float(scores["wrong"][known].mean()),
                    f"on split '{split}' the right answers score no better than others",
                )
            train, asked = dataset.questions("train"), dataset.questions(split)
            majority = dataset.majority(train, asked)
            require(
                majority.shape == (len(asked),) and majority.min() >= 0 and majority.max() <= 1,
                f"majority on split '{split}' must be ({len(asked)},) in [0, 1]",
            )

    def test_loss(self) -> None:
        """The loss is a sum over questions, falls towards the right answer, and has a finite gradient."""
        dataset, batch = self.dataset(), self.batch()
        logits_QA = torch.zeros(len(batch), len(dataset.answers), requires_grad=True)
        loss = dataset.loss(logits_QA, batch)
        require_tensor(loss, "loss", (), "a scalar ()")
        (gradient,) = torch.autograd.grad(loss, logits_QA)
        require_finite(gradient, "the gradient of the loss")
        known = batch.answer_Q >= 0
        better = dataset.loss(self._logits(batch.answer_Q.clamp(min=0)), batch)
        require(
            float(better) < float(loss.detach()), "the loss does not fall when the right answers are given"
        )

        questions, images = dataset.questions("train"), dataset.images("train")
        alone = [
            dataset.loss(
                torch.zeros(1, len(dataset.answers)), make_batch(questions, images, batch.row_Q[i : i + 1])
            )
            for i in range(len(batch))
        ]
        require_close(
            loss, torch.stack(alone)[known].sum(), 1e-4, "the loss is not the sum over the batch's questions"
        )

    def _logits(self, answer_Q: Tensor) -> Tensor:
        """Logits that are sure of these answers."""
        return 5 * torch.nn.functional.one_hot(answer_Q, len(self.dataset().answers)).float()

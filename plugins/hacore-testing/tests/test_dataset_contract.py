"""The dataset contract passes a right data set and names what is wrong with others."""

import attrs
import numpy as np
import pytest
import torch

from hacore.data import UNKNOWN, Dataset, Questions


class Good(Dataset):
    """Twelve images of noise; "is it bright" and "is the top bright"."""

    vocabulary = ("<pad>", "<unk>", "is", "it", "bright", "the", "top")
    answers = ("no", "yes")
    question_types = ("whole", "part")
    groups = {"all": ("whole", "part")}  # noqa: RUF012
    splits = ("train", "val")
    image_size = (3, 6, 8)
    fingerprint = "noise-1"

    def __init__(self, config):
        super().__init__(config)
        train = self.images("train") / 255
        self.image_mean = tuple(train.mean((0, 2, 3)).tolist())
        self.image_std = tuple(train.std((0, 2, 3)).tolist())

    def images(self, split):
        random = np.random.default_rng(self.splits.index(split))
        return random.integers(0, 256, (12, *self.image_size), dtype=np.uint8)

    def questions(self, split):
        images = self.images(split)
        brightness = np.stack([images.mean((1, 2, 3)), images[:, :, :3].mean((1, 2, 3))], 1)
        return Questions(
            words=np.array([2, 3, 4, 2, 5, 6, 4] * 12, np.int16),
            offsets=np.array([0, *np.cumsum([3, 4] * 12)]),
            image=np.arange(12).repeat(2),
            answer=brightness.ravel().astype(int) % 2,
            type=np.tile(np.arange(2), 12),
            ids=np.arange(24),
        )

    def tokenize(self, question):
        known = {word: index for index, word in enumerate(self.vocabulary)}
        return [known.get(word, UNKNOWN) for word in question.split()]


def column(**change):
    """A data set whose questions have other columns; change: {column: function of the old one}."""

    class Changed(Good):
        def questions(self, split):
            right = super().questions(split)
            return attrs.evolve(
                right, **{name: function(getattr(right, name)) for name, function in change.items()}
            )

    return Changed


class NoUnknown(Good):
    vocabulary = ("<pad>", "is", "it", "bright", "the", "top", "bottom")


class NoTrain(Good):
    splits = ("val", "test")

    def __init__(self, config):
        Dataset.__init__(self, config)
        self.image_mean = self.image_std = (0.5, 0.5, 0.5)


class OtherMean(Good):
    def __init__(self, config):
        super().__init__(config)
        self.image_mean = (0.1, 0.5, 0.5)


class FloatImages(Good):
    def images(self, split):
        return super().images(split) / 255


class WrongSize(Good):
    image_size = (3, 6, 8)

    def images(self, split):
        return super().images(split)[..., :7]


class Unseeded(Good):
    def images(self, split):
        return np.random.default_rng().integers(0, 256, (12, *self.image_size), dtype=np.uint8)


class Raises(Good):
    def tokenize(self, question):
        return [self.vocabulary.index(word) if word in self.vocabulary else 0 for word in question.split()]


class MeanLoss(Good):
    def loss(self, logits_QA, batch):
        return super().loss(logits_QA, batch) / len(batch)


class Percent(Good):
    def score(self, logits_QA, batch):
        return 100 * super().score(logits_QA, batch)


class LowestWins(Good):
    def score(self, logits_QA, batch):
        return (logits_QA.argmin(-1) == batch.answer_Q).float()


class BoolScore(Good):
    def score(self, logits_QA, batch):
        return logits_QA.argmax(-1) == batch.answer_Q


class Groups(Good):
    groups = {"all": ("whole", "half")}  # noqa: RUF012


class InfiniteLoss(Good):
    def loss(self, logits_QA, batch):
        return -(logits_QA.gather(1, batch.answer_Q[:, None])).log().sum() * torch.inf


class Several(Good):
    """Several answers score."""

    ACCEPTED = np.tile(np.array([1, 0, -1], np.int16), (24, 1))
    SCORES = np.tile(np.array([0.9, 0.3, 0], np.float32), (24, 1))

    def questions(self, split):
        return attrs.evolve(super().questions(split), accepted=self.ACCEPTED, accepted_score=self.SCORES)

    def word_vectors(self):
        vectors = np.zeros((7, 4), np.float32)
        vectors[2:5] = 0.5
        return vectors


class OneColumn(Several):
    SCORES = None


class NoSuchAnswer(Several):
    ACCEPTED = Several.ACCEPTED + 1


class ScoreOfNothing(Several):
    SCORES = np.full((24, 3), 0.5, np.float32)


class OtherShape(Several):
    SCORES = Several.SCORES[:, :2]


class FewVectors(Several):
    def word_vectors(self):
        return super().word_vectors()[:5]


class PaddingVector(Several):
    def word_vectors(self):
        return super().word_vectors() + 1


def test_a_right_dataset_passes(failures):
    assert failures("dataset", Good) == {}
    assert failures("dataset", Several) == {}


def test_questions_without_answers_are_allowed_outside_training(failures):
    class Hidden(Good):
        def questions(self, split):
            right = super().questions(split)
            return right if split == "train" else attrs.evolve(right, answer=np.full(24, -1))

    assert failures("dataset", Hidden) == {}


def test_ids_may_need_more_than_64_bits(failures):
    assert failures("dataset", column(ids=lambda a: a.astype(object) + 2**64)) == {}


@pytest.mark.parametrize(
    ("cls", "test", "words"),
    [
        (NoUnknown, "test_words_and_answers", "must begin with '<pad>', '<unk>'"),
        (NoTrain, "test_words_and_answers", "no split is called 'train'; splits: val, test"),
        (Groups, "test_words_and_answers", "group 'all' names question types that do not exist: ['half']"),
        (OtherMean, "test_image_statistics", "image_mean is"),
        (FloatImages, "test_images", "images of split 'train' are float64; must be uint8"),
        (WrongSize, "test_images", "have shape (12, 3, 6, 7); image_size is (3, 6, 8)"),
        (Unseeded, "test_same_options_same_data", "two builds from the same options differ"),
        (Raises, "test_tokenize", "tokenize gives [0, 0] for words it cannot know"),
        (MeanLoss, "test_loss", "the loss is not the sum over the batch's questions"),
        (InfiniteLoss, "test_loss", "loss has 1 of 1 entries that are not finite"),
        (Percent, "test_metric", "leaves [0, 1]"),
        (LowestWins, "test_metric", "the right answers score no better than others"),
        (OneColumn, "test_questions", "accepted and accepted_score of split 'train' must be given together"),
        (
            NoSuchAnswer,
            "test_questions",
            "'train' reaches from 0 to 2; must lie in [-1, 2)",
        ),
        (ScoreOfNothing, "test_questions", "must lie in [0, 1], and be 0 where there is no answer"),
        (
            OtherShape,
            "test_questions",
            "accepted_score of split 'train' must be float32 (24, 3), found",
        ),
        (FewVectors, "test_word_vectors", "word_vectors must be float32 (7, C), found float32 (5, 4)"),
        (PaddingVector, "test_word_vectors", "word_vectors of the padding must be zeros"),
        (BoolScore, "test_metric", "score is torch.bool; must be torch.float32"),
        (column(answer=lambda a: a + 1), "test_questions", "answer of split 'train' reaches from 1 to 2"),
        (column(answer=lambda a: a * 0 - 1), "test_training_answers_are_known", "has a known answer"),
        (
            column(image=lambda a: a.astype(np.int32)),
            "test_questions",
            "of split 'train' must be int64",
        ),
        (column(image=lambda a: a + 1), "test_questions", "must lie in [0, 12)"),
        (column(ids=lambda a: a // 2), "test_questions", "ids of split 'train' are not all different"),
        (
            column(ids=lambda a: a.astype(str).astype(object)),
            "test_questions",
            "ids of split 'train' must be",
        ),
        (column(words=lambda a: a - 2), "test_questions", "must be integers in [1, 7), 0 is padding"),
        (column(offsets=lambda a: a[:-1]), "test_questions", "offsets of split 'train' must be int64 (25,)"),
        (column(offsets=lambda a: a - 1), "test_questions", "must run from 0 to 84"),
        (
            column(offsets=lambda a: np.r_[0, 0, a[2:]]),
            "test_questions",
            "question [0] of split",
        ),
    ],
)
def test_wrong_datasets_fail(failures, cls, test, words):
    reports = failures("dataset", cls)
    assert test in reports, reports
    assert words in reports[test]

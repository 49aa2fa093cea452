from pathlib import Path

import attrs
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from hacore.data import Dataset, Questions, cache_folder, make_batch, resident
from hacore.errors import DataError


@st.composite
def splits(draw):
    """Questions with ragged words about random images, and rows to ask."""
    count = draw(st.integers(1, 12))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    lengths = random.integers(1, 9, count)
    images = random.integers(0, 256, (5, 3, 4, 6), np.uint8)
    questions = Questions(
        words=random.integers(1, 30, lengths.sum()).astype(draw(st.sampled_from([np.int64, np.uint8]))),
        offsets=np.concatenate([[0], lengths.cumsum()]),
        image=random.integers(0, len(images), count),
        answer=random.integers(-1, 4, count),
        type=random.integers(0, 3, count),
        ids=random.integers(0, 1000, count),
    )
    rows = np.array(draw(st.lists(st.integers(0, count - 1), min_size=1, max_size=15)), np.int64)
    return questions, images, rows


@settings(deadline=None, max_examples=60)
@given(splits())
def test_a_batch_holds_each_question_whole_and_each_image_once(split):
    questions, images, rows = split
    batch = make_batch(questions, images, rows)
    asked = [questions.words[questions.offsets[r] : questions.offsets[r + 1]].tolist() for r in rows]
    longest = max(map(len, asked))
    assert batch.words_QT.tolist() == [words + [0] * (longest - len(words)) for words in asked]
    assert batch.lengths_Q.tolist() == [len(words) for words in asked]
    assert batch.answer_Q.tolist() == [questions.answer[r] for r in rows]
    assert batch.type_Q.tolist() == [questions.type[r] for r in rows]
    assert batch.row_Q.tolist() == rows.tolist()
    assert len(batch) == len(rows)
    assert len(batch.images) == len(set(questions.image[rows].tolist()))
    shown = batch.images[batch.image_index_Q]
    assert torch.equal(shown, torch.from_numpy(np.stack([images[questions.image[r]] for r in rows])))
    assert {batch.words_QT.dtype, batch.lengths_Q.dtype, batch.image_index_Q.dtype} == {torch.int64}
    assert batch.images.dtype == torch.uint8


@settings(deadline=None, max_examples=30)
@given(splits())
def test_a_batch_carries_the_scores_of_several_answers(split):
    questions, images, rows = split
    plain = make_batch(questions, images, rows)
    assert plain.accepted_QS is None
    assert plain.accepted_score_QS is None
    random = np.random.default_rng(0)
    accepted = random.integers(-1, 5, (len(questions), 3)).astype(np.int32)
    scores = random.random((len(questions), 3), np.float32)
    batch = make_batch(attrs.evolve(questions, accepted=accepted, accepted_score=scores), images, rows)
    assert batch.accepted_QS.dtype == torch.int64
    assert batch.accepted_QS.tolist() == accepted[rows].tolist()
    assert torch.equal(batch.accepted_score_QS, torch.from_numpy(scores[rows]))


def test_a_batch_reads_only_the_images_it_needs(tmp_path):
    """As from a memory-mapped file, which must not be read whole, nor changed."""
    path = tmp_path / "images.npy"
    np.save(path, np.arange(10 * 3 * 2 * 2, dtype=np.uint8).reshape(10, 3, 2, 2))
    mapped = np.load(path, mmap_mode="r")
    one = np.ones(4, np.int64)
    questions = Questions(
        words=one, offsets=np.arange(5), image=np.array([7, 2, 7, 9]), answer=one, type=one, ids=one
    )
    batch = make_batch(questions, mapped, np.array([2, 0, 1]))
    assert batch.images[:, 0, 0, 0].tolist() == [mapped[2, 0, 0, 0], mapped[7, 0, 0, 0]]
    assert batch.image_index_Q.tolist() == [1, 1, 0]
    batch.images.zero_()
    assert mapped[7].any()


class Plain(Dataset):
    """The least a dataset has."""

    vocabulary = ("<pad>", "<unk>", "why")
    answers = ("yes", "no", "blue")
    question_types = ("first", "second")
    image_size = (3, 4, 6)
    image_mean = (0.1, 0.2, 0.3)
    image_std = (1.0, 2.0, 3.0)

    def questions(self, split): ...
    def images(self, split): ...
    def tokenize(self, question): ...


def columns(types, answers):
    types, answers = np.array(types), np.array(answers)
    return Questions(
        words=types, offsets=np.arange(len(types) + 1), image=types, answer=answers, type=types, ids=types
    )


def test_loss_and_score_by_default():
    dataset = Plain(None)
    questions = columns([0, 0, 1, 1], [1, -1, 0, 2])
    batch = make_batch(questions, np.zeros((2, 3, 4, 6), np.uint8), np.arange(4))
    logits_QA = torch.tensor([[0.0, 2, 1], [5, 0, 0], [1, 2, 0], [-1, -1, 3]])
    known = [0, 2, 3]
    expected = sum(-F.log_softmax(logits_QA[q], 0)[questions.answer[q]] for q in known)
    torch.testing.assert_close(dataset.loss(logits_QA, batch), expected)
    # The question whose answer is not known is never right.
    assert dataset.score(logits_QA, batch).tolist() == [1, 0, 0, 1]


def test_the_majority_answer_is_that_of_the_type_and_unknown_answers_do_not_count():
    train = columns([0, 0, 0, 1, 1, 1, 1], [2, 2, 0, 1, -1, -1, -1])
    asked = columns([0, 0, 1, 1, 1], [2, 0, 1, 0, -1])
    scores = Plain(None).majority(train, asked)
    assert scores.tolist() == [1, 0, 1, 0, 0]
    assert scores.dtype == np.float32


def test_sizes_are_what_the_first_components_need():
    sizes = Plain(None).sizes()
    assert (sizes.image, sizes.words, sizes.answers) == ((3, 4, 6), 3, 3)
    assert (sizes.image_mean, sizes.image_std) == ((0.1, 0.2, 0.3), (1.0, 2.0, 3.0))


def test_the_cache_is_where_the_user_says(monkeypatch):
    monkeypatch.setenv("HACORE_CACHE", "~/data")
    assert cache_folder() == Path.home() / "data"
    monkeypatch.delenv("HACORE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/tmp/cache")
    assert cache_folder() == Path("/var/tmp/cache/hacore")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache/hacore"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_batch_moves_to_the_gpu_but_for_the_lengths():
    questions = columns([0, 1], [1, 2])
    answers = np.array([[1, -1], [0, 2]]), np.ones((2, 2), np.float32)
    questions = attrs.evolve(questions, accepted=answers[0], accepted_score=answers[1])
    batch = make_batch(questions, np.ones((2, 3, 4, 6), np.uint8), np.arange(2))
    moved = batch.to(torch.device("cuda"))
    assert moved.lengths_Q.device.type == "cpu"
    names = ("images", "words_QT", "image_index_Q", "answer_Q", "type_Q", "accepted_QS", "accepted_score_QS")
    for name in names:
        assert getattr(moved, name).is_cuda
        assert torch.equal(getattr(moved, name).cpu(), getattr(batch, name))


def test_images_that_are_a_tensor_give_the_same_batch():
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (5, 3, 4, 6), np.uint8)
    questions = Questions(
        words=np.arange(1, 9),
        offsets=np.arange(0, 9, 2),
        image=np.array([3, 1, 3, 0]),
        answer=np.zeros(4, np.int64),
        type=np.zeros(4, np.int64),
        ids=np.arange(4),
    )
    rows = np.array([2, 0, 1])
    plain, from_tensor = (
        make_batch(questions, source, rows) for source in (images, torch.from_numpy(images))
    )
    assert torch.equal(plain.images, from_tensor.images)
    assert plain.image_index_Q.tolist() == from_tensor.image_index_Q.tolist() == [1, 1, 0]
    assert resident(images, torch.device("cpu")) is images


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_images_that_fit_live_on_the_gpu():
    images = np.random.default_rng(0).integers(0, 256, (5000, 3, 4, 6), np.uint8)
    tensor = resident(images, torch.device("cuda"))
    assert tensor.is_cuda
    assert np.array_equal(tensor.cpu().numpy(), images)


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"image_std": (0.2, float("nan"), 0.2)}, ("image_std", "nan", "finite")),
        ({"image_mean": (float("inf"), 0.5, 0.5)}, ("image_mean", "inf", "finite")),
        (
            {"vectors": np.array([[0, 0], [1, 2], [3, np.nan]], np.float32)},
            ("'red'", "not finite", "vectors"),
        ),
    ],
)
def test_numbers_of_the_data_that_are_not_finite_are_named(names, changes, parts):
    class Data(Dataset):
        vocabulary, answers, image_size = ("<pad>", "<unk>", "red"), ("yes",), (3, 4, 4)
        image_mean = image_std = (0.5, 0.5, 0.5)
        vectors = None
        questions = images = None

        def word_vectors(self):
            return self.vectors

    data = Data(None)
    assert data.sizes().image_std == (0.5, 0.5, 0.5)
    for name, value in changes.items():
        setattr(data, name, value)
    with pytest.raises(DataError) as caught:
        data.sizes()
    names(str(caught.value), *parts)

"""Scores and baselines against plain computations on data made by hand."""

import json

import attrs
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from hacore.data import Dataset, Questions
from hacore.errors import NotFiniteError
from hacore.interfaces import Selection
from hacore.machine.processes import World
from hacore.measure.baselines import majority_baseline, question_only_baseline
from hacore.measure.evaluation import evaluate
from hacore.measure.predict import batches
from hacore.model.network import Output

CPU = torch.device("cpu")


class Crafted(Dataset):
    """Images of one grey value g; each question is one word. Types: what the answer depends on.

    "word": answer 0 for word 2 and 1 for word 3. "odds": word 4; answer 2 three times out of four, else 0.
    "image": word 5; answer g % 4.
    """

    vocabulary = ("<pad>", "<unk>", "a", "b", "c", "d")
    answers = ("zero", "one", "two", "three")
    question_types = ("word", "odds", "image", "never")
    groups = {"blind": ("word", "odds"), "none": ("never",)}  # noqa: RUF012
    splits = ("train", "test")
    image_size = (3, 2, 2)
    image_mean = image_std = (1.0, 1.0, 1.0)
    fingerprint = "crafted"

    def __init__(self, count=60):
        super().__init__(None)
        self.count = count

    def images(self, split):
        grey = np.arange(self.count, dtype=np.uint8)[::-1] if split == "test" else np.arange(self.count)
        return np.broadcast_to(grey[:, None, None, None], (self.count, 3, 2, 2)).astype(np.uint8)

    def questions(self, split):
        grey = self.images(split)[:, 0, 0, 0].astype(np.int64)
        image = np.arange(self.count)
        word = np.stack([2 + image % 2, np.full(self.count, 4), np.full(self.count, 5)], 1)
        answer = np.stack([image % 2, np.where(image % 4 == 3, 0, 2), grey % 4], 1)
        types = np.broadcast_to(np.arange(3), word.shape)
        # Questions come in an order of their own, not image by image.
        mixed = np.random.default_rng(0).permutation(word.size)
        return Questions(
            words=word.reshape(-1)[mixed],
            offsets=np.arange(word.size + 1),
            image=np.repeat(image, 3)[mixed],
            answer=answer.reshape(-1)[mixed],
            type=types.reshape(-1)[mixed],
            ids=1000 + np.arange(word.size),
        )

    def tokenize(self, question):
        return [self.vocabulary.index(question)]


class Guess(nn.Module):
    """Logits that depend on word and image in a fixed way; keeps 1 of 4 cells, 3 for odd images."""

    def __init__(self):
        super().__init__()
        self.table = nn.Parameter(torch.randn(6, 4, generator=torch.Generator().manual_seed(0)))
        self.modes = []

    grid = (2, 2)
    oracle = False

    def forward(self, images, words_QT, lengths_Q, image_index_Q, image_id_Q=None, relevant_QN=None):
        self.modes.append(self.training)
        grey_Q = images[image_index_Q, 0, 0, 0].long()
        logits_QA = self.table[words_QT[:, 0]] + F.one_hot(grey_Q % 4, 4)
        kept_Q1 = torch.where(grey_Q % 2 == 1, 3, 1)[:, None]
        valid_QK = torch.arange(3) < kept_Q1
        questions = len(grey_Q)
        selection = Selection(
            features_QKC=torch.zeros(questions, 3, 1),
            index_QK=torch.zeros(questions, 3, dtype=torch.int64),
            presence_QN=torch.zeros(questions, 4),
            positions_N2=torch.zeros(4, 2),
            grid=(2, 2),
            valid_QK=valid_QK,
        )
        return Output(logits_QA, selection)


def plain(dataset, split):
    """What ``Guess`` answers, one question at a time: rows of (type, score, loss, kept share)."""
    questions, images, model = dataset.questions(split), dataset.images(split), Guess()
    rows = []
    for q in range(len(questions)):
        grey = int(images[questions.image[q], 0, 0, 0])
        logits_A = model.table[questions.words[q]].detach() + F.one_hot(torch.tensor(grey % 4), 4)
        answer = questions.answer[q]
        loss = -F.log_softmax(logits_A, 0)[answer]
        kept = (3 if grey % 2 else 1) / 4
        rows.append((questions.type[q], float(logits_A.argmax() == answer), float(loss), kept))
    return np.array(rows)


@pytest.mark.parametrize("batch_images", [1, 7, 60, 1000])
def test_scores_are_the_plain_means_whatever_the_batch(batch_images):
    dataset = Crafted()
    scores = evaluate(Guess(), dataset, "test", device=CPU, batch_images=batch_images)
    expected = plain(dataset, "test")
    assert scores.questions == 180
    assert scores.accuracy == pytest.approx(expected[:, 1].mean())
    assert scores.loss == pytest.approx(expected[:, 2].mean(), rel=1e-5)
    assert scores.kept == pytest.approx(expected[:, 3].mean())
    for i, name in enumerate(("word", "odds", "image")):
        of_type = expected[expected[:, 0] == i]
        assert scores.by_type[name] == {"accuracy": pytest.approx(of_type[:, 1].mean()), "questions": 60}
    blind = expected[expected[:, 0] < 2]
    assert scores.by_group == {"blind": {"accuracy": pytest.approx(blind[:, 1].mean()), "questions": 120}}
    assert "never" not in scores.by_type


@pytest.mark.parametrize("processes", [1, 2, 3])
@pytest.mark.parametrize("batch_images", [1, 8, 100])
def test_every_question_is_in_one_batch_of_one_process(batch_images, processes):
    dataset = Crafted()
    rows = []
    for rank in range(processes):
        for batch in batches(dataset, "test", batch_images, world=World(rank=rank, processes=processes)):
            assert len(batch.images) <= batch_images
            rows += batch.row_Q.tolist()
    assert sorted(rows) == list(range(180))


def test_the_model_is_in_evaluation_mode_and_then_as_it_was():
    model = Guess().train()
    evaluate(model, Crafted(), "test", device=CPU)
    assert set(model.modes) == {False}
    assert model.training
    evaluate(model.eval(), Crafted(), "test", device=CPU)
    assert not model.training


def test_predictions_are_one_line_a_question(tmp_path):
    dataset = Crafted(8)
    path = tmp_path / "predictions" / "test.jsonl"
    scores = evaluate(Guess(), dataset, "test", device=CPU, batch_images=3, predictions=path)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    questions = dataset.questions("test")
    assert sorted(line["id"] for line in lines) == questions.ids.tolist()
    assert np.mean([line["score"] for line in lines]) == pytest.approx(scores.accuracy)
    table = Guess().table.detach()
    for line in lines:
        row = line["id"] - 1000
        grey = int(dataset.images("test")[line["image"], 0, 0, 0])
        probability_A = (table[questions.words[row]] + F.one_hot(torch.tensor(grey % 4), 4)).softmax(0)
        assert line["image"] == questions.image[row]
        assert line["type"] == dataset.question_types[questions.type[row]]
        assert line["answer"] == dataset.answers[questions.answer[row]]
        assert line["prediction"] == dataset.answers[int(probability_A.argmax())]
        assert line["score"] == float(line["prediction"] == line["answer"])
        assert line["probability"] == pytest.approx(float(probability_A.max()), abs=1e-5)
        assert line["kept"] == (3 if grey % 2 else 1)


def test_answers_that_the_model_cannot_give_are_worth_nothing(tmp_path):
    class Test(Crafted):
        def questions(self, split):
            questions = super().questions(split)
            questions.answer[:] = -1
            return questions

    evaluate(Guess(), Test(4), "test", device=CPU, predictions=tmp_path / "test.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "test.jsonl").read_text().splitlines()]
    assert {(line["answer"], line["score"]) for line in lines} == {(None, 0.0)}


def test_a_question_with_several_answers_is_scored_when_none_of_them_is_the_most_frequent(tmp_path):
    class Several(Crafted):
        def questions(self, split):
            questions = super().questions(split)
            count = len(questions)
            return attrs.evolve(
                questions,
                answer=np.full(count, -1),
                accepted=np.tile(np.array([2, 0, -1], np.int32), (count, 1)),
                accepted_score=np.tile(np.array([0.6, 0.3, 0], np.float32), (count, 1)),
            )

        def score(self, logits_QA, batch):
            given_QS = batch.accepted_QS == logits_QA.argmax(-1)[:, None]
            return (given_QS * batch.accepted_score_QS).sum(1)

    evaluate(Guess(), Several(), "test", device=CPU, predictions=tmp_path / "test.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "test.jsonl").read_text().splitlines()]
    worth = {Crafted().answers[2]: 0.6, Crafted().answers[0]: 0.3}
    for line in lines:
        assert line["answer"] is None
        assert line["score"] == pytest.approx(worth.get(line["prediction"], 0))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_is_an_error_and_no_predictions_are_written(tmp_path, bad):
    model = Guess()
    with torch.no_grad():
        model.table[5, 1] = bad
    with pytest.raises(NotFiniteError) as caught:
        evaluate(model, Crafted(), "test", device=CPU, predictions=tmp_path / "test.jsonl")
    assert str(caught.value) == (
        "the loss on split 'test' is not finite; lower train.lr or check the images of the split"
    )
    assert not (tmp_path / "test.jsonl").exists()


def test_the_majority_baseline_is_counted_by_type():
    dataset = Crafted()
    train, asked = dataset.questions("train"), dataset.questions("test")
    score = np.zeros(len(asked))
    for q in range(len(asked)):
        answers = train.answer[train.type == asked.type[q]].tolist()
        score[q] = max(range(4), key=answers.count) == asked.answer[q]
    baseline = majority_baseline(dataset, "test")
    assert baseline.accuracy == pytest.approx(score.mean())
    assert baseline.by_type == {
        name: pytest.approx(score[asked.type == i].mean()) for i, name in enumerate(("word", "odds", "image"))
    }
    assert baseline.by_group == {"blind": pytest.approx(score[asked.type < 2].mean())}
    assert baseline.by_type["odds"] == 0.75


class Bag(nn.Module):
    """A table of logits by word: all that a question of one word can tell."""

    def __init__(self):
        super().__init__()
        self.table = nn.Parameter(torch.randn(6, 4, generator=torch.Generator().manual_seed(1)) / 4)

    def forward(self, words_QT, lengths_Q):
        return self.table[words_QT[:, 0]]


def test_the_question_only_baseline_learns_what_the_words_tell_and_no_more():
    dataset = Crafted()
    baseline = question_only_baseline(dataset, "test", Bag(), steps=300, seed=0, device=CPU)
    assert baseline.by_type["word"] == 1.0  # the majority answer of the type has one half
    assert baseline.by_type["odds"] == 0.75
    assert baseline.by_type["image"] == 0.25
    assert baseline.by_group == {"blind": pytest.approx((1 + 0.75) / 2)}
    assert baseline.accuracy == pytest.approx((1 + 0.75 + 0.25) / 3)


def test_the_question_only_baseline_is_plain_adamw_on_mean_loss():
    dataset = Crafted()  # fewer questions than a step takes, so each step takes all of them
    model = Bag()
    question_only_baseline(dataset, "test", model, steps=7, seed=0, device=CPU)
    expected = Bag()
    train = dataset.questions("train")
    optimizer = torch.optim.AdamW(expected.parameters(), lr=2e-3)
    for _ in range(7):
        optimizer.zero_grad()
        logits_QA = expected.table[torch.from_numpy(train.words)]
        F.cross_entropy(logits_QA, torch.from_numpy(train.answer)).backward()
        optimizer.step()
    torch.testing.assert_close(model.table, expected.table)


def test_the_question_only_baseline_never_reads_an_image(monkeypatch):
    dataset = Crafted(8)
    questions = {split: dataset.questions(split) for split in dataset.splits}
    monkeypatch.setattr(dataset, "questions", questions.__getitem__)
    monkeypatch.setattr(dataset, "images", lambda split: pytest.fail("read images"))
    question_only_baseline(dataset, "test", Bag(), steps=2, seed=0, device=CPU)

"""The dataset: splits, words, answers, metric."""

import logging

import numpy as np
import pytest
import torch
from hacore_folder import Config
from hacore_folder.answers import accepted_answers, choose_answers
from hacore_folder.dataset import Folder
from hacore_folder.splits import split_questions

from hacore.data import make_batch
from hacore.errors import DataError
from hacore.spec import structure_config

SIZE = (12, 16)


def opened(root, **options):
    return Folder(Config(root=str(root), size=SIZE, **options))


def asked(dataset, split):
    """(image's pixels, words, answer) of every question of a split."""
    questions, images = dataset.questions(split), dataset.images(split)
    for row in range(len(questions)):
        words = questions.words[questions.offsets[row] : questions.offsets[row + 1]]
        number = questions.answer[row]
        yield (
            images[questions.image[row]].tobytes(),
            " ".join(dataset.vocabulary[word] for word in words),
            dataset.answers[number] if number >= 0 else None,
        )


def test_every_question_is_in_one_split_with_its_picture(mine):
    whole = opened(mine, shares=(1.0, 0.0, 0.0))
    assert whole.splits == ("train",)
    dataset = opened(mine)
    assert dataset.splits == ("train", "val", "test")
    assert [len(dataset.questions(split)) for split in dataset.splits] == [32, 4, 4]
    parts = [one for split in dataset.splits for one in asked(dataset, split)]
    assert sorted(map(repr, parts)) == sorted(map(repr, asked(whole, "train")))
    ids = [number for split in dataset.splits for number in dataset.questions(split).ids.tolist()]
    assert sorted(ids) == list(range(2, 42))


def images_of(dataset):
    """{split: ids of the questions}, and whether no two splits share a picture."""
    rows = {split: set(dataset.questions(split).image.tolist()) for split in dataset.splits}
    assert sum(map(len, rows.values())) == len(set.union(*rows.values()))
    return {split: frozenset(dataset.questions(split).ids.tolist()) for split in dataset.splits}


def test_shares_and_seed_divide_the_pictures(mine, picture):
    first = images_of(opened(mine))
    assert images_of(opened(mine)) == first
    assert images_of(opened(mine, split_seed=1)) != first
    assert len(images_of(opened(mine, shares=(0.5, 0.25, 0.25)))["val"]) == 10
    # A picture that is added moves hardly any other.
    picture(mine / "new.png")
    with open(mine / "questions.csv", "a") as table:
        table.write("new.png,what color is it?,red\n")
    second = images_of(opened(mine))
    moved = sum(len(second[split] - first[split] - {42}) for split in first)
    assert moved <= 4


@pytest.mark.parametrize("images", [3, 4, 10, 37, 1000])
@pytest.mark.parametrize("shares", [(0.8, 0.1, 0.1), (1 / 3,) * 3, (0.98, 0.01, 0.01), (0.6, 0, 0.4)])
def test_shares_are_met_as_near_as_can_be(images, shares):
    names = [f"{number}.png" for number in range(images)]
    image = np.arange(images).repeat(3)
    split = split_questions(np.full(len(image), -1, np.int8), image, names, shares, 0)
    counts = np.bincount(split[::3], minlength=3)
    assert (split.reshape(-1, 3) == split[::3, None]).all()
    assert counts.sum() == images
    for count, share in zip(counts, shares, strict=True):
        assert (count == 0) == (share == 0)
        assert count == 1 or abs(count - images * share) < 2


def test_splits_of_the_table(mine, write, caplog):
    rows = [
        (f"{number:03}.png", "what?", str(number), ("Train", "test")[number >= 12]) for number in range(20)
    ]
    columns = ("image", "question", "answer", "split")
    write(mine / "questions.csv", rows[::-1], columns)
    with caplog.at_level(logging.INFO, logger="hacore"):
        dataset = opened(mine, shares=(0.75, 0.25, 0.0))
    assert "has no split val; 3 pictures of train are val now" in caplog.text
    assert [len(dataset.questions(split)) for split in ("train", "val", "test")] == [9, 3, 8]
    # Pictures of a split lie together, whatever the order of the table.
    assert [len(dataset.images(split)) for split in dataset.splits] == [12, 12, 8]
    assert opened(mine, shares=(1.0, 0.0, 0.0)).splits == ("train", "test")
    with_val = [(*row[:3], ("train", "val", "test")[number % 3]) for number, row in enumerate(rows)]
    write(mine / "questions.csv", with_val, columns)
    dataset = opened(mine)
    assert [len(dataset.images(split)) for split in dataset.splits] == [7, 7, 6]
    assert [len(dataset.questions(split)) for split in dataset.splits] == [7, 7, 6]
    write(mine / "questions.csv", [(*row[:3], "test") for row in rows], columns)
    with pytest.raises(DataError, match="no question is in split train"):
        opened(mine)


def test_words_answers_and_statistics_are_those_of_training(mine, write):
    rows = [
        ("000.png", "what color is it?", "Red", "train"),
        ("001.png", "what color is it?", "red", "train"),
        ("001.png", "what shade?", "red", "train"),
        ("002.png", "is it big?", "no", "train"),
        ("003.png", "is it big?", "no", "train"),
        ("003.png", "is it old?", "maybe", "train"),
        ("004.png", "why so small?", "RED", "val"),
        ("005.png", "is it?", "never", "test"),
    ]
    write(mine / "questions.csv", rows, ("image", "question", "answer", "split"))
    dataset = opened(mine)
    assert dataset.answers == ("red", "no", "maybe")
    assert set(dataset.vocabulary[2:]) == {*["what", "color", "is", "it", "?", "shade", "big", "old"]}
    assert [answer for _, _, answer in asked(dataset, "val")] == ["red"]
    assert [answer for _, _, answer in asked(dataset, "test")] == [None]
    assert next(asked(dataset, "val"))[1] == "<unk> <unk> <unk> ?"
    assert opened(mine, answers=2).answers == ("red", "no")
    assert opened(mine, answers=0).answers == dataset.answers
    pixels = dataset.images("train") / 255
    assert len(pixels) == 4
    np.testing.assert_allclose(dataset.image_mean, pixels.mean((0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(dataset.image_std, pixels.std((0, 2, 3)), rtol=1e-9)


def test_types_are_those_of_the_table_or_first_words(mine, write):
    dataset = opened(mine)
    assert dataset.question_types == ("is", "what")
    for split in dataset.splits:
        types = [dataset.question_types[number] for number in dataset.questions(split).type]
        assert types == [words.split()[0] for _, words, _ in asked(dataset, split)]
    rows = [
        ("000.png", "what?", "a", "kind"),
        ("001.png", "who?", "b", ""),
        ("002.png", "?", "c", "count"),
    ]
    write(mine / "questions.csv", rows, ("image", "question", "answer", "type"))
    dataset = opened(mine, shares=(1.0, 0.0, 0.0))
    assert [dataset.question_types[number] for number in dataset.questions("train").type] == [
        *("kind", "other", "count")
    ]
    rows = [(f"{n:03}.png", f"{word}?", "a") for n, word in enumerate("abcdefghijklmn")]
    write(mine / "questions.csv", rows)
    types = opened(mine, shares=(1.0, 0.0, 0.0)).question_types
    assert types == (*"abcdefghijkl", "other")


def test_each_of_several_answers_is_right(mine, write):
    rows = [
        ("000.png", "what?", "ball|sphere"),
        ("001.png", "what?", "sphere"),
        ("002.png", "what?", "cube|box|Cube"),
        ("003.png", "what?", "rare"),
    ]
    write(mine / "questions.csv", rows)
    dataset = opened(mine, shares=(1.0, 0.0, 0.0), answers=4)
    assert dataset.answers == ("sphere", "ball", "box", "cube")
    questions = dataset.questions("train")
    right = [
        {dataset.answers[number] for number in row if number >= 0} for row in questions.accepted.tolist()
    ]
    assert right == [{"ball", "sphere"}, {"sphere"}, {"cube", "box"}, set()]
    batch = make_batch(questions, dataset.images("train"), np.arange(4))
    torch.manual_seed(0)
    logits = torch.randn(4, 4, dtype=torch.float64, requires_grad=True)
    probability = logits.softmax(1)
    expected = -sum(
        torch.log(sum(probability[row, dataset.answers.index(answer)] for answer in answers))
        for row, answers in enumerate(right)
        if answers
    )
    loss = dataset.loss(logits, batch)
    torch.testing.assert_close(loss, expected)
    (gradient,) = torch.autograd.grad(loss, logits, retain_graph=True)
    (wanted,) = torch.autograd.grad(expected, logits)
    torch.testing.assert_close(gradient, wanted)
    best = [dataset.answers[number] for number in logits.argmax(1)]
    scores = [float(answer in answers) for answer, answers in zip(best, right, strict=True)]
    assert dataset.score(logits, batch).tolist() == scores
    assert dataset.majority(questions, questions).tolist() == [1, 1, 0, 0]


def test_answers_are_counted_as_they_are_given():
    texts = ["b", "A", "a", "c"]
    given = np.array([[0, 1], [2, -1], [1, -1], [3, -1]], np.int32)
    answers, number_of = choose_answers(texts, given, 0)
    assert answers == ("A", "b", "c")
    assert number_of.tolist() == [1, 0, 0, 2]
    assert accepted_answers(given, number_of).tolist() == [[1, 0], [0, -1], [0, -1], [2, -1]]
    answers, number_of = choose_answers(texts, given, 1)
    assert answers == ("A",)
    assert accepted_answers(given, number_of).tolist() == [[0, -1], [0, -1], [0, -1], [-1, -1]]


def test_a_prepared_folder_needs_no_pictures(mine, tmp_path, cli):
    ran = cli("data", "prepare", "folder", mine, "--size", 12, 16, "--output", tmp_path / "packed")
    assert ran.status == 0, ran.err
    there = opened(mine)
    mine.rename(tmp_path / "elsewhere")
    packed = opened(tmp_path / "packed")
    assert packed.fingerprint == there.fingerprint
    assert [*asked(packed, "val")] == [*asked(there, "val")]
    with pytest.raises(DataError, match="size asks for 8x8"):
        Folder(Config(root=str(tmp_path / "packed"), size=(8, 8)))


def test_opening_prepares_once_and_again_after_a_change(mine, caplog, picture):
    with caplog.at_level(logging.INFO, logger="hacore"):
        first = opened(mine)
        assert "preparing" in caplog.text
        caplog.clear()
        assert opened(mine, split_seed=3).fingerprint != first.fingerprint
        assert caplog.text == ""
        picture(mine / "000.png", "blue", left=False)
        assert opened(mine).fingerprint != first.fingerprint
        assert "have changed" in caplog.text


def test_what_cannot_be_opened(mine, write, names):
    def problem(root=mine, **options):
        with pytest.raises(DataError) as caught:
            opened(root, **options)
        return str(caught.value)

    names(problem(""), "data.root is not set", "questions.csv", "image, question, answer")
    write(mine / "questions.csv", [("000.png", "what?", "a"), ("001.png", "what?", "b")])
    names(problem(), str(mine / "questions.csv"), "2 pictures", "3 splits", "data.shares")
    write(mine / "questions.csv", [("none.png", "what?", "a")] * 30 + [("000.png", "", "a")] * 30)
    lines = problem().splitlines()
    names(lines[0], f"{mine / 'questions.csv'}:2:", "none.png")
    names(lines[-1], "31 found", "hacore data prepare folder", str(mine), "--size 12 16")


@pytest.mark.parametrize(
    ("shares", "part"),
    [((0.5, 0.1, 0.1), "add up to 0.7"), ((0.0, 0.5, 0.5), "train"), ((1.5, -0.5, 0.0), "at least 0")],
)
def test_shares_that_are_none(shares, part):
    with pytest.raises(Exception, match=part):
        structure_config(Config, {"shares": list(shares)})

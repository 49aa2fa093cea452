"""The dataset "daquar", from a miniature of the official files."""

import subprocess
import sys

import numpy as np
import pytest
from hacore_daquar import Config, PrepareConfig
from hacore_daquar.dataset import Daquar
from hacore_daquar.official import answer_of, question_type
from hacore_daquar.prepare import prepare
from hacore_packing.images import LogTell

from hacore.data import Dataset
from hacore.errors import DataError
from hacore.testing import contract

TestContract = contract("dataset", "daquar")
TestReduced = contract("dataset", "daquar")


@pytest.fixture(autouse=True, scope="module")
def folders(make_daquar, tmp_path_factory):
    """The options need folders, which are made when the tests run."""
    for suite, categories in ((TestContract, 894), (TestReduced, 37)):
        root = make_daquar(tmp_path_factory.mktemp("data") / "daquar", train=60, categories=categories)
        suite.options = {"root": str(root), "size": [12, 16], "categories": categories}


def opened(root, **options):
    return Daquar(Config(root=str(root), size=(12, 16), **options))


def texts(dataset, split):
    """(words, answer, type) of each question."""
    part = dataset.questions(split)
    return [
        (
            " ".join(dataset.vocabulary[word] for word in part.words[start:stop]),
            dataset.answers[answer] if answer >= 0 else None,
            dataset.question_types[kind],
        )
        for start, stop, answer, kind in zip(
            part.offsets[:-1], part.offsets[1:], part.answer, part.type, strict=True
        )
    ]


def test_declaring_imports_no_torch():
    code = "import sys, hacore_daquar as p; p.hacore_declare(); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_questions_answers_and_types(daquar):
    dataset = opened(daquar, validation=0)
    assert dataset.splits == ("train", "test")
    rows = texts(dataset, "train")
    assert len(rows) == 60
    assert rows[:3] == [
        ("what color is the box in the image1 ?", "green", "color"),
        ("how many boxes are there ?", "2", "count"),
        ("what objects are here ?", "box, wall", "object"),
    ]
    assert len(texts(dataset, "test")) == 18
    ids = np.concatenate([dataset.questions(split).ids for split in dataset.splits])
    assert ids.tolist() == list(range(1, 79))


def test_several_answers_are_one_in_any_order(daquar):
    dataset = opened(daquar, validation=0)
    assert "box, wall" in dataset.answers
    assert "wall, box" not in dataset.answers
    assert {answer for words, answer, _ in texts(dataset, "train") if "objects" in words} == {"box, wall"}
    assert answer_of("b,  a c ,b") == "a c, b"


def test_pixels_are_those_of_the_images_that_the_questions_name(daquar):
    """image1 is green, image2 red: the answer to the colour is in the pixels."""
    dataset = opened(daquar)
    for split in dataset.splits:
        part, images = dataset.questions(split), dataset.images(split)
        rows = texts(dataset, split)
        for row, (words, answer, _) in enumerate(rows):
            if "color" in words:
                channel = images[part.image[row], :, 6, 3].argmax()  # within the first box
                assert ("red", "green", "blue")[channel] == answer


def test_val_is_a_share_of_the_training_images_and_always_the_same(daquar, tmp_path, make_daquar):
    dataset = opened(daquar, validation=0.25)
    images = {split: {*dataset.questions(split).ids // 3.01 // 1} for split in dataset.splits}
    assert {split: len(numbers) for split, numbers in images.items()} == {"train": 15, "val": 5, "test": 6}
    assert not images["train"] & images["val"]
    again = opened(make_daquar(tmp_path / "moved" / "elsewhere"), validation=0.25)
    assert again.questions("val").ids.tolist() == dataset.questions("val").ids.tolist()
    other = opened(daquar, validation=0.25, validation_seed=1)
    assert other.questions("val").ids.tolist() != dataset.questions("val").ids.tolist()


def test_answers_are_the_most_frequent_ones_of_training(daquar):
    dataset = opened(daquar, answers=3, validation=0)
    assert dataset.answers[0] == "box, wall"
    assert len(dataset.answers) == 3
    assert None in {answer for _, answer, _ in texts(dataset, "test")}
    assert len(opened(daquar, validation=0).answers) == 6


@pytest.mark.parametrize(
    ("question", "kind"),
    [
        ("how many chairs are there ?", "count"),
        ("what is the number of drawers ?", "count"),
        ("how many colors does the carpet have ?", "count"),
        ("what color is the chair ?", "color"),
        ("what is the colour of the bed ?", "color"),
        ("what is the most colorful object ?", "object"),
        ("where is the oven ?", "place"),
        ("which object is red ?", "object"),
        ("is there a chair ?", "other"),
        ("?", "other"),
    ],
)
def test_the_type_of_a_question(question, kind):
    assert question_type(tuple(Dataset.split_words(question))) == kind


def test_images_beside_the_questions(tmp_path, make_daquar):
    dataset = opened(make_daquar(tmp_path / "flat", folder="."))
    assert dataset.questions("test").image.max() == 5


def test_both_data_sets_in_one_folder(daquar, make_daquar):
    make_daquar(daquar, train=9, test=3, categories=37)
    full, reduced = opened(daquar), opened(daquar, categories=37)
    assert (len(full.questions("test").ids), len(reduced.questions("test").ids)) == (18, 9)
    assert full.fingerprint != reduced.fingerprint


def test_a_prepared_folder(daquar, tmp_path, names):
    output = tmp_path / "packed"
    config = PrepareConfig(root=str(daquar), size=(12, 16), output=str(output), workers=1)
    outcome = prepare(config, LogTell())
    assert outcome.problems == ()
    assert opened(output).fingerprint == opened(daquar).fingerprint
    assert "already prepared" in prepare(config, LogTell()).summary
    with pytest.raises(DataError) as caught:
        opened(output, categories=37)
    names(str(caught.value), str(output), "qa.894.raw.train", "data.categories")


def test_a_changed_file_is_prepared_again(daquar, write_triples):
    before = opened(daquar)
    write_triples(daquar / "qa.894.raw.test.format_triple", [("what is it ?", "box", "image21")])
    after = opened(daquar)
    assert (len(before.questions("test").ids), len(after.questions("test").ids)) == (18, 1)
    assert before.fingerprint != after.fingerprint


def test_what_is_missing_is_told_with_where_to_get_it(daquar, tmp_path, names):
    with pytest.raises(DataError) as caught:
        opened("")
    names(str(caught.value), "data.root", "qa.894.raw.train.format_triple", "Visual Turing Challenge")
    with pytest.raises(DataError) as caught:
        opened(tmp_path / "nowhere")
    names(str(caught.value), "nowhere", "is missing", "no folder", "Visual Turing Challenge")
    with pytest.raises(DataError) as caught:
        opened(daquar, categories=37)
    names(str(caught.value), "qa.37.raw.train.format_triple", "is missing")


def test_everything_that_is_wrong_is_named_with_its_line(daquar, write_triples, names):
    test = daquar / "qa.894.raw.test.format_triple"
    write_triples(
        test,
        [
            ("what is it ?", "box", "image21"),
            ("", "box", "image21"),
            ("what is it ?", "box,, wall", "image21"),
            ("what is it ?", "box", "image99"),
            ("what else is it ?", "box", "image99"),
        ],
    )
    problems = prepare(PrepareConfig(root=str(daquar), size=(12, 16), workers=1), LogTell()).problems
    assert len(problems) == 3
    for problem, parts in zip(
        problems, [(":4: ", "question"), (":8: ", "box,, wall"), (":12: ", "'image99'", ".png")], strict=True
    ):
        names(problem, str(test), *parts)
    with pytest.raises(DataError) as caught:
        opened(daquar)
    names(str(caught.value).splitlines()[-1], "hacore data prepare daquar", str(daquar), "--categories 894")


@pytest.mark.parametrize(
    "content", [b"what is it ?\nbox\nimage21\nwhat is it ?\n", b"", b"\xff\xfe what\n\n\n"]
)
def test_a_file_that_is_cut_off_or_no_text(daquar, content, names):
    train = daquar / "qa.894.raw.train.format_triple"
    train.write_bytes(content)
    problems = prepare(PrepareConfig(root=str(daquar), size=(12, 16), workers=1), LogTell()).problems
    names("\n".join(problems), str(train))


def test_a_damaged_image_is_named_with_the_question_about_it(daquar, names):
    (daquar / "images" / "image3.png").write_bytes(b"no picture")
    (problem,) = prepare(PrepareConfig(root=str(daquar), size=(12, 16), workers=1), LogTell()).problems
    names(problem, "qa.894.raw.train.format_triple:19", "image3.png")

"""easy-VQA is what its package holds: published numbers, the same pictures, a split val that is apart."""

import shutil
from pathlib import Path

import easy_vqa
import numpy as np
import pytest
from hacore_easy_vqa import Config
from hacore_easy_vqa.dataset import TYPES, EasyVQA, question_type
from hacore_easy_vqa.official import read_official
from PIL import Image

from hacore.errors import DataError
from hacore.measure.reading import question_text


@pytest.fixture(scope="module")
def data():
    return EasyVQA(Config())


def texts(data, questions):
    words = [data.vocabulary[word] for word in questions.words]
    return [
        question_text(words[start:stop])
        for start, stop in zip(questions.offsets, questions.offsets[1:], strict=False)
    ]


def test_sizes_are_those_that_were_published(data):
    asked = {split: data.questions(split) for split in data.splits}
    assert {split: len(data.images(split)) for split in data.splits} == {
        "train": 3600,
        "val": 400,
        "test": 1000,
    }
    assert len(asked["train"]) + len(asked["val"]) == 38_575
    assert len(asked["test"]) == 9_673
    yes_no = [TYPES.index(name) for name in data.groups["yes/no"]]
    assert sum(np.isin(asked[split].type, yes_no).sum() for split in ("train", "val")) == 28_407
    assert np.isin(asked["test"].type, yes_no).sum() == 7_136
    assert {*data.answers} == {*easy_vqa.get_answers()}


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_questions_answers_and_pictures_are_those_of_the_package(data, split):
    official = "test" if split == "test" else "train"
    questions, answers, images = getattr(easy_vqa, f"get_{official}_questions")()
    paths = getattr(easy_vqa, f"get_{official}_image_paths")()
    asked, pictures = data.questions(split), data.images(split)
    assert texts(data, asked) == [questions[row] for row in asked.ids]
    assert [data.answers[answer] for answer in asked.answer] == [answers[row] for row in asked.ids]
    for row in range(0, len(asked), 500):
        picture = Image.open(paths[images[asked.ids[row]]]).convert("RGB")
        assert (pictures[asked.image[row]] == np.asarray(picture).transpose(2, 0, 1)).all()


def test_a_picture_is_in_train_or_in_val_and_the_seed_draws_which(data):
    _, _, images = easy_vqa.get_train_questions()

    def of(dataset, split):
        return {images[row] for row in dataset.questions(split).ids}

    assert of(data, "train") | of(data, "val") == {*range(4000)}
    assert not of(data, "train") & of(data, "val")
    other = EasyVQA(Config(validation=100, validation_seed=1))
    assert len(of(other, "val")) == 100
    assert not of(other, "val") <= of(data, "val")
    assert other.fingerprint != data.fingerprint
    # With the same seed, a smaller val is part of the larger one.
    assert of(EasyVQA(Config(validation=100)), "val") < of(data, "val")


@pytest.mark.parametrize(
    ("question", "name"),
    [
        ("what is the blue shape?", "shape"),
        ("what shape does the image contain?", "shape"),
        ("what is the color of the shape?", "color"),
        ("what color is the circle?", "color"),
        ("is a teal shape present?", "present"),
        ("does the image contain a circle?", "present"),
        ("is there not a red shape in the image?", "absent"),
        ("is no triangle present?", "absent"),
    ],
)
def test_the_wording_tells_the_type(question, name):
    assert question_type(EasyVQA.split_words(question)) == name


def test_each_type_has_its_answers(data):
    asked = data.questions("test")
    answers = {
        name: {data.answers[answer] for answer in asked.answer[asked.type == number]}
        for number, name in enumerate(TYPES)
    }
    assert answers["shape"] == {"circle", "rectangle", "triangle"}
    assert answers["color"] == {"black", "blue", "brown", "gray", "green", "red", "teal", "yellow"}
    assert answers["present"] == answers["absent"] == {"yes", "no"}


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A copy of the package's split test, and where it is."""
    source = Path(easy_vqa.__file__).parent
    shutil.copytree(source / "data" / "test", tmp_path / "data" / "test")
    monkeypatch.setattr(easy_vqa, "__file__", str(tmp_path / "__init__.py"))
    monkeypatch.setattr(easy_vqa.easy_vqa, "BASE_PATH", str(tmp_path))
    return tmp_path / "data" / "test"


@pytest.mark.parametrize("content", [None, b"no picture"])
def test_a_picture_that_is_missing_or_damaged_is_named(package, content, names):
    picture = package / "images" / "7.png"
    picture.write_bytes(content) if content else picture.unlink()
    with pytest.raises(DataError) as error:
        read_official("test")
    names(str(error.value), str(picture), "pip install --force-reinstall --no-deps easy-vqa")


@pytest.mark.parametrize("content", ["[", '[["is it red?", "yes", 1000]]', "[]", "[3]"])
def test_questions_that_are_damaged_are_named(package, content, names):
    (package / "questions.json").write_text(content)
    with pytest.raises(DataError) as error:
        read_official("test")
    names(
        str(error.value),
        "questions.json",
        "cannot be read",
        "pip install --force-reinstall --no-deps easy-vqa",
    )

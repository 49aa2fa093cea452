"""The dataset ``clevr``: opened from official and prepared folders, limited, and asked for a submission."""

import json
import logging
import os
import subprocess
import sys

import numpy as np
import pytest
from hacore_clevr import Config, PrepareConfig, hacore_declare, prepare
from hacore_clevr.dataset import Clevr
from hacore_clevr.domain import ANSWERS, GROUPS
from hacore_clevr.official import questions_file
from hacore_clevr.pack import open_pack

from hacore.data import UNKNOWN, make_batch
from hacore.data_tools import Silent
from hacore.errors import DataError

SIZE = (6, 10)


@pytest.fixture
def packed(official, tmp_path):
    folder = tmp_path / "packed"
    prepare.prepare(PrepareConfig(root=str(official), output=str(folder), size=SIZE, workers=1), Silent())
    return folder


@pytest.fixture
def data(packed):
    return Clevr(Config(root=str(packed), size=SIZE))


def texts(data, split):
    asked = data.questions(split)
    words = [data.vocabulary[word] for word in asked.words]
    return [" ".join(words[a:b]) for a, b in zip(asked.offsets[:-1], asked.offsets[1:], strict=True)]


def test_what_is_asked(data):
    assert data.splits == ("train", "val", "test")
    assert data.unanswered == ("test",)
    assert data.answers == ANSWERS
    assert len(data.answers) == 28
    assert data.image_size == (3, *SIZE)
    assert data.question_types == ("0 count", "1 query_color", "2 exist", "3 less_than", "unknown")
    assert texts(data, "train")[:4] == [
        "how many gray things are there",
        "there is a large cube ; what color is it",
        "is there a ball to the right of the cylinder",
        "are there fewer cubes than big things",
    ]
    train = data.questions("train")
    assert [data.answers[number] for number in train.answer[:8]] == [
        "1",
        "gray",
        "no",
        "yes",
        "1",
        "red",
        "no",
        "yes",
    ]
    assert [data.question_types[number] for number in train.type[:4]] == list(data.question_types[:4])
    test = data.questions("test")
    assert set(test.answer) == {-1}
    assert {data.question_types[number] for number in test.type} == {"unknown"}


def test_groups_are_the_published_ones(data):
    assert data.groups == {
        "count": ("0 count",),
        "exist": ("2 exist",),
        "compare numbers": ("3 less_than",),
        "query attribute": ("1 query_color",),
        "compare attribute": (),
    }
    assert list(data.groups) == list(GROUPS)


def test_images_are_the_packs(data, packed):
    for split in data.splits:
        np.testing.assert_array_equal(data.images(split), open_pack(packed).images(split))
        assert isinstance(data.images(split), np.memmap)


def test_words_of_the_training_questions_only(official, tmp_path):
    path = questions_file(official, "test")
    path.write_text(path.read_text().replace("big", "enormous"))
    data = Clevr(Config(root=str(official), size=SIZE))
    assert "enormous" not in data.vocabulary
    assert data.vocabulary[:2] == ("<pad>", "<unk>")
    assert list(data.vocabulary[2:]) == sorted(set(" ".join(texts(data, "train")).split()))
    assert texts(data, "test")[3] == "are there fewer cubes than <unk> things"
    assert data.tokenize("Is it ENORMOUS?")[-1] == UNKNOWN
    words = [data.vocabulary[number] for number in data.tokenize("There is a large cube; what color is it?")]
    assert " ".join(words) == "there is a large cube ; what color is it"


def test_official_folder_is_prepared_once(official, packed, caplog):
    caplog.set_level(logging.INFO, "hacore")
    first = Clevr(Config(root=str(official), size=SIZE))
    assert f"preparing {official} in " in caplog.text
    caplog.clear()
    second = Clevr(Config(root=str(official), size=SIZE))
    assert not caplog.records
    assert first.fingerprint == second.fingerprint == Clevr(Config(root=str(packed), size=SIZE)).fingerprint


def test_other_size_is_prepared_beside(official):
    small, large = (Clevr(Config(root=str(official), size=size)) for size in (SIZE, (12, 20)))
    assert (small.image_size, large.image_size) == ((3, 6, 10), (3, 12, 20))
    assert small.fingerprint != large.fingerprint
    assert Clevr(Config(root=str(official))).image_size == (3, 128, 128)


def test_changed_questions_are_prepared_again(official, caplog):
    caplog.set_level(logging.INFO, "hacore")
    first = Clevr(Config(root=str(official), size=SIZE))
    path = questions_file(official, "val")
    path.write_text(path.read_text().replace("fewer", "less"))
    second = Clevr(Config(root=str(official), size=SIZE))
    assert f"the files of {official} have changed" in caplog.text
    assert first.fingerprint != second.fingerprint


def test_prepared_by_the_tool_is_found_by_the_dataset(official, caplog):
    prepare.prepare(PrepareConfig(root=str(official), size=SIZE, workers=1), Silent())
    caplog.set_level(logging.INFO, "hacore")
    Clevr(Config(root=str(official), size=SIZE))
    assert not caplog.records


def test_cogent(make_official, tmp_path):
    counts = {"trainA": 4, "valA": 2, "testA": 1, "valB": 3, "testB": 2}
    root = make_official(tmp_path / "CLEVR_CoGenT_v1.0", counts=counts, unanswered=("testA", "testB"))
    data = Clevr(Config(root=str(root), size=SIZE))
    assert data.splits == ("train", "val", "test", "valB", "testB")
    assert data.unanswered == ("test", "testB")
    assert [len(data.images(split)) for split in data.splits] == [4, 2, 1, 3, 2]
    assert [len(data.questions(split)) for split in data.splits] == [16, 8, 4, 12, 8]


def test_first_images_and_questions(packed, data):
    def limited(**options):
        return Clevr(Config(root=str(packed), size=SIZE, **options))

    few = limited(train_images=4)
    assert len(few.images("train")) == 4
    assert texts(few, "train") == texts(data, "train")[:16]
    assert few.questions("train").image.max() == 3
    both = limited(train_images=4, train_questions=5)
    assert texts(both, "train") == texts(data, "train")[:5]
    assert len(both.images("train")) == 4
    for split in ("val", "test"):
        assert texts(both, split) == texts(data, split)
        assert len(both.images(split)) == len(data.images(split))
    fingerprints = [dataset.fingerprint for dataset in (data, few, both, limited(train_questions=4))]
    assert len(set(fingerprints)) == 4
    for option, there in (("train_images", 6), ("train_questions", 24)):
        with pytest.raises(DataError, match=rf"data.{option} = 25.*{there}.*leave it out"):
            limited(**{option: 25})


def test_dev_is_taken_from_the_end_of_train(official):
    def opened(**options):
        return Clevr(Config(root=str(official), size=SIZE, **options))

    whole, data = opened(), opened(dev_images=2)
    assert data.splits == ("train", "dev", "val", "test")
    assert data.unanswered == ("test",)
    assert texts(data, "train") == texts(whole, "train")[:16]
    assert texts(data, "dev") == texts(whole, "train")[16:]
    assert data.questions("dev").ids.tolist() == list(range(16, 24))
    assert data.questions("dev").image.tolist() == [0] * 4 + [1] * 4
    np.testing.assert_array_equal(data.images("train"), whole.images("train")[:4])
    np.testing.assert_array_equal(data.images("dev"), whole.images("train")[4:])
    assert texts(data, "val") == texts(whole, "val")
    assert data.fingerprint != whole.fingerprint
    few = opened(dev_images=2, train_images=3)
    assert texts(few, "train") == texts(whole, "train")[:12]
    assert texts(few, "dev") == texts(data, "dev")
    with pytest.raises(DataError, match=r"data.dev_images = 6.*6 images"):
        opened(dev_images=6)
    with pytest.raises(DataError, match=r"data.train_images = 5.*4.*leave it out"):
        opened(dev_images=2, train_images=5)


def test_questions_in_any_order_can_be_limited(official, tmp_path):
    """Questions about the first images need not come first in the file."""
    path = questions_file(official, "train")
    content = json.loads(path.read_text())
    content["questions"].reverse()
    path.write_text(json.dumps(content))
    data = Clevr(Config(root=str(official), size=SIZE))
    few = Clevr(Config(root=str(official), size=SIZE, train_images=2))
    assert texts(few, "train") == texts(data, "train")[-8:]
    assert few.questions("train").ids.tolist() == [7, 6, 5, 4, 3, 2, 1, 0]
    assert few.questions("train").image.tolist() == [1] * 4 + [0] * 4


def test_batch_reads_as_asked(data):
    asked, images = data.questions("train"), data.images("train")
    rows = np.array([13, 2, 7])
    batch = make_batch(asked, images, rows)
    for position, row in enumerate(rows):
        words = batch.words_QT[position, : batch.lengths_Q[position]]
        assert " ".join(data.vocabulary[word] for word in words) == texts(data, "train")[row]
        np.testing.assert_array_equal(batch.images[batch.image_index_Q[position]], images[row // 4])


def test_submission_is_one_answer_a_line(data):
    answers = ["yes", "no", "3", "cyan"] * 2
    assert data.submission("test", answers) == "yes\nno\n3\ncyan\nyes\nno\n3\ncyan\n"
    assert data.submission("val", ["no"] * 12).count("\n") == 12
    with pytest.raises(ValueError, match=r"7 answers.*8 questions.*split test"):
        data.submission("test", answers[:-1])
    with pytest.raises(ValueError, match=r"'maybe'.*answers are 0, 1"):
        data.submission("test", ["maybe", *answers[1:]])


def test_no_data(tmp_path):
    with pytest.raises(DataError, match=r"data.root is not set.*'hacore data download clevr'"):
        Clevr(Config())
    with pytest.raises(DataError, match=r"not a folder.*questions and images"):
        Clevr(Config(root=str(tmp_path / "nothing")))


def test_size_of_a_pack_is_not_changed_in_silence(packed):
    with pytest.raises(DataError, match=r"6x10.*128x128.*size = \[6, 10\]"):
        Clevr(Config(root=str(packed)))


def test_problems_of_an_official_folder_are_listed(official, names):
    (official / "images" / "train" / "CLEVR_train_000001.png").write_bytes(b"no picture")
    (official / "images" / "val" / "CLEVR_val_000002.png").write_bytes(b"")
    with pytest.raises(DataError) as caught:
        Clevr(Config(root=str(official), size=SIZE))
    first, second, last = str(caught.value).splitlines()
    names(first, "CLEVR_train_000001.png:", "image")
    names(second, "CLEVR_val_000002.png:", "image")
    names(last, f"{official}:", "2", f"hacore data prepare clevr {official} --size 6 10")


def test_damage_is_named(packed, names):
    def damage(change, message):
        kept = {path: path.read_bytes() for path in packed.iterdir()}
        change()
        with pytest.raises(DataError, match=message) as caught:
            Clevr(Config(root=str(packed), size=SIZE))
        names(str(caught.value), f"delete the folder {packed}", "make it again")
        for path, content in kept.items():
            path.write_bytes(content)

    described = packed / "pack.json"
    text = described.read_text()
    images, questions = packed / "val.images.npy", packed / "train.questions.npz"
    damage(lambda: os.truncate(images, 100), r"val.images.npy: 100 bytes found, 668 expected")
    damage(images.unlink, r"val.images.npy: the file is missing")
    damage(questions.unlink, r"train.questions.npz: the file is missing")
    damage(lambda: questions.write_bytes(bytes(questions.stat().st_size)), r"questions.npz: cannot be read")
    damage(lambda: images.write_bytes(bytes(images.stat().st_size)), r"val.images.npy: cannot be read")
    damage(lambda: described.write_text(text[:-30]), r"pack.json: the file is damaged")
    damage(lambda: described.write_text("[]"), r"pack.json: the file is damaged")
    damage(lambda: described.write_text(text.replace("val.images", "../val.images")), "json: the file is dam")
    damage(lambda: described.write_text(text.replace('"version": 1', '"version": 7')), "7 found, 1 expected")
    damage(
        lambda: described.write_text(text.replace('"images": 3', '"images": 4')), r"expected uint8 \(4, 3,"
    )
    Clevr(Config(root=str(packed), size=SIZE))


def test_unknown_split_is_named(data):
    for method in (data.questions, data.images):
        with pytest.raises(ValueError, match=r"'dev'.*train, val, test"):
            method("dev")


def test_declaring_imports_little():
    declared = hacore_declare()
    (component,) = [entry for entry in declared if entry.kind == "dataset"]
    assert (component.kind, component.name, component.config) == ("dataset", "clevr", Config)
    assert {entry.name for entry in declared} == {"clevr"}
    code = (
        "import sys, hacore_clevr as package; package.hacore_declare();"
        "print(sorted({'torch', 'numpy', 'PIL'} & set(sys.modules)))"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    process = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env
    )
    assert process.stdout == "[]\n"

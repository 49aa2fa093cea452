"""Preparing: what a pack holds, everything that is wrong with a folder, and going on."""

import json
import os
import shutil

import numpy as np
import pytest
from hacore_packing import images as packing
from hacore_vqa import PrepareConfig
from hacore_vqa.pack import check_pack, open_pack
from hacore_vqa.prepare import prepare_cp, prepare_v2
from PIL import Image

from hacore.data_tools import Silent
from hacore.errors import DataError

SIZE = (8, 12)


class Heard(Silent):
    def __init__(self):
        super().__init__()
        self.said = []

    def message(self, text):
        self.said.append(text)


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(packing, "SHARD", 2)


@pytest.fixture
def output(tmp_path):
    return tmp_path / "packed"


def run(root, output, tell=None, tool=prepare_v2, **options):
    config = PrepareConfig(root=str(root), output=str(output), size=SIZE, workers=1, **options)
    return tool(config, tell or Silent())


def files(root):
    return {
        name: root / f"v2_{kind}.json"
        for name, kind in (
            ("train questions", "OpenEnded_mscoco_train2014_questions"),
            ("train annotations", "mscoco_train2014_annotations"),
            ("val annotations", "mscoco_val2014_annotations"),
        )
    }


def plain(path):
    image = Image.open(path).convert("RGB").resize(SIZE[::-1], Image.Resampling.BICUBIC)
    return np.asarray(image).transpose(2, 0, 1)


def test_pack_holds_what_the_folder_holds(v2, output):
    outcome = run(v2, output)
    assert not outcome.problems
    assert outcome.summary["questions"] == {"train": 36, "val": 24, "test": 12, "test-dev": 5}
    assert outcome.summary["images"] == {"train2014": 12, "val2014": 8, "test2015": 4}
    pack, texts = open_pack(output), open_pack(output).texts()
    for split, coco in (("train", "train2014"), ("val", "val2014"), ("test-dev", "test2015")):
        stored, images = pack.questions(split), pack.images(split)
        name = f"v2_OpenEnded_mscoco_{'test-dev2015' if split == 'test-dev' else coco}_questions.json"
        asked = json.loads((v2 / name).read_text())["questions"]
        assert stored.ids.tolist() == [question["question_id"] for question in asked]
        for row in (0, 4):
            path = v2 / coco / f"COCO_{coco}_{asked[row]['image_id']:012d}.jpg"
            np.testing.assert_array_equal(images[stored.image[row]], plain(path))
        words = [texts.words[number] for number in stored.words[stored.offsets[1] : stored.offsets[2]]]
        assert " ".join(words) in ("how many discs are there", "what number of discs is there")
    stored = pack.questions("val")
    records = json.loads(files(v2)["val annotations"].read_text())["annotations"]
    for row, record in enumerate(records):
        assert [texts.answers[a] for a in stored.given[row]] == [one["answer"] for one in record["answers"]]
        assert texts.answers[stored.chosen[row]] == record["multiple_choice_answer"]
        assert texts.question_types[stored.question_type[row]] == record["question_type"]
        assert texts.answer_types[stored.answer_type[row]] == record["answer_type"]
    assert set(pack.questions("test").given.reshape(-1)) == {-1}
    pixels = pack.images("train") / 255
    np.testing.assert_allclose(pack.mean, pixels.mean((0, 2, 3)))
    np.testing.assert_allclose(pack.std, pixels.std((0, 2, 3)))
    assert check_pack(output) == []


def test_normal_forms_are_kept_with_the_answers(v2, output):
    run(v2, output)
    texts = open_pack(output).texts()
    normal = {answer: texts.answers[form] for answer, form in zip(texts.answers, texts.normal, strict=True)}
    assert normal["the red"] == normal["red"] == "red"
    assert normal["two"] == normal["2"] == "2"


def test_order_of_annotations_does_not_matter(v2, tmp_path, change):
    run(v2, tmp_path / "one")
    change(files(v2)["val annotations"], lambda content: content["annotations"].reverse())
    run(v2, tmp_path / "other")
    one, other = (open_pack(tmp_path / name) for name in ("one", "other"))
    for pack in (one, other):
        assert pack.questions("val").ids.tolist() == one.questions("val").ids.tolist()
    names = [
        [pack.texts().answers[number] for number in pack.questions("val").chosen] for pack in (one, other)
    ]
    assert names[0] == names[1]


def test_images_of_cp_are_packed_once_with_those_of_training_in_front(cp, v2, output):
    outcome = run(cp, output, tool=prepare_cp, images=str(v2))
    assert outcome.problems == ()
    assert outcome.summary["images"] == {"coco": 20}
    assert outcome.summary["questions"] == {"train": 38, "test": 22}
    pack = open_pack(output)
    assert (len(pack.images("train")), len(pack.images("test"))) == (19, 20)
    assert pack.questions("train").image.max() == 18
    records = json.loads((cp / "vqacp_v2_test_questions.json").read_text())
    for row, record in enumerate(records):
        path = v2 / record["coco_split"] / f"COCO_{record['coco_split']}_{record['image_id']:012d}.jpg"
        np.testing.assert_array_equal(pack.images("test")[pack.questions("test").image[row]], plain(path))
    pixels = pack.images("train") / 255
    np.testing.assert_allclose(pack.mean, pixels.mean((0, 2, 3)))
    np.testing.assert_allclose(pack.std, pixels.std((0, 2, 3)))


def test_everything_that_is_wrong_is_named_at_once(v2, output, change):
    paths = files(v2)

    def questions(content):
        records = content["questions"]
        records.append(dict(records[0]))  # double
        records[1]["question_id"] = 77  # without annotation
        records[5]["question"] = None
        records[6]["image_id"] = 999

    def annotations(content):
        records = content["annotations"]
        records[2]["answers"].pop()
        records.append(dict(records[3]))
        records[7]["answers"][1]["answer_id"] = 1
        del records[8]["multiple_choice_answer"]

    change(paths["train questions"], questions)
    change(paths["train annotations"], annotations)
    paths["val annotations"].write_text(paths["val annotations"].read_text()[:-40])
    (v2 / "val2014" / "COCO_val2014_000000000102.jpg").unlink()
    (v2 / "train2014" / "COCO_train2014_000000000004.jpg").write_bytes(b"no picture")
    outcome = run(v2, output)
    q, a = paths["train questions"], paths["train annotations"]
    size = paths["val annotations"].stat().st_size
    missing = v2 / "val2014" / "COCO_val2014_000000000102.jpg"
    other = v2 / "train2014" / "COCO_train2014_000000000999.jpg"
    damaged = v2 / "train2014" / "COCO_train2014_000000000004.jpg"
    assert set(outcome.problems) == {
        f"{q}: question 2002: expected 'str', got 'null' - at '$.question'",
        f"{q}: question 1000: occurs more than once",
        f"{a}: question 1001: is not in the questions file",
        f"{a}: question 1002: has 9 answers; must have 10",
        f"{a}: question 2000: occurs more than once",
        f"{a}: question 3000: is about image 3, in the questions file about 999",
        f"{a}: question 3001: has two answers with the same answer_id; they must be ten people's",
        f"{a}: question 3002: has no 'multiple_choice_answer'",
        f"{a}: question 77: has no annotation",
        f"{paths['val annotations']}: is cut off after {size:,} bytes; download or unpack it again",
        f"{missing}: no such image file; unpack it again",
        f"{other}: no such image file; unpack it again",
        next(problem for problem in outcome.problems if problem.startswith(f"{damaged}: ")),
    }
    assert len(outcome.problems) == 13
    assert not output.exists()
    assert outcome.summary["images packed"] == {
        "train2014": "10 of 13",
        "val2014": "6 of 8",
        "test2015": "4 of 4",
    }


def test_fixed_data_is_resumed(v2, output):
    broken = v2 / "train2014" / "COCO_train2014_000000000004.jpg"
    kept = broken.read_bytes()
    broken.write_bytes(kept[:300])
    assert len(run(v2, output).problems) == 1
    broken.write_bytes(kept)
    outcome = run(v2, output)
    assert outcome.problems == ()
    assert outcome.summary["images decoded"] == 2
    assert "already prepared" in run(v2, output).summary


def test_an_interruption_loses_little(v2, output):
    class Stop(Silent):
        def progress(self, what, done, total):
            if what == "packing images of val2014" and done >= 4:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(v2, output, Stop())
    assert not output.exists()
    assert run(v2, output).summary["images decoded"] == 8


def test_counts_are_compared_with_the_published_ones(v2, output, tmp_path):
    heard = Heard()
    assert run(v2, output, heard).problems == ()
    warnings = [message for message in heard.said if message.startswith("warning: ")]
    assert len(warnings) == 4
    assert warnings[0] == (
        f"warning: {files(v2)['train questions']}: 36 questions, of train 443,757 are published; "
        "--subset says that this is meant"
    )
    heard = Heard()
    run(v2, tmp_path / "other", heard, subset=True)
    assert not [message for message in heard.said if message.startswith("warning: ")]


def test_splits_can_be_chosen(v2, output):
    assert run(v2, output, splits=("train", "val")).summary["questions"] == {"train": 36, "val": 24}
    assert set(run(v2, output).summary["questions"]) == {"train", "val", "test", "test-dev"}
    with pytest.raises(DataError, match=r"split dev.*train, val, test, test-dev"):
        run(v2, output, splits=("train", "dev"))
    with pytest.raises(DataError, match=r"split train.*val.*add it"):
        run(v2, output, splits=("val",))


def test_what_is_missing_is_said(v2, output, tmp_path, names):
    with pytest.raises(DataError, match=r"root is not set.*official files of vqa-v2"):
        prepare_v2(PrepareConfig(), Silent())
    with pytest.raises(DataError, match=r"not a folder.*'hacore data download vqa-v2'"):
        run(tmp_path / "none", output)
    with pytest.raises(DataError, match=rf"no v2_OpenEnded.*{v2}"):
        run(v2.parent, output)
    with pytest.raises(
        DataError, match=r"no vqacp_v2_train_questions.json.*'hacore data download vqa-cp-v2'"
    ):
        run(v2, output, tool=prepare_cp)
    files(v2)["val annotations"].unlink()
    (problem,) = run(v2, output).problems
    names(problem, f"{files(v2)['val annotations']}", "missing", "answers of val", "unpack", "--splits")
    shutil.rmtree(v2 / "test2015")
    _, problem = run(v2, output).problems
    names(problem, f"{v2 / 'test2015'}:", "missing", "unpack", "--images")


def test_coco_split_of_cp_must_be_one(cp, v2, output, names, change):
    path = cp / "vqacp_v2_train_questions.json"

    def spoil(content):
        content[0]["coco_split"] = "train"
        del content[1]["coco_split"]

    change(path, spoil)
    problems = run(cp, output, tool=prepare_cp, images=str(v2)).problems
    first, second = problems
    names(first, f"{path}:", "question 1000:", "coco_split", "'train'", "train2014 or val2014")
    names(second, f"{path}:", "question 1001:", "coco_split", "''", "train2014 or val2014")


def test_checksums_of_the_files_are_remembered(v2, output):
    run(v2, output)
    source = open_pack(output).source["files"]
    assert len(source) == 6
    path = files(v2)["val annotations"]
    assert source[path.name]["bytes"] == path.stat().st_size
    assert len(source[path.name]["sha256"]) == 64


def test_copied_files_are_the_same_and_changed_ones_are_not(v2, output):
    run(v2, output)
    for path in files(v2).values():
        os.utime(path, (1, 1))
    assert "already prepared" in run(v2, output).summary
    path = files(v2)["val annotations"]
    path.write_text(path.read_text().replace("pink", "grey"))  # of the same length
    assert "prepared" in run(v2, output).summary
    assert "grey" in open_pack(output).texts().answers


def test_a_changed_image_is_packed_again(v2, output):
    run(v2, output)
    path = v2 / "val2014" / "COCO_val2014_000000000101.jpg"
    Image.new("RGB", (48, 32), (1, 2, 3)).save(path)
    assert "prepared" in run(v2, output).summary
    np.testing.assert_array_equal(open_pack(output).images("val")[0], plain(path))
    assert "already prepared" in run(v2, output).summary


def test_other_files_are_never_replaced(v2, output):
    output.mkdir()
    (output / "thesis.txt").write_text("all of it")
    with pytest.raises(DataError, match="other files than prepared data"):
        run(v2, output)
    assert (output / "thesis.txt").read_text() == "all of it"


@pytest.mark.parametrize(
    ("field", "column"),
    [
        ("words", "word"),
        ("answers", "given"),
        ("question_types", "question_type"),
        ("answer_types", "answer_type"),
    ],
)
def test_texts_that_questions_name_must_be_there(v2, output, names, field, column):
    run(v2, output)
    path = output / "texts.json"
    texts = json.loads(path.read_text())
    texts[field] = texts[field][:1]
    path.write_text(json.dumps(texts, separators=(",", ":")).ljust(path.stat().st_size))
    pack = open_pack(output)
    stored = pack.questions("train")
    with pytest.raises(DataError) as error:
        pack.require_texts("train", stored, pack.texts())
    assert column in str(error.value)
    names(str(error.value), f"{output}", f"delete the folder {output}")

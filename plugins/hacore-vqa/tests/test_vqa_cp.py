"""VQA-CP v2: its validation split, and making its files from VQA v2 and lists of question ids."""

import json
import random

import numpy as np
import pytest
from hacore_vqa import CpConfig
from hacore_vqa.carve import carve
from hacore_vqa.dataset import VqaCpV2
from hacore_vqa.pack import Stored, Texts

from hacore.errors import DataError

NAMES = [
    f"vqacp_v2_{split}_{field}.json" for split in ("train", "test") for field in ("questions", "annotations")
]


def opened(cp, v2, **options):
    return VqaCpV2(CpConfig(root=str(cp), images=str(v2), size=(8, 12), **options))


def made_up(questions=4000, seed=0):
    """Questions of 8 types with 40 answers, of which some belong to one type only; 500 images."""
    chance = random.Random(seed)
    kinds = [chance.randrange(8) for _ in range(questions)]
    chosen = [min(int(chance.paretovariate(0.6)), 30) if kind else 31 + chance.randrange(9) for kind in kinds]
    answers = [f"answer {number}" for number in range(40)]
    stored = Stored(
        words=np.zeros(questions, np.int32),
        offsets=np.arange(questions + 1),
        image=np.array([chance.randrange(500) for _ in range(questions)]),
        ids=np.arange(questions),
        given=np.zeros((questions, 10), np.int32),
        chosen=np.array(chosen, np.int32),
        question_type=np.array(kinds, np.int16),
        answer_type=np.zeros(questions, np.int8),
    )
    types = [f"type {number}" for number in range(8)]
    texts = Texts(words=[], answers=answers, normal=list(range(40)), question_types=types, answer_types=[""])
    return stored, texts


@pytest.mark.parametrize("by", ["group", "image"])
@pytest.mark.parametrize("share", [0.05, 0.1, 0.4])
def test_no_group_is_on_both_sides(by, share):
    stored, texts = made_up()
    mask = carve(stored, texts, share=share, by=by, seed=3)
    groups = stored.image if by == "image" else stored.question_type * 100 + stored.chosen
    assert not set(groups[mask]) & set(groups[~mask])
    assert share - 0.01 <= mask.mean() <= share


def test_every_answer_stays_in_training():
    stored, texts = made_up()
    for seed in range(10):
        mask = carve(stored, texts, share=0.4, by="group", seed=seed)
        assert set(stored.chosen[mask]) <= set(stored.chosen[~mask])


def test_priors_change_by_group_and_not_by_image():
    stored, texts = made_up()

    def distance(by):
        """Mean over types of the distance of the answers' distributions on both sides, in [0, 1]."""
        mask = carve(stored, texts, share=0.3, by=by, seed=0)
        apart = []
        for kind in range(1, 8):
            one, other = (
                np.bincount(stored.chosen[side & (stored.question_type == kind)], minlength=40) / 1.0
                for side in (mask, ~mask)
            )
            if one.sum():
                apart.append(np.abs(one / one.sum() - other / other.sum()).sum() / 2)
        return np.mean(apart)

    assert distance("group") == pytest.approx(1)
    assert distance("image") < 0.2


def test_drawn_by_the_seed_and_by_nothing_else():
    stored, texts = made_up()
    options = {"share": 0.2, "by": "group"}
    one = carve(stored, texts, seed=0, **options)
    np.testing.assert_array_equal(one, carve(stored, texts, seed=0, **options))
    assert (one != carve(stored, texts, seed=1, **options)).any()
    order = np.random.default_rng(0).permutation(len(stored))
    mixed = Stored(
        words=stored.words,
        offsets=stored.offsets,
        **{
            name: getattr(stored, name)[order]
            for name in ("image", "ids", "given", "chosen", "question_type", "answer_type")
        },
    )
    np.testing.assert_array_equal(one[order], carve(mixed, texts, seed=0, **options))


def test_splits_of_the_dataset(cp, v2):
    data = opened(cp, v2, validation=0.3)
    assert data.splits == ("train", "val", "test")
    assert data.unanswered == ()
    records = json.loads((cp / "vqacp_v2_train_questions.json").read_text())
    ids = {split: set(data.questions(split).ids.tolist()) for split in data.splits}
    assert ids["train"] | ids["val"] == {record["question_id"] for record in records}
    assert not ids["train"] & ids["val"]
    assert len(data.images("train")) == len(data.images("val")) == 19
    assert len(data.images("test")) == 20
    whole = opened(cp, v2, validation=0.0)
    assert whole.splits == ("train", "test")
    assert len(whole.questions("train")) == len(records)
    prints = {opened(cp, v2, validation=0.3, validation_seed=seed).fingerprint for seed in (0, 1)}
    assert len(prints | {data.fingerprint, whole.fingerprint}) == 3
    by_image = opened(cp, v2, validation=0.3, validation_by="image")
    assert not set(by_image.questions("train").image) & set(by_image.questions("val").image)


def test_a_share_too_small_is_said(cp, v2):
    with pytest.raises(DataError, match=r"data.validation = 0.001.*group of questions"):
        opened(cp, v2, validation=0.001)


def test_without_files_it_says_where_to_put_them(hacore, tmp_path):
    status, out, err = hacore("data", "download", "vqa-cp-v2", "--output", tmp_path / "cp")
    assert (status, out) == (1, "")
    assert err == [
        f"hacore: VQA-CP v2 has no reliable host; put {', '.join(NAMES)} into {tmp_path / 'cp'}, or make "
        "them from VQA v2: --root DIR --question-ids TRAIN TEST, lists of question ids"
    ]


def lists_of(cp, tmp_path):
    """The ids of the splits as a text, and as the JSON list of the official file."""
    records = json.loads((cp / NAMES[0]).read_text())
    train = tmp_path / "train.txt"
    train.write_text("\n".join(str(record["question_id"]) for record in records))
    return train, cp / NAMES[2]


def test_made_from_lists_of_ids(hacore, cp, v2, tmp_path):
    lists, output = lists_of(cp, tmp_path), tmp_path / "made"
    words = ("data", "download", "vqa-cp-v2", "--root", v2, "--question-ids", *lists, "--output", output)
    status, out, _ = hacore(*words)
    assert status == 0
    assert "train: 38" in out
    assert "test: 22" in out
    assert "questions of VQA v2 in neither list: 0" in out
    for name in NAMES:
        records, expected = (json.loads((folder / name).read_text()) for folder in (output, cp))
        by_id = {record["question_id"]: record for record in records}
        assert by_id == {record["question_id"]: record for record in expected}
    assert sorted(path.name for path in output.iterdir() if not path.name.startswith(".")) == sorted(NAMES)
    assert hacore(*words)[1].startswith("already there: ")
    assert len(opened(output, v2).questions("test")) == 22


def test_ids_that_are_wrong_are_all_named_and_nothing_is_written(hacore, cp, v2, tmp_path):
    (train, test), output = lists_of(cp, tmp_path), tmp_path / "made"
    train.write_text(train.read_text() + "\n7 8 1000 eleven")
    ids = [record["question_id"] for record in json.loads(test.read_text())]
    other = tmp_path / "test.json"
    other.write_text(json.dumps([*ids, 1001]))
    status, _, err = hacore(
        *("data", "download", "vqa-cp-v2", "--root", v2, "--question-ids", train, other, "--output", output)
    )
    assert status == 1
    assert [line for line in err if line.startswith("hacore: ")] == [
        f"hacore: {train}: word 42 is 'eleven'; must be a question id, a whole number",
        f"hacore: {train}: question 1000: was in this list before",
        f"hacore: {other}: question 1001: was in {train} before",
        f"hacore: {train}: 2 questions (7, 8): is not among the questions of VQA v2 in {v2}",
        f"hacore: {train}: 2 questions (7, 8): is not among the annotations of VQA v2 in {v2}",
        "hacore: 5 problems found",
    ]
    assert not [path for path in output.iterdir() if path.name.endswith((".json", ".part"))]

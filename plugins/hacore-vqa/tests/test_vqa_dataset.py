"""The datasets: answers, scores that are the official ones, losses, words, splits."""

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hacore_vqa import Config, CpConfig
from hacore_vqa.dataset import VqaCpV2, VqaV2
from hacore_vqa.metric import Truth, accuracy, evaluate

from hacore.data import UNKNOWN, make_batch
from hacore.errors import DataError

SIZE = (8, 12)


def opened(root, **options):
    return VqaV2(Config(root=str(root), size=SIZE, **options))


def opened_cp(cp, v2, **options):
    return VqaCpV2(CpConfig(root=str(cp), images=str(v2), size=SIZE, **options))


def truths(path):
    content = json.loads(path.read_text())
    records = content["annotations"] if isinstance(content, dict) else content
    return {
        record["question_id"]: Truth(
            answers=[one["answer"] for one in record["answers"]],
            question_type=record["question_type"],
            answer_type=record["answer_type"],
        )
        for record in records
    }


def annotations(root, split="train"):
    return root / f"v2_mscoco_{split}2014_annotations.json"


def batch_of(data, split="train", rows=None):
    asked = data.questions(split)
    rows = np.arange(len(asked)) if rows is None else rows
    return make_batch(asked, data.images(split), rows)


def spoil_answers(content):
    """Answers with hard cases: unanimous ones that are no normal forms, articles, marks."""
    people = [
        ["none"] * 10,
        ["0"] * 4 + ["none"] * 2 + ["zero"] * 4,
        ["The t-shirt"] * 10,
        ["t-shirt"] * 2 + ["t shirt"] * 3 + ["the T-shirt"] * 5,
        ["none"] * 3 + ["0"] * 3 + ["nothing"] * 3 + ["no"],
        ["dont know"] * 5 + ["don't know"] * 5,
        ["1,000"] * 5 + ["1000"] * 5,
        ["the"] * 10,
    ]
    for row, annotation in enumerate(content["annotations"]):
        given = people[row % len(people)]
        annotation["multiple_choice_answer"] = given[0]
        for one, answer in zip(annotation["answers"], given, strict=True):
            one["answer"] = answer


def test_what_is_asked(v2):
    data = opened(v2)
    assert data.splits == ("train", "val", "test", "test-dev")
    assert data.unanswered == ("test", "test-dev")
    assert set(data.answers) == {"red", "green", "blue", "yellow", "1", "2", "3", "yes", "no"}
    assert data.image_size == (3, *SIZE)
    assert data.question_types == (
        "are the (yes/no)",
        "how many (number)",
        "is there a (yes/no)",
        "what color are the (other)",
        "what is the (other)",
        "what number (number)",
        "unknown",
    )
    assert data.groups == {
        "number": ("how many (number)", "what number (number)"),
        "other": ("what color are the (other)", "what is the (other)"),
        "yes/no": ("are the (yes/no)", "is there a (yes/no)"),
    }
    records = json.loads(annotations(v2, "val").read_text())["annotations"]
    val = data.questions("val")
    for row, record in enumerate(records):
        assert data.answers[val.answer[row]] == record["multiple_choice_answer"]
        assert data.question_types[val.type[row]] == f"{record['question_type']} ({record['answer_type']})"
        assert val.ids[row] == record["question_id"]
    test = data.questions("test")
    assert set(test.answer) == {-1}
    assert {data.question_types[number] for number in test.type} == {"unknown"}


@pytest.mark.parametrize("spoilt", [False, True])
@pytest.mark.parametrize("split", ["train", "val"])
def test_every_answer_scores_what_the_official_metric_gives(v2, change, split, spoilt):
    if spoilt:
        change(annotations(v2, split), spoil_answers)
    data = opened(v2, answers_from="train+val")
    truth_of, batch = truths(annotations(v2, split)), batch_of(data, split)
    for number, answer in enumerate(data.answers):
        logits = torch.zeros(len(batch), len(data.answers))
        logits[:, number] = 1
        scores = data.score(logits, batch)
        assert scores.dtype == torch.float32
        expected = [accuracy(truth_of[question], answer) for question in data.questions(split).ids.tolist()]
        np.testing.assert_allclose(scores.numpy(), expected, atol=1e-6)


def test_an_answer_is_called_as_it_is_given_most_often(v2, change):
    """Where all ten agree, the metric compares what was given and not the normal form."""
    change(annotations(v2), spoil_answers)
    names = set(opened(v2).answers)
    assert {"none", "1,000", "dont know", "the"} <= names
    assert not names & {"0", "1000", "don't know", "", "zero"}
    assert len(names & {"The t-shirt", "t-shirt", "t shirt"}) == 1  # they have one normal form


def test_vocabulary_by_count_and_by_frequency(v2, change):
    def rare(content):
        for row, annotation in enumerate(content["annotations"]):
            annotation["multiple_choice_answer"] = "often"
            if row % 4 == 1:
                annotation["multiple_choice_answer"] = "sometimes"
            if row == 2:
                annotation["multiple_choice_answer"] = "the sometimes"
            if row in (4, 6):
                annotation["multiple_choice_answer"] = f"rare {row}"

    change(annotations(v2), rare)
    # often: 24, sometimes in two spellings: 10, two rare ones, in alphabetical order
    assert opened(v2).answers == ("often", "sometimes", "rare 4", "rare 6")
    assert opened(v2, answers=2).answers == ("often", "sometimes")
    assert opened(v2, answers=0).answers == opened(v2).answers
    assert opened(v2, answers=0, min_answer_count=2).answers == ("often", "sometimes")
    assert opened(v2, min_answer_count=10).answers == ("often", "sometimes")
    assert opened(v2, min_answer_count=11).answers == ("often",)
    both = opened(v2, answers_from="train+val").answers
    assert {"often", "sometimes", "rare 4", "rare 6"} < set(both)
    assert set(both) & {"red", "green", "blue", "yellow"}
    assert both[0] == "often"
    (v2 / "v2_OpenEnded_mscoco_val2014_questions.json").unlink()
    with pytest.raises(DataError, match=r"answers_from = 'train\+val'.*split val.*prepare it"):
        opened(v2, answers_from="train+val")
    with pytest.raises(DataError, match=r"min_answer_count = 50.*lower it"):
        opened(v2, min_answer_count=50)


def test_questions_whose_answer_is_not_in_the_set_are_scored_all_the_same(v2):
    data = opened(v2, answers=1)
    asked = data.questions("val")
    assert len(data.answers) == 1
    assert len(asked) == 24
    assert -1 in asked.answer
    loss = data.loss(torch.zeros(24, 1), batch_of(data, "val"))
    assert float(loss) == 0
    truth_of = truths(annotations(v2, "val"))
    expected = [accuracy(truth_of[question], data.answers[0]) for question in asked.ids.tolist()]
    scores = data.score(torch.zeros(24, 1), batch_of(data, "val"))
    np.testing.assert_allclose(scores.numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("loss", ["cross-entropy", "binary"])
@pytest.mark.parametrize("targets", ["single", "soft"])
def test_losses_against_plain_formulas(v2, loss, targets):
    data = opened(v2, answers=6, loss=loss, targets=targets)
    batch, truth_of = batch_of(data), truths(annotations(v2))
    torch.manual_seed(0)
    logits = torch.randn(len(batch), len(data.answers))
    expected = 0.0
    for row, question in enumerate(data.questions("train").ids.tolist()):
        if targets == "soft":
            target = [accuracy(truth_of[question], answer) for answer in data.answers]
        else:
            wanted = int(data.questions("train").answer[row])
            target = [float(number == wanted) for number in range(len(data.answers))]
        given = logits[row].double()
        if loss == "cross-entropy":
            total = sum(target) or 1.0
            chances = given.exp() / given.exp().sum()
            expected -= sum(t / total * float(p.log()) for t, p in zip(target, chances, strict=True))
        else:
            for t, z in zip(target, given.tolist(), strict=True):
                p = 1 / (1 + np.exp(-z))
                expected -= t * np.log(p) + (1 - t) * np.log(1 - p)
    assert float(data.loss(logits, batch)) == pytest.approx(expected, rel=1e-5)


def test_majority_is_the_answer_that_scores_best_on_the_type_in_training(v2):
    data = opened(v2)
    train, val = truths(annotations(v2)), truths(annotations(v2, "val"))
    best = {}
    for kind in {truth.question_type for truth in train.values()}:
        asked = [truth for truth in train.values() if truth.question_type == kind]
        totals = {answer: sum(accuracy(truth, answer) for truth in asked) for answer in data.answers}
        best[kind] = max(totals.values()), [a for a in totals if totals[a] == max(totals.values())]
    majorities = data.majority(data.questions("train"), data.questions("val"))
    for row, question in enumerate(data.questions("val").ids.tolist()):
        possible = [accuracy(val[question], answer) for answer in best[val[question].question_type][1]]
        assert min(abs(majorities[row] - score) for score in possible) < 1e-6
    assert set(data.majority(data.questions("train"), data.questions("test"))) == {0.0}


def test_accuracy_is_that_of_the_official_tool(v2):
    data = opened(v2)
    torch.manual_seed(1)
    logits, batch = torch.randn(24, len(data.answers)), batch_of(data, "val")
    answers = [data.answers[number] for number in logits.argmax(1).tolist()]
    written = json.loads(data.submission("val", answers))
    assert [record["question_id"] for record in written] == data.questions("val").ids.tolist()
    report = evaluate(
        truths(annotations(v2, "val")), {record["question_id"]: record["answer"] for record in written}
    )
    assert 100 * float(data.score(logits, batch).double().mean()) == pytest.approx(report.overall, abs=0.005)
    with pytest.raises(ValueError, match=r"23 answers.*24 questions.*split val"):
        data.submission("val", answers[:-1])


def test_words_are_those_of_the_training_questions(v2, change):
    path = v2 / "v2_OpenEnded_mscoco_val2014_questions.json"
    change(path, lambda content: content["questions"][0].update(question="Are discs flamboyant?"))
    path = v2 / "v2_OpenEnded_mscoco_train2014_questions.json"
    change(path, lambda content: content["questions"][0].update(question=" ".join(["Long"] * 90) + " discs?"))
    data = opened(v2)
    assert "flamboyant" not in data.vocabulary
    assert list(data.vocabulary[2:]) == sorted(data.vocabulary[2:])
    asked = data.questions("val")
    words = [data.vocabulary[number] for number in asked.words[: asked.offsets[1]]]
    assert words == ["are", "discs", "<unk>"]
    train = data.questions("train")
    assert train.offsets[1] == 91  # never cut
    assert data.tokenize("Are the LONG discs flamboyant?")[-1] == UNKNOWN
    few = opened(v2, min_word_count=3)
    assert "long" in few.vocabulary
    assert len(opened(v2, min_word_count=20).vocabulary) < len(data.vocabulary)


def test_first_images_and_questions(v2):
    whole, few = opened(v2), opened(v2, train_images=4, train_questions=10)
    assert len(few.images("train")) == 4
    assert few.questions("train").ids.tolist() == whole.questions("train").ids[:10].tolist()
    assert few.questions("train").image.max() == 3
    assert (few.answers, few.vocabulary) == (whole.answers, whole.vocabulary)
    assert few.fingerprint != whole.fingerprint
    with pytest.raises(DataError, match=r"data.train_images = 13.*12.*leave it out"):
        opened(v2, train_images=13)


def test_word_vectors_of_the_vocabulary(v2, tmp_path):
    path = tmp_path / "vectors.txt"
    path.write_text(
        "the 1 2 3\nunseen 9 9\ndiscs of steel 4 4 4\ndiscs -1 0.5 2e-1\n<pad> 5 5 5\nthe 7 7 7\n"
    )
    data = opened(v2, word_vectors=str(path))
    vectors = data.sizes().word_vectors
    assert vectors.shape == (len(data.vocabulary), 3)
    assert vectors.dtype == np.float32
    rows = {word: vectors[row].tolist() for row, word in enumerate(data.vocabulary)}
    assert rows["the"] == [1, 2, 3]
    assert rows["discs"] == pytest.approx([-1, 0.5, 0.2])
    assert not any(any(row) for word, row in rows.items() if word not in ("the", "discs"))
    assert opened(v2).sizes().word_vectors is None


@pytest.mark.parametrize(
    ("text", "line", "parts"),
    [
        ("the 1 2\ndiscs 1 x\n", ":2:", ["a word and 2 finite numbers", "get the file again"]),
        ("the 1 2\ndiscs 1\n", ":2:", ["a word and 2 finite numbers", "get the file again"]),
        ("the 1 nan\n", ":1:", ["a word and 2 finite numbers", "get the file again"]),
        ("unseen 1 2\n", ":", ["none of the 16 words", "word_vectors", "text file of vectors"]),
        ("<!DOCTYPE html>\n<html>\n", ":", ["is a web page", "text file of vectors"]),
        ("PK\3\4 glove.zip", ":", ["zip", "text file of vectors"]),
        (None, ":", ["No such file", "word_vectors", "text file of vectors"]),
    ],
)
def test_word_vectors_that_are_wrong(v2, tmp_path, names, text, line, parts):
    path = tmp_path / "vectors.txt"
    if text:
        path.write_text(text)
    with pytest.raises(DataError) as caught:
        opened(v2, word_vectors=str(path)).sizes()
    names(str(caught.value), f"{path}{line}", *parts)


def test_a_first_line_of_counts_is_skipped(v2, tmp_path):
    path = tmp_path / "vectors.txt"
    path.write_text("2 3\nthe 1 2 3\ndiscs 4 5 6\n")
    data = opened(v2, word_vectors=str(path))
    assert data.word_vectors()[data.vocabulary.index("discs")].tolist() == [4, 5, 6]


def test_official_folder_is_prepared_once_and_again_when_files_change(v2, caplog, change):
    caplog.set_level(logging.INFO, "hacore")
    first = opened(v2)
    assert f"preparing {v2} in " in caplog.text
    caplog.clear()
    assert opened(v2).fingerprint == first.fingerprint
    assert not caplog.records
    change(annotations(v2), spoil_answers)
    assert opened(v2).fingerprint != first.fingerprint
    assert f"the files of {v2} have changed" in caplog.text


def test_no_data_and_other_data(v2, cp, names, tmp_path):
    with pytest.raises(DataError, match=r"data.root is not set.*'hacore data download vqa-v2'"):
        VqaV2(Config())
    with pytest.raises(DataError, match=r"data.root is not set.*'hacore data download vqa-cp-v2'"):
        VqaCpV2(CpConfig())
    (v2 / "val2014" / "COCO_val2014_000000000101.jpg").write_bytes(b"")
    with pytest.raises(DataError) as caught:
        opened(v2)
    names(str(caught.value).splitlines()[-1], f"{v2}:", "1", f"hacore data prepare vqa-v2 {v2} --size 8 12")


def test_damage_of_a_pack_is_named(v2):
    opened(v2)
    (pack,) = (Path(os.environ["HACORE_CACHE"]) / "vqa-v2").glob("[!.]*")
    for name in ("train.questions.npz", "texts.json", "val2014.images.npy", "pack.json"):
        path = pack / name
        kept = path.read_bytes()
        path.write_bytes(kept[:-3])
        with pytest.raises(DataError, match=rf"{name}: .*delete the folder {pack}"):
            opened(pack)
        path.write_bytes(kept)
    with pytest.raises(DataError, match=r"8x12.*224x224.*size = \[8, 12\]"):
        VqaV2(Config(root=str(pack)))
    with pytest.raises(DataError, match=r"vqa-v2.*data.use = 'vqa-v2'"):
        VqaCpV2(CpConfig(root=str(pack), size=SIZE))
    opened(pack)


@pytest.mark.parametrize("info", [{"part": "elsewhere"}, {"images": 99}, {"images": -1}, {"images": "9"}])
def test_splits_of_images_that_a_pack_does_not_have(v2, info):
    opened(v2)
    (pack,) = (Path(os.environ["HACORE_CACHE"]) / "vqa-v2").glob("[!.]*")
    described = json.loads((pack / "pack.json").read_text())
    described["splits"]["train"].update(info)
    (pack / "pack.json").write_text(json.dumps(described))
    with pytest.raises(DataError, match=rf"pack.json: .*delete the folder {pack}"):
        opened(pack)


def test_declaring_imports_little():
    code = (
        "import sys, hacore_vqa as package; package.hacore_declare();"
        "print(sorted({'torch', 'numpy', 'PIL', 'msgspec'} & set(sys.modules)))"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    process = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env
    )
    assert process.stdout == "[]\n"

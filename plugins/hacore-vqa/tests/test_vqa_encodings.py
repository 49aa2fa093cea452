"""Files as other programs write them: byte order marks, blanks, other encodings, accents in either form."""

import json
import unicodedata

import numpy as np
import pytest
from hacore_vqa import Config
from hacore_vqa.dataset import VqaV2
from hacore_vqa.vectors import read_vectors

from hacore.data import UNKNOWN
from hacore.errors import DataError

NFC, NFD = "caf\u00e9", "cafe\u0301"


def nfd(text):
    return unicodedata.normalize("NFD", text)


def val(v2):
    return v2 / "v2_OpenEnded_mscoco_val2014_questions.json", v2 / "v2_mscoco_val2014_annotations.json"


@pytest.fixture
def results(v2, tmp_path):
    """Gives each question of val its common answer."""
    path = tmp_path / "results.json"
    records = json.loads(val(v2)[1].read_text())["annotations"]
    answers = [
        {"question_id": record["question_id"], "answer": record["multiple_choice_answer"]}
        for record in records
    ]
    path.write_text(json.dumps(answers))
    return path


@pytest.fixture
def score(hacore, v2, results):
    def run(*more):
        questions, annotations = val(v2)
        given = ("--questions", questions, "--annotations", annotations, "--results", results)
        return hacore("score", "vqa", *given, *more)

    return run


def prepare(hacore, v2, tmp_path):
    return hacore("data", "prepare", "vqa-v2", v2, "--size", 8, 12, "--output", tmp_path / "pack", "--subset")


@pytest.mark.parametrize("before", ["\ufeff", " " * 64, "\n" * 200, "\ufeff" + "\r\n" * 70])
def test_marks_and_blanks_are_skipped(hacore, v2, results, score, tmp_path, before):
    expected = score()
    for path in [*v2.glob("*.json"), results]:
        path.write_bytes(before.encode() + path.read_bytes())
    assert score() == expected
    status, _, err = prepare(hacore, v2, tmp_path)
    assert status == 0, err


@pytest.mark.parametrize("codec", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_other_encodings_are_named_once_a_file(hacore, v2, results, score, tmp_path, names, codec):
    questions, annotations = val(v2)
    for path in (questions, annotations, results):
        path.write_bytes(path.read_bytes().decode().encode(codec))
    status, out, err = score()
    assert (status, out) == (1, "")
    for line, path in zip(err[:-1], (questions, annotations, results), strict=True):
        names(line, f"{path}:", codec[:6].upper(), "save it as UTF-8")
    status, _, err = prepare(hacore, v2, tmp_path)
    problems = [line for line in err if codec[:6].upper() in line]
    assert status == 1
    assert len(problems) == 2
    assert not [line for line in err if "no annotation" in line or "questions file" in line]


def test_bytes_that_are_not_utf8_are_named(v2, results, score, change, names):
    change(results, lambda answers: answers[0].update(answer="caf\u00e9"))
    text = json.loads(results.read_text())
    results.write_bytes(json.dumps(text, ensure_ascii=False).encode("latin-1"))
    status, out, (line, _) = score()
    assert (status, out) == (1, "")
    names(line, f"{results}:", "question 101000", "0xe9", "not UTF-8", "save the file as UTF-8")


def test_lists_of_ids_with_a_mark(hacore, v2, cp, tmp_path, names):
    lists, output = {}, tmp_path / "made"
    for split in ("train", "test"):
        ids = [record["question_id"] for record in json.loads(questions_of(cp, split).read_text())]
        lists[split] = tmp_path / f"{split}.ids"
        text = json.dumps([float(number) for number in ids]) if split == "test" else " ".join(map(str, ids))
        lists[split].write_bytes(text.encode("utf-8-sig"))

    def rebuild():
        where = ("--root", v2, "--output", output, "--question-ids", *lists.values())
        return hacore("data", "download", "vqa-cp-v2", *where)

    assert rebuild()[0] == 0
    for split in lists:
        made = json.loads((output / questions_of(cp, split).name).read_text())
        asked = json.loads(questions_of(cp, split).read_text())
        assert {record["question_id"] for record in made} == {record["question_id"] for record in asked}
    questions_of(output, "test").unlink()
    lists["test"].write_bytes("1 2".encode("utf-16"))
    status, _, err = rebuild()
    assert status == 1
    (line,) = [line for line in err if str(lists["test"]) in line]
    names(line, f"hacore: {lists['test']}:", "UTF-16", "UTF-8")


def questions_of(folder, split):
    return folder / f"vqacp_v2_{split}_questions.json"


def test_word_vectors_with_a_mark_and_accents_apart(tmp_path):
    path = tmp_path / "vectors.txt"
    words = ("<pad>", "<unk>", NFC, "the", nfd("na\u00efve"))
    path.write_bytes(f"the 1 2\n{NFD} 3 4\nna\u00efve 5 6\n".encode("utf-8-sig"))
    assert read_vectors(path, words).tolist() == [[0, 0], [0, 0], [3, 4], [1, 2], [5, 6]]
    path.write_bytes(b"caf\xe9 7 7\n" + f"{NFC} 3 4\n".encode())
    assert read_vectors(path, words)[2].tolist() == [3, 4]


def test_word_vectors_in_another_encoding(tmp_path, names):
    path = tmp_path / "vectors.txt"
    path.write_bytes("the 1 2\n".encode("utf-16"))
    with pytest.raises(DataError) as caught:
        read_vectors(path, ("the",))
    names(str(caught.value), f"{path}:", "UTF-16", "UTF-8")


def opened(v2):
    return VqaV2(Config(root=str(v2), size=(8, 12)))


def test_questions_with_accents_apart_are_the_same_data(make_v2, change, tmp_path):
    data = []
    for form in ("NFC", "NFD"):
        root = make_v2(tmp_path / form)

        def ask(content, form=form):
            for number, record in enumerate(content["questions"]):
                if number % 3 == 0:
                    record["question"] = unicodedata.normalize(form, "Is the caf\u00e9 na\u00efve?")

        for path in root.glob("*_questions.json"):
            change(path, ask)
        data.append(opened(root))
    composed, apart = data
    assert composed.fingerprint == apart.fingerprint
    assert composed.vocabulary == apart.vocabulary
    assert NFC in composed.vocabulary
    for split in composed.splits:
        np.testing.assert_array_equal(composed.questions(split).words, apart.questions(split).words)
    assert UNKNOWN not in composed.tokenize("Is the CAFE\u0301 na\u00efve?")
    assert composed.tokenize(f"is the {NFD}") == composed.tokenize(f"is the {NFC}")


def test_answers_are_compared_as_the_official_tool_does(hacore, v2, results, score, change, tmp_path, names):
    def answer(content, text):
        for record in content["annotations"][:3]:
            record["multiple_choice_answer"] = text
            for one in record["answers"]:
                one["answer"] = text

    for path in v2.glob("*_annotations.json"):
        change(path, lambda content: answer(content, NFD))
    change(results, lambda answers: [one.update(answer=NFC) for one in answers[:3]] and None)
    status, out, (warning,) = score("--json")
    assert status == 0
    assert json.loads(out)["overall"] < 90  # three of 24 questions score nothing
    names(warning, "warning:", f"{results}:", "3 answers", "accents", "official")
    # Apart in one split, composed in the other: two answers, as they would be to the official evaluation.
    change(val(v2)[1], lambda content: answer(content, NFC))
    status, _, err = prepare(hacore, v2, tmp_path)
    assert status == 0
    assert [line for line in err if "warning: 1 answers" in line and "accents" in line]
    assert {NFD} <= set(opened(v2).answers)


@pytest.mark.parametrize("left", [0, 1, 9])
def test_answers_without_answer_id(hacore, v2, score, change, tmp_path, names, left):
    """They are taken as ten people's; the score is the official tool's, which merges equal entries."""

    def warnings_of(lines):
        """Those about ``answer_id``, which is in the name of the folder too."""
        return [line for line in lines if line.startswith("warning:") and "without answer_id" in line]

    def strip(content):
        for record in content["annotations"]:
            for one in record["answers"][left:]:
                del one["answer_id"]

    before = opened(v2).questions("val")
    for path in v2.glob("*_annotations.json"):
        change(path, strip)
    status, out, err = score("--json")
    assert status == 0
    assert json.loads(out)["overall"] == pytest.approx(official(val(v2)[1]), abs=0.006)
    warned = warnings_of(err)
    assert len(warned) == (1 if left < 9 else 0)
    if left < 9:
        names(warned[0], "warning:", f"{val(v2)[1]}:", "24 questions", "answer_id", "official tool")
    status, _, err = prepare(hacore, v2, tmp_path)
    assert status == 0
    assert len(warnings_of(err)) == (2 if left < 9 else 0)
    after = opened(v2).questions("val")
    np.testing.assert_array_equal(before.accepted_score, after.accepted_score)


def official(path):
    """The official accuracy of the common answers; they need no processing here."""
    scores = []
    for record in json.loads(path.read_text())["annotations"]:
        given = record["answers"]
        if len({one["answer"] for one in given}) > 1:  # processed: number words become digits, no articles
            digits = {"one": "1", "two": "2", "three": "3"}
            for one in given:
                text = one["answer"].removeprefix("the ")
                one["answer"] = digits.get(text, text)
        total = 0
        for one in given:
            others = [other for other in given if other != one]
            matching = [other for other in others if other["answer"] == record["multiple_choice_answer"]]
            total += min(1, len(matching) / 3)
        scores.append(total / len(given))
    return 100 * sum(scores) / len(scores)


def test_the_same_person_twice_is_refused(hacore, v2, change, tmp_path, names):
    path = v2 / "v2_mscoco_train2014_annotations.json"

    def twice(content):
        for one in content["annotations"][0]["answers"][:2]:
            one["answer_id"] = 4.0

    change(path, twice)
    status, _, err = prepare(hacore, v2, tmp_path)
    assert status == 1
    (line,) = [line for line in err if "answer_id" in line]
    names(line, f"{path}:", "question 1000", "same answer_id", "ten people")

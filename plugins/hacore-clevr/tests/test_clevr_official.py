"""Reading official folders: splits, questions of both formats, and everything that can be wrong with them."""

import json
import re
import unicodedata

import numpy as np
import pytest
from hacore_clevr.columns import collect
from hacore_clevr.domain import ANSWERS, QUESTION_TYPES
from hacore_clevr.official import find_splits, image_names, questions_file, read_questions
from hacore_clevr.words import WORD_RULE, build_vocabulary, renumber, split_words
from hacore_packing.words import Numbering
from hypothesis import given
from hypothesis import strategies as st

from hacore.errors import DataError


def read(root, split):
    return read_questions(root, split, image_names(root, split))


def sentences(columns):
    """The questions as words, read from the columns."""
    words = [columns.vocabulary[number] for number in columns.words]
    return [words[a:b] for a, b in zip(columns.offsets[:-1], columns.offsets[1:], strict=True)]


def edit(root, split, change):
    """Rewrites a questions file after ``change`` was applied to its list."""
    path = questions_file(root, split)
    content = json.loads(path.read_text())
    change(content["questions"])
    path.write_text(json.dumps(content))


def test_words_of_a_question():
    assert split_words("There is a big thing; what Color is it?") == [
        *("there", "is", "a", "big", "thing", ";", "what", "color", "is", "it")
    ]
    assert split_words("Red,  blue .\tor\ngreen ?") == ["red", ",", "blue", "or", "green"]
    assert split_words(" ?. ") == []


def test_vocabulary():
    vocabulary = build_vocabulary(["thing", ";", "a", "thing", "<unk>"])
    assert vocabulary == ("<pad>", "<unk>", ";", "a", "thing")
    index = {word: number for number, word in enumerate(vocabulary)}
    assert renumber(["a", "never", "thing"], index).tolist() == [3, 1, 4]
    numbers = Numbering()
    assert [numbers[word] for word in ("x", "y", "x")] == [0, 1, 0]


@given(words=st.lists(st.sampled_from(["is", "red,", "the", "ball;"]), min_size=1, max_size=400))
def test_questions_are_never_cut(words):
    question = " ".join(words) + "?"
    record = {"question": question, "image_filename": "a.png", "question_index": 7}
    columns, problems = collect([record], ["a.png"])
    assert problems == []
    (tokens,) = sentences(columns)
    assert tokens == question[:-1].replace(",", " ,").replace(";", " ;").split()


def test_splits_are_those_with_questions(official, make_official, tmp_path):
    assert find_splits(official) == ("train", "val", "test")
    counts = dict.fromkeys(["testB", "valB", "trainA", "valA", "testA"], 1)
    cogent = make_official(tmp_path / "CLEVR_CoGenT", counts=counts, unanswered=("testA", "testB"))
    assert find_splits(cogent) == ("trainA", "valA", "testA", "valB", "testB")


def test_a_folder_that_is_not_clevr(official, tmp_path):
    with pytest.raises(DataError, match=r"questions/CLEVR_\*.*CLEVR_mini"):
        find_splits(official.parent)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="folder that holds questions and images"):
        find_splits(tmp_path / "empty")
    with pytest.raises(DataError, match="is not a folder"):
        find_splits(tmp_path / "nothing")


def test_released_format(official):
    columns, problems = read(official, "train")
    assert problems == []
    assert len(columns) == 24
    assert columns.image.tolist() == [row for row in range(6) for _ in range(4)]
    assert columns.family.tolist() == [0, 1, 2, 3] * 6
    functions = ["count", "query_color", "exist", "less_than"]
    assert [QUESTION_TYPES[number] for number in columns.function] == functions * 6
    answers = [ANSWERS[number] for number in columns.answer]
    assert answers[:8] == ["1", "gray", "no", "yes", "1", "red", "no", "yes"]
    assert columns.ids.tolist() == list(range(24))
    assert sentences(columns)[4] == ["how", "many", "red", "things", "are", "there"]


def test_generated_format_reads_the_same(official, make_official, tmp_path):
    generated = make_official(tmp_path / "generated", generated=("train", "val"))
    text = questions_file(generated, "train").read_text()
    assert '"answer": 1' in text
    assert '"answer": true' in text
    assert '"function"' not in text
    expected, columns = read(official, "train")[0], read(generated, "train")[0]
    for name in ("words", "offsets", "image", "answer", "family", "function", "ids"):
        np.testing.assert_array_equal(getattr(columns, name), getattr(expected, name))


def test_split_without_answers(official):
    columns, problems = read(official, "test")
    assert problems == []
    for name in ("answer", "family", "function"):
        assert getattr(columns, name).tolist() == [-1] * 8


def test_every_problem_is_named(official):
    def spoil(questions):
        questions[1]["answer"] = "mauve"
        questions[2]["question"] = " ? "
        del questions[3]["question"]
        questions[4]["image_filename"] = "CLEVR_train_000009.png"
        questions[5]["question_index"] = 6
        questions[7]["program"][-1]["function"] = "guess"
        questions[8]["program"] = []
        questions[9]["question_index"] = "9"
        del questions[10]["image_filename"]
        questions[11]["image_index"] = 5
        questions[12] = "what?"
        del questions[13]["answer"]
        questions[14]["answer"] = 11
        questions[15]["answer"] = ["red"]
        questions[16]["question_family_index"] = -3
        questions[17]["answer"] = "mauve"
        del questions[18]["question_index"]

    edit(official, "train", spoil)
    columns, problems = read(official, "train")
    path = questions_file(official, "train")
    assert all(problem.startswith(f"{path}: ") and "\n" not in problem for problem in problems)
    messages = [problem.removeprefix(f"{path}: ") for problem in problems]
    for expected in [
        '2 questions (1, 17): answer "mauve" is unknown; the answers are 0, 1, ',
        "question 2: 'question' is \" ? \"; must be a text with at least one word",
        "question 3: has no 'question'; must be a text with at least one word",
        "question 4: image CLEVR_train_000009.png is not among the split's images; unpack it again",
        "question 6: question_index 6 was used before",
        'question 7: program ends with "guess"; the last function must be one of count, exist, ',
        "question 8: program ends with []; the last function must be one of",
        "question 9: 'question_index' is \"9\"; must be a whole number",
        "question 10: has no 'image_filename'; must be a file's name",
        "question 11: image CLEVR_train_000002.png has image_index 5, before it had 2",
        'question 12: is "what?"; must be an object',
        "question 13: has no 'answer', while other questions of the split do",
        "question 14: answer 11 is unknown",
        'question 15: answer ["red"] is unknown',
        "question 16: 'question_family_index' is -3; must be an integer in",
        "question 18: has no 'question_index'; must be a whole number",
    ]:
        assert sum(problem.startswith(expected) for problem in messages) == 1, (expected, messages)
    assert len(messages) == 16
    assert 0 not in columns.ids[1:]


def test_many_alike_are_counted(official):
    def spoil(questions):
        for number in range(200):
            questions.append({**questions[0], "question_index": 1000 + number, "answer": "mauve"})

    edit(official, "train", spoil)
    _, (problem,) = read(official, "train")
    assert "200 questions (24, 25, " in problem
    assert ", 73 and 150 more): answer" in problem


def test_file_that_is_not_there(official):
    with pytest.raises(DataError, match=r"CLEVR_dev_questions.json: cannot be read \(No such file"):
        read_questions(official, "dev", [])


def test_cut_off_anywhere_is_never_silent(official, tmp_path):
    text = questions_file(official, "test").read_text()
    path = questions_file(tmp_path, "test")
    path.parent.mkdir()
    names = image_names(official, "test")
    for length in range(0, len(text), 7):
        path.write_text(text[:length])
        columns, problems = read_questions(tmp_path, "test", names)
        assert problems, length
        assert f"; {len(columns)} questions could be read; download or unpack it again" in problems[0]


@given(st.text(st.sampled_from("aB\u00dcU\u0308\u030c7.,; \u00a0\t?_-\x1c'"), max_size=30))
def test_the_rule_for_words_is_the_function(question):
    text = unicodedata.normalize(WORD_RULE["normalize"], question.lower())
    assert re.findall(WORD_RULE["pattern"], text) == split_words(question)
    assert WORD_RULE["replace"] == {}
    assert WORD_RULE["empty"] == []

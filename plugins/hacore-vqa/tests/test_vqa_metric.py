"""The official accuracy: every rule by its hard cases, and all of it against a plain formulation."""

import json
import os
import re
import subprocess
import sys
from importlib.resources import files

import pytest
from hacore_vqa.metric import (
    Truth,
    accuracy,
    agreement,
    evaluate,
    normal,
    strip,
    without_articles,
    without_punctuation,
)
from hypothesis import example, given, settings
from hypothesis import strategies as st

TABLES = json.loads(files("hacore_vqa").joinpath("metric_tables.json").read_text())


def plain(truth, answer, legacy=False):
    """One annotator after the other, one rule after the other, nothing shared with the module."""

    def stripped(text):
        return "".join(" " if c in "\n\t" else c for c in text).strip()

    def marks(text):
        out = text
        for mark in TABLES["punctuation"]:
            pairs = {text[i : i + 2] for i in range(len(text))}
            beside = mark + " " in pairs or " " + mark in pairs
            comma = any(
                text[i] == "," and re.fullmatch(r"\d", text[i - 1]) and re.fullmatch(r"\d", text[i + 1])
                for i in range(1, len(text) - 1)
            )
            out = ("" if beside or comma else " ").join(out.split(mark))
        kept, gone = [], 0
        for i, c in enumerate(out):
            if c == "." and gone < 32 and not re.fullmatch(r"\d", out[i + 1 : i + 2]):
                gone += 1
            else:
                kept.append(c)
        return "".join(kept)

    def words(text):
        out = []
        for word in text.lower().split():
            if word in TABLES["number_words"]:
                word = TABLES["number_words"][word]
            if word in TABLES["articles"]:
                continue
            if word in TABLES["contractions"]:
                word = TABLES["contractions"][word]
            out.append(word)
        return " ".join(out)

    entries = [
        {"answer": text, "person": person}
        for text, person in zip(truth.answers, truth.people or range(len(truth.answers)), strict=True)
    ]
    if not legacy:
        for entry in entries:
            entry["answer"] = stripped(entry["answer"])
    answer = stripped(answer)
    several = len({entry["answer"] for entry in entries}) > 1
    if legacy or several:
        answer = words(marks(answer))
    if several:
        for entry in entries:
            entry["answer"] = marks(entry["answer"]) if legacy else words(marks(entry["answer"]))
    each = []
    for me in entries:
        same = [entry for entry in entries if entry != me and entry["answer"] == answer]
        each.append(min(1, float(len(same)) / 3))
    return float(sum(each)) / len(each)


def ten(*answers):
    """Ten annotators: the answers given, and enough that agree with nothing."""
    return Truth(answers=[*answers, *(f"filler{i}" for i in range(10 - len(answers)))])


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("red/blue", "red blue"),  # no space beside it: a space
        ("red / blue", "red  blue"),  # a space beside it: deleted
        ("red/ blue/green", "red bluegreen"),  # beside a space once: deleted everywhere
        ("t-shirt", "t shirt"),
        ("-5", " 5"),
        ("1,000", "1000"),
        ("1,000-2,000", "10002000"),  # digit,digit: every mark is deleted
        ("red,blue", "red blue"),
        ("red, blue", "red blue"),
        ("1, 2", "1 2"),
        ('"stop"', " stop "),
        ("what?!", "what  "),
        ("a_b`c@d", "a b c d"),
        ("(x)=[y]", " x   y "),
        ("u.s.a.", "usa"),
        ("2.5", "2.5"),
        ("2.5.", "2.5"),
        ("v.2", "v.2"),
        (".5", ".5"),
        ("don't", "don't"),  # an apostrophe is no mark
        ("50%", "50%"),
        ("a:b", "a:b"),
        ("½.", "½"),
        ("1,000.", "1000"),
        ("", ""),
    ],
)
def test_punctuation(before, after):
    assert without_punctuation(before) == after


def test_full_stops_after_the_32nd_stay():
    assert without_punctuation("." * 32 + "x") == "x"
    assert without_punctuation("." * 40 + "x") == "." * 8 + "x"
    assert without_punctuation("a." * 33) == "a" * 33 + "."


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("Two", "2"),
        ("none", "0"),
        ("zero one ten", "0 1 10"),
        ("eleven twenty", "eleven twenty"),
        ("the dog", "dog"),
        ("A man and an apple", "man and apple"),
        ("theater", "theater"),
        ("the", ""),
        ("dont", "don't"),
        ("youd've", "you'd've"),
        ("'ow'sat", "'ow's'at"),
        ("somebody'd", "somebodyd"),  # the table takes this one apart
        ("its", "its"),
        ("Im", "im"),  # looked up after lower-casing: entries with a capital never match
        ("Ive", "ive"),
        ("I'dve", "i'dve"),
        ("  two   dogs ", "2 dogs"),
    ],
)
def test_digits_articles_and_contractions(before, after):
    assert without_articles(before) == after


def test_every_entry_of_the_tables_is_used():
    for word, digit in TABLES["number_words"].items():
        assert normal(word) == digit
    for word in TABLES["articles"]:
        assert normal(f"{word} dog") == "dog"
    for word, restored in TABLES["contractions"].items():
        assert normal(word) == (restored if word == word.lower() else word.lower())
    for mark in TABLES["punctuation"]:
        assert normal(f"x{mark}y") == "x y"
        assert normal(f"x{mark} y") == "x y"
    assert [len(TABLES[name]) for name in ("number_words", "articles", "punctuation")] == [12, 3, 21]


def test_line_ends_and_tabs():
    assert strip("\n two\tdogs \n") == "two dogs"
    assert accuracy(ten("two\ndogs", "two\tdogs", "2 dogs", "2 dogs"), " two dogs\n") == 1.0


@pytest.mark.parametrize(("people", "score"), [(0, 0), (1, 0.3), (2, 0.6), (3, 0.9), (4, 1), (9, 1)])
def test_agreement(people, score):
    assert accuracy(ten(*["yes"] * people), "yes") == pytest.approx(score, abs=1e-12)
    assert agreement(people) == pytest.approx(score, abs=1e-12)


def test_unanimous_answers_are_compared_as_they_stand():
    pairs = {"two": "2", "The dog": "dog", "t-shirt": "t shirt", "dont": "don't", "Yes": "yes"}
    for raw, other in pairs.items():
        same = Truth(answers=[raw] * 10)
        assert accuracy(same, raw) == 1.0
        assert accuracy(same, other) == 0.0
        almost = Truth(answers=[raw] * 9 + ["something else"])
        assert accuracy(almost, raw) == accuracy(almost, other) == 1.0
    # White space at the ends does not make two answers of one.
    assert accuracy(Truth(answers=["two"] * 9 + [" two\n"]), "2") == 0.0


def test_unanimous_answers_in_the_legacy_form():
    same = Truth(answers=["two"] * 10)
    assert accuracy(same, "two", legacy=True) == accuracy(same, "2", legacy=True) == 0.0
    assert accuracy(Truth(answers=["2"] * 10), "two", legacy=True) == 1.0


def test_legacy_leaves_articles_digits_and_case_of_the_annotators():
    truth = ten("the dog", "the dog", "the dog", "the dog", "dog")
    assert accuracy(truth, "the dog") == accuracy(truth, "dog") == 1.0
    assert accuracy(truth, "the dog", legacy=True) == pytest.approx(0.3)  # compares "dog"
    assert accuracy(ten("Yes", "Yes", "yes"), "Yes") == pytest.approx(0.9)
    assert accuracy(ten("Yes", "Yes", "yes"), "Yes", legacy=True) == pytest.approx(0.3)
    assert accuracy(ten("t-shirt", "t shirt", "tshirt"), "t/shirt", legacy=True) == pytest.approx(0.6)


def test_annotators_that_agree_are_different_people():
    answers = ["yes"] * 3 + ["no"] * 7
    assert accuracy(Truth(answers=answers, people=list(range(10))), "yes") == pytest.approx(0.9)


def test_entries_equal_in_everything_are_one_person():
    """Each of them is compared with the other eight only, and never with its double."""
    answers = ["yes", "yes", "yes", *["no"] * 7]
    doubled = Truth(answers=answers, people=[1, 1, 3, 4, 5, 6, 7, 8, 9, 10])
    # The doubles see one "yes", the third sees two, the others three.
    assert accuracy(doubled, "yes") == pytest.approx((1 / 3 + 1 / 3 + 2 / 3 + 7) / 10)
    # The same id with another answer is another entry.
    other = Truth(answers=answers, people=[1, 2, 3, 1, 5, 6, 7, 8, 9, 10])
    assert accuracy(other, "yes") == pytest.approx(0.9)
    # Answers that become equal make the entries equal.
    became = Truth(answers=["two", "2", "2", *["no"] * 7], people=[1, 1, 3, 4, 5, 6, 7, 8, 9, 10])
    assert accuracy(became, "2") == pytest.approx((1 / 3 + 1 / 3 + 2 / 3 + 7) / 10)


PIECES = [*"a2.,- \n\t/'", "the", "two", "none", "1,0", "dont", "Im", "yes", "Yes"]
answers = st.lists(st.sampled_from(PIECES), max_size=5).map("".join)


@settings(max_examples=500, deadline=None)
@given(
    few=st.lists(answers, min_size=1, max_size=4),
    which=st.lists(st.integers(0, 3), min_size=10, max_size=10),
    people=st.none() | st.lists(st.integers(0, 9), min_size=10, max_size=10),
    other=answers,
    legacy=st.booleans(),
)
@example(few=["the"], which=[0] * 10, people=None, other="", legacy=True)
def test_equals_the_plain_formulation(few, which, people, other, legacy):
    truth = Truth(answers=[few[index % len(few)] for index in which], people=people)
    for answer in {*few, other}:
        score = accuracy(truth, answer, legacy=legacy)
        assert score == pytest.approx(plain(truth, answer, legacy), abs=1e-12)


def test_report_by_type_and_rounding():
    truths = {
        1: Truth(answers=["yes"] * 10, question_type="is the", answer_type="yes/no"),
        7: Truth(answers=ten("2").answers, question_type="how many", answer_type="number"),
        3: Truth(answers=["yes"] * 10, question_type="is the", answer_type="yes/no"),
    }
    report = evaluate(truths, {1: "yes", 3: "no", 7: "two"})
    assert report.table() == {
        "overall": 43.33,
        "perAnswerType": {"yes/no": 50.0, "number": 30.0},
        "perQuestionType": {"is the": 50.0, "how many": 30.0},
    }
    assert report.per_question == {1: 100.0, 7: 30.0, 3: 0.0}
    assert list(report.per_answer_type) == ["yes/no", "number"]
    with pytest.raises(KeyError):
        evaluate(truths, {1: "yes"})
    with pytest.raises(ValueError, match="no questions"):
        evaluate({}, {})


def test_imports_no_torch():
    code = "import sys, hacore_vqa.metric; print(sorted({'torch', 'numpy', 'PIL'} & set(sys.modules)))"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    process = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env
    )
    assert process.stdout == "[]\n"

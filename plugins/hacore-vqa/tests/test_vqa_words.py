"""Questions to words."""

import re
import unicodedata

import pytest
from hacore_vqa.words import UNK, WORD_RULE, split_words
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("question", "words"),
    [
        ("What color is the man's T-shirt?", "what color is the man 's t shirt"),
        ("Isn't it 5 o'clock?", "isn't it 5 o'clock"),
        ("Is it 10.5 or 1,000?", "is it 10.5 or 1,000"),
        ("Is this a 3d movie, or 2D?", "is this a 3d movie or 2d"),
        ("What's 'this'?", "what 's this"),
        ("Whose is it? The boys'.", "whose is it the boys"),
        ("Does it say \u201cSTOP\u201d?", "does it say stop"),
        ("What\u2019s the man\u2019s name", "what 's the man 's name"),
        ("it'sy", "it'sy"),
        ("Caf\u00e9 or na\u00efve?", "caf\u00e9 or na\u00efve"),
        ("Cafe\u0301 or nai\u0308ve?", "caf\u00e9 or na\u00efve"),
        ("CAFE\u0301", "caf\u00e9"),
        ("snake_case & more", "snake case more"),
        ("v1.2.3.", "v1 2.3"),
        ("???", UNK),
        ("", UNK),
    ],
)
def test_words_of_a_question(question, words):
    assert split_words(question) == words.split()


@given(st.lists(st.sampled_from(["is", "red,", "man's", "10.5", "?"]), max_size=300))
def test_questions_are_never_cut(pieces):
    expected = {"is": 1, "red,": 1, "man's": 2, "10.5": 1, "?": 0}
    assert len(split_words(" ".join(pieces))) == max(1, sum(expected[piece] for piece in pieces))


@given(st.text())
def test_every_letter_and_digit_is_kept(question):
    def kept(text):
        return [c for c in unicodedata.normalize("NFC", text.lower()) if c.isalnum()]

    words = split_words(question)
    assert words == [UNK] or kept("".join(words)) == kept(question)
    assert all(words)


@given(st.text(st.sampled_from("ab\u00dcU\u0308\u030c7.,' \u2019\t?_s-\x1c"), max_size=30))
def test_the_rule_is_the_function(question):
    text = unicodedata.normalize(WORD_RULE["normalize"], question.lower())
    for old, new in WORD_RULE["replace"].items():
        text = text.replace(old, new)
    assert (re.findall(WORD_RULE["pattern"], text) or WORD_RULE["empty"]) == split_words(question)

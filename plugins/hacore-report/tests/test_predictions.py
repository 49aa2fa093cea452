"""What predictions add up to, against plain formulas."""

import math
from collections import Counter

import pytest
from hacore_report._gallery import choose_questions
from hacore_report._predictions import by_group, by_type, confusion, mean_rows, wilson
from hypothesis import given
from hypothesis import strategies as st

from hacore.measure.predictions import Prediction, state_of


@given(st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_interval_holds_the_shares_whose_test_is_not_refused(case):
    """Wilson's bounds solve |share - p| = z sqrt(p (1 - p) / n)."""
    right, questions = case
    z, share = 1.959964, right / questions
    low, high = wilson(right, questions)
    assert 0 <= low <= share <= high <= 1
    for bound in (low, high):
        if 0 < bound < 1:
            assert abs(share - bound) == pytest.approx(
                z * math.sqrt(bound * (1 - bound) / questions), abs=1e-9
            )
    assert high - low > 0


def line(number, kind, answer, prediction, kept=3):
    score = None if answer is None else float(answer == prediction)
    return Prediction(
        id=number, image=0, type=kind, answer=answer, prediction=prediction, score=score, kept=kept
    )


def test_rows_by_type_and_of_all():
    lines = [line(0, "b", "x", "x", 2), line(1, "a", "x", "y", 4), line(2, "b", "y", "x", 6)]
    rows = by_type(lines)
    assert [(row.name, row.questions, row.accuracy, row.kept) for row in rows] == [
        ("a", 1, 0.0, 4.0),
        ("b", 2, 0.5, 4.0),
        ("all", 3, pytest.approx(1 / 3), 4.0),
    ]
    unknown = by_type([line(0, "a", None, "x")])[0]
    assert (unknown.questions, unknown.accuracy, unknown.low) == (1, None, None)


def test_groups_come_before_their_types():
    lines = [line(number, kind, "x", "x" if number % 2 else "y") for number, kind in enumerate("abcdda")]
    rows = by_group(lines, {"two": ("a", "d"), "d": ("d",), "b": ("b",), "absent": ("z",)})
    names = [(row.name, row.kind) for row in rows]
    assert names == [
        *(("b", "type"), ("c", "type")),  # a group of one type with its name is no group
        *(("two", "group"), ("a", "type"), ("d", "type"), ("all", "all")),
    ]
    two = rows[2]
    assert (two.questions, two.accuracy) == (4, 0.5)


def test_means_over_seeds_have_deviations_in_place_of_intervals():
    seeds = [by_type([line(0, "a", "x", given, kept)]) for given, kept in (("x", 2), ("y", 6))]
    for row in mean_rows(seeds):
        assert (row.accuracy, row.deviation, row.kept) == (0.5, pytest.approx(math.sqrt(0.5)), 4.0)
        assert row.low is row.high is None
    assert mean_rows(seeds[:1]) == seeds[0]


@given(
    st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from("abcdef")), min_size=1),
    st.integers(1, 7),
)
def test_confusions_count_every_question_once(pairs, most):
    table = confusion([line(i, "t", right, given) for i, (right, given) in enumerate(pairs)], most)
    assert sum(map(sum, table.counts)) == len(pairs)
    named = [label for label in table.labels if label != table.OTHER]
    assert len(named) <= most
    counted = Counter(pairs)
    for i, right in enumerate(named):
        for j, chosen in enumerate(named):
            assert table.counts[i][j] == counted[right, chosen]


def test_without_answers_there_are_no_confusions():
    assert confusion([line(0, "a", None, "x")]) is None


def test_states():
    assert [state_of(score) for score in (1.0, 0.3, 0.0, None)] == [
        *("right", "partly right", "wrong", "predicted")
    ]


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), min_size=1, max_size=80), st.integers(1, 30)
)
def test_every_type_and_outcome_is_in_a_gallery_before_any_has_many(questions, most):
    lines = [line(i, kind, "x", "x" if right else "y") for i, (kind, right) in enumerate(questions)]
    ids, _ = choose_questions([lines], most, each=8)
    assert len(ids) == len(set(ids)) <= most
    assert ids == choose_questions([lines], most, each=8)[0]
    shown, there = Counter(questions[i] for i in ids), Counter(questions)
    for kind, count in there.items():
        fair = min(count, 8)
        assert shown[kind] <= fair
        if shown[kind] < fair:  # then the page is full, and no other has got two more
            assert len(ids) == most
            assert max(shown.values()) <= shown[kind] + 1

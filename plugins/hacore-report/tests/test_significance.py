"""Intervals and p-values against plain formulas."""

import itertools
import math
import statistics

import numpy as np
import pytest
from hacore_report import _statistics
from hacore_report._statistics import bootstrap, difference, holm, p_value, seed_spread, t_quantile
from hypothesis import given, settings
from hypothesis import strategies as st


def sides(random, seeds, images, scores=(0.0, 0.3, 0.6, 1.0), theirs=None):
    """Sums of random scores of two experiments, (S, I) each, and (I,) numbers of questions."""
    questions_I = random.integers(1, 6, images)
    sums = [
        np.array([[random.choice(scores, count).sum() for count in questions_I] for _ in range(rows)])
        for rows in (seeds, theirs or seeds)
    ]
    return *sums, questions_I


def cases(least_seeds, most_seeds, images=(2, 9)):
    """Sides of a few images; of scores of 0 and 1 in half of the cases."""
    draws = (st.integers(0, 10**6), st.integers(least_seeds, most_seeds), st.integers(*images))
    return st.tuples(*draws).map(
        lambda case: sides(
            np.random.default_rng(case[0]), case[1], case[2], (0.0, 1.0) if case[0] % 2 else (0.0, 0.3, 1.0)
        )
    )


@pytest.mark.parametrize(
    ("degrees", "value"),
    [(1, 12.706204736), (2, 4.302652730), (4, 2.776445105), (30, 2.042272456), (1e9, 1.959963985)],
)
def test_students_quantiles_are_those_of_the_tables(degrees, value):
    assert t_quantile(0.975, degrees) == pytest.approx(value, rel=1e-8)


@given(st.floats(0.5, 0.999), st.sampled_from([1, 2]))
def test_students_quantiles_have_closed_forms_for_one_and_two_degrees(share, degrees):
    centred = 2 * share - 1
    closed = math.tan(math.pi * centred / 2) if degrees == 1 else centred * math.sqrt(2 / (1 - centred**2))
    assert t_quantile(share, degrees) == pytest.approx(closed, rel=1e-7, abs=1e-12)


def test_over_seeds_it_is_the_paired_t():
    ours, theirs, questions = sides(np.random.default_rng(1), 3, 12)
    total = questions.sum()
    of_seeds = [(one.sum() - other.sum()) / total for one, other in zip(ours, theirs, strict=True)]
    half = 4.302652730 * statistics.stdev(of_seeds) / math.sqrt(3)
    value = difference(ours, theirs, questions, paired=True)
    assert value.value == pytest.approx(statistics.fmean(of_seeds))
    assert value.over_seeds.low == pytest.approx(value.value - half)
    assert value.over_seeds.high == pytest.approx(value.value + half)


def test_over_seeds_that_differ_it_is_welchs_t():
    ours, theirs, questions = sides(np.random.default_rng(2), 4, 12, theirs=3)
    parts = [
        (statistics.variance(row.sum() / questions.sum() for row in side) / len(side), len(side))
        for side in (ours, theirs)
    ]
    variance = sum(part for part, _ in parts)
    spread = seed_spread(ours, theirs, questions, paired=False)
    assert spread.variance == pytest.approx(variance)
    assert spread.degrees == pytest.approx(variance**2 / sum(part**2 / (n - 1) for part, n in parts))


def test_a_side_of_one_seed_says_nothing_about_other_seeds():
    ours, theirs, questions = sides(np.random.default_rng(3), 4, 12, theirs=1)
    assert seed_spread(ours, theirs, questions, paired=False) is None
    value = difference(ours, theirs, questions, paired=False)
    assert value.over_seeds is None
    assert value.interval == value.over_images


def test_what_seeds_and_images_share_is_the_residual_of_the_two_way_table():
    """With the same number of questions for all images, Var(mean) = (MS_S - MS_E) / SI + MS_I / SI."""
    random = np.random.default_rng(4)
    seeds, images = 4, 7
    means = random.normal(0.2, 0.1, (seeds, 1)) + random.normal(0, 0.3, (1, images))
    means = means + random.normal(0, 0.05, (seeds, images))
    questions = np.full(images, 5)
    grand = means.mean()
    by_seed = sum((means[s].mean() - grand) ** 2 for s in range(seeds)) * images / (seeds - 1)
    residual = sum(
        (means[s, i] - means[s].mean() - means[:, i].mean() + grand) ** 2
        for s in range(seeds)
        for i in range(images)
    ) / ((seeds - 1) * (images - 1))
    assert by_seed > residual
    spread = seed_spread(means * 5, np.zeros((seeds, images)), questions, paired=True)
    assert spread.variance == pytest.approx(by_seed / (seeds * images))
    assert spread.beyond == pytest.approx((by_seed - residual) / (seeds * images))


def test_seeds_and_images_add_as_squares():
    random = np.random.default_rng(5)
    questions = np.full(50, 4)
    theirs = random.uniform(0, 4, (3, 50))
    ours = theirs + random.normal(0, 0.2, (1, 50)) + np.array([[0.3], [0.5], [0.4]])
    value = difference(ours, theirs, questions, paired=True)
    spread = seed_spread(ours, theirs, questions, paired=True)
    images, seeds = value.over_images, 4.302652730**2 * spread.beyond
    assert value.value - value.interval.low == pytest.approx(
        math.sqrt((value.value - images.low) ** 2 + seeds)
    )
    assert value.interval.high - value.value == pytest.approx(
        math.sqrt((images.high - value.value) ** 2 + seeds)
    )


@settings(deadline=None, max_examples=30)
@given(cases(2, 4))
def test_the_interval_holds_those_over_images_and_over_seeds(case):
    value = difference(*case, paired=True, resamples=200)
    for part in (value.over_images, value.over_seeds):
        assert value.interval.low <= part.low + 1e-12
        assert value.interval.high >= part.high - 1e-12


@pytest.mark.parametrize(
    ("images", "right", "student"), [(11, 5, 2.228138852), (12, 11, 2.200985160), (40, 24, 2.022690920)]
)
def test_the_bootstrap_of_a_share_is_binomial(images, right, student):
    """One question an image: a resample of n images of which n p are right is Binomial(n, p) / n."""
    sums = np.array([1.0] * right + [0.0] * (images - right))
    interval = bootstrap(sums, np.ones(images, int), resamples=100_000)
    below, cumulative = [], 0.0
    for count in range(images + 1):
        share = right / images
        cumulative += math.comb(images, count) * share**count * (1 - share) ** (images - count)
        below.append(cumulative)
    # The percentiles are those of Student's t with n - 1 degrees, moved out by sqrt(n / (n - 1)).
    tail = statistics.NormalDist().cdf(-student * math.sqrt(images / (images - 1)))
    low = next(count for count, share in enumerate(below) if share >= tail)
    high = next(count for count, share in enumerate(below) if share >= 1 - tail)
    assert interval.low == pytest.approx(low / images)
    assert interval.high == pytest.approx(high / images)


def test_numbers_of_equal_images_are_drawn_as_images_are(monkeypatch):
    random = np.random.default_rng(5)
    sums, questions = random.integers(-2, 3, 400).astype(float), random.integers(2, 4, 400)
    together = bootstrap(sums, questions, resamples=50_000)
    monkeypatch.setattr(_statistics, "_DRAWING", 400)
    one_by_one = bootstrap(sums, questions, resamples=50_000)
    assert together != one_by_one
    error = (one_by_one.high - one_by_one.low) / 4
    assert together.low == pytest.approx(one_by_one.low, abs=0.05 * error)
    assert together.high == pytest.approx(one_by_one.high, abs=0.05 * error)


def test_the_bootstrap_of_many_images_is_the_normal_interval_of_a_ratio():
    random = np.random.default_rng(6)
    questions = random.integers(1, 9, 3000)
    sums = random.normal(0.7, 0.1, 3000) * questions
    ratio = sums.sum() / questions.sum()
    error = math.sqrt(sum((sums - ratio * questions) ** 2)) / questions.sum()
    interval = bootstrap(sums, questions)
    assert interval.low == pytest.approx(ratio - 1.96 * error, abs=0.1 * error)
    assert interval.high == pytest.approx(ratio + 1.96 * error, abs=0.1 * error)


@settings(deadline=None, max_examples=40)
@given(cases(1, 1))
def test_the_permutation_test_is_exact(case):
    sums = (case[0] - case[1])[0].tolist()
    observed = abs(sum(sums))
    reached = [
        abs(sum(sign * value for sign, value in zip(signs, sums, strict=True))) >= observed - 1e-9
        for signs in itertools.product((1, -1), repeat=len(sums))
    ]
    assert p_value(*case, paired=True) == pytest.approx(sum(reached) / len(reached))


def test_with_one_question_an_image_it_is_the_exact_test_of_mcnemar():
    """However many images: those on which the models differ are a coin's throws."""
    ours = np.array([[1.0] * 70 + [0.0] * 45 + [1.0] * 2000])
    theirs = np.array([[0.0] * 70 + [1.0] * 45 + [1.0] * 2000])
    two_sided = 2 * sum(math.comb(115, count) for count in range(46)) / 2**115
    assert p_value(ours, theirs, np.ones(2115, int), paired=True) == pytest.approx(two_sided)


def test_drawn_signs_agree_with_all_signs(monkeypatch):
    for number in range(5):
        case = sides(np.random.default_rng(number), 1, 15)
        exact = p_value(*case, paired=True)
        with monkeypatch.context() as patch:
            patch.setattr(_statistics, "_MOST_SUMS", 0)
            drawn = p_value(*case, paired=True, resamples=20_000)
        assert drawn == pytest.approx(exact, abs=4 * math.sqrt(exact * (1 - exact) / 20_000) + 1e-4)


def test_drawn_signs_never_give_zero():
    random = np.random.default_rng(7)
    ours, theirs = random.uniform(1, 2, (1, 60)), np.zeros((1, 60))
    assert p_value(ours, theirs, np.full(60, 2), paired=True, resamples=999) == 1 / 1000


def test_a_seed_that_is_better_on_all_images_does_not_make_a_method_better():
    """Each image agrees, but one of the two seeds makes all the difference."""
    questions = np.full(200, 10)
    theirs = np.random.default_rng(8).integers(2, 8, (2, 200)).astype(float)
    ours = theirs + np.array([[2.0], [0.01]])
    one = p_value(ours.mean(0, keepdims=True), theirs.mean(0, keepdims=True), questions, paired=True)
    assert one < 1e-10
    assert p_value(ours, theirs, questions, paired=True) > 0.2


def test_with_several_seeds_each_sum_of_signs_is_moved_by_students_t():
    random = np.random.default_rng(10)
    questions = np.full(30, 5)
    theirs = random.uniform(0, 5, (3, 30))
    ours = theirs + random.normal(0.1, 0.6, (1, 30)) + np.array([[-0.1], [0.01], [0.09]])
    spread = seed_spread(ours, theirs, questions, paired=True)
    sums, draws = (ours - theirs).mean(0), 20_000
    signs = random.choice([-1, 1], (draws, 30))
    normal, chi2 = random.normal(0, 1, draws), (random.normal(0, 1, (draws, 2)) ** 2).sum(1)
    student = 150 * normal / np.sqrt(chi2 / 2)

    def share(values):
        return (np.abs(values) >= abs(sums.sum())).mean()

    expected = share(signs @ sums + math.sqrt(spread.beyond) * student)
    assert max(share(signs @ sums), share(math.sqrt(spread.variance) * student)) < expected - 0.1
    assert p_value(ours, theirs, questions, paired=True) == pytest.approx(expected, abs=0.02)


def test_p_is_at_least_that_of_the_paired_t():
    """Two seeds on few images: what the seeds add happens to be nothing, and signs alone would say 0."""
    ours = np.tile([[3.0, 1.0, 2.0], [1.0, 3.0, 2.2]], 40)
    theirs, questions = np.zeros_like(ours), np.full(120, 4)
    spread = seed_spread(ours, theirs, questions, paired=True)
    assert spread.beyond == 0
    t = ours.mean() / 4 / math.sqrt(spread.variance)
    plain = 1 - 2 * math.atan(t) / math.pi  # Student's t with one degree of freedom
    assert p_value(ours, theirs, questions, paired=True) == pytest.approx(plain, abs=0.003)


@settings(deadline=None, max_examples=30)
@given(cases(1, 4) | cases(1, 2, images=(100, 300)))
def test_swapped_sides_have_the_opposite_difference(case):
    ours, theirs, questions = case
    one = difference(ours, theirs, questions, paired=True, resamples=300)
    other = difference(theirs, ours, questions, paired=True, resamples=300)
    assert one.value == -other.value
    assert one.interval.low == pytest.approx(-other.interval.high, abs=1e-12)
    assert one.interval.high == pytest.approx(-other.interval.low, abs=1e-12)
    assert p_value(ours, theirs, questions, paired=True, resamples=300) == p_value(
        theirs, ours, questions, paired=True, resamples=300
    )


@settings(deadline=None, max_examples=30)
@given(cases(1, 4))
def test_a_model_is_as_good_as_itself(case):
    ours, _, questions = case
    value = difference(ours, ours, questions, paired=True, resamples=300)
    assert (value.value, value.interval.low, value.interval.high) == (0, 0, 0)
    assert p_value(ours, ours, questions, paired=True, resamples=300) == 1


def test_one_image_has_no_interval():
    value = difference(np.ones((3, 1)), np.zeros((3, 1)), np.ones(1, int), paired=True)
    assert (value.value, value.interval, value.over_images, value.over_seeds) == (1, None, None, None)
    assert p_value(np.ones((3, 1)), np.zeros((3, 1)), np.ones(1, int), paired=True) == 1


def test_results_depend_on_the_seed_alone_and_not_on_how_much_is_drawn_at_a_time(monkeypatch):
    case = sides(np.random.default_rng(9), 1, 30)
    first = difference(*case, paired=True, seed=3)
    assert difference(*case, paired=True, seed=3) == first
    assert difference(*case, paired=True, seed=4) != first
    monkeypatch.setattr(_statistics, "_MOST_NUMBERS", 100)
    assert difference(*case, paired=True, seed=3) == first


def test_holms_correction():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.6]) == [1.0, 1.0]
    assert holm([]) == []

"""Whether two experiments differ, from scores alone: intervals and p-values over images and over seeds.

Questions about one image are answered right or wrong together, so the unit is the image: what enters here
are sums over its questions. Letters of shapes: I images, S seeds, R resamples.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from statistics import NormalDist

import attrs
import numpy as np
import numpy.typing as npt

LEVEL = 0.95
RESAMPLES = 10_000
"""The Monte Carlo error of a bound is then 3% of the standard error of the difference."""
FEW_IMAGES = 20
"""From fewer images a bootstrap knows too little of their distribution."""
_UPPER = 0.5 + LEVEL / 2
_MOST_NUMBERS = 1 << 21  # drawn at a time: 16 MiB
_MOST_SUMS = 1 << 18  # that an exact test goes through
_DRAWING = 8  # images are drawn in the time of one number of equal images
_ROUNDING = 9  # decimals of sums that are equal but for the order in which they were added

_leggauss = functools.cache(np.polynomial.legendre.leggauss)

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@attrs.frozen(kw_only=True)
class Interval:
    """A range that holds the true difference in 95% of all cases."""

    low: float
    high: float


@attrs.frozen(kw_only=True)
class Spread:
    """What a mean over seeds owes to the seeds.

    variance: of the mean, from seed to seed. beyond: the part of it that is not also a variance from image
    to image, see ``seed_spread``. degrees: of freedom.
    """

    variance: float
    beyond: float
    degrees: float


@attrs.frozen(kw_only=True)
class Difference:
    """Of two accuracies. over_images, over_seeds: from either source alone; interval: from both.

    The intervals are None where there is only one image, over_seeds also where a side has only one seed.
    """

    value: float
    interval: Interval | None
    over_images: Interval | None
    over_seeds: Interval | None
    images: int
    questions: int

    @property
    def covers_none(self) -> bool:
        """Whether there may be no difference at all."""
        return self.interval is None or self.interval.low <= 0 <= self.interval.high


def difference(
    ours_SI: Floats,
    theirs_SI: Floats,
    questions_I: Ints,
    *,
    paired: bool,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Difference:
    """The accuracy of the first minus that of the second, with its 95% interval.

    ours_SI, theirs_SI: sums of the scores, a row for each seed. questions_I: the questions of each image,
    at least one. paired: whether rows of the same number belong together, as runs of one seed do.
    """
    sums_I, spread = ours_SI.mean(0) - theirs_SI.mean(0), seed_spread(ours_SI, theirs_SI, questions_I, paired)
    mean = float(sums_I.sum() / questions_I.sum())
    over_images = over_seeds = both = None
    if len(questions_I) > 1:
        over_images = both = bootstrap(sums_I, questions_I, resamples=resamples, seed=seed)
    if over_images and spread:
        half = t_quantile(_UPPER, spread.degrees) * math.sqrt(spread.variance)
        over_seeds = Interval(low=mean - half, high=mean + half)
        both = combined(mean, over_images, over_seeds, spread)
    return Difference(
        value=mean,
        interval=both,
        over_images=over_images,
        over_seeds=over_seeds,
        images=len(questions_I),
        questions=int(questions_I.sum()),
    )


def bootstrap(sums_I: Floats, questions_I: Ints, *, resamples: int = RESAMPLES, seed: int = 0) -> Interval:
    """The interval of sum(sums_I) / sum(questions_I) over other images: a bootstrap of whole images.

    sums_I: of each image, as differences of two models. The interval is the expanded percentile interval.
    The plain one is too narrow for few images, by the factor that a normal quantile is smaller than
    Student's and a variance over n smaller than one over n - 1; so its percentiles are moved out by these.
    Sources: Field and Welsh 2007, doi 10.1111/j.1467-9868.2007.00593.x, for whole clusters;
    Hesterberg 2015, doi 10.1080/00031305.2015.1089789, for the expansion.
    """
    images, random = len(sums_I), np.random.default_rng(seed)
    # With swapped sides the same is drawn: the first image that differs is positive.
    sign = -1.0 if (sums_I[sums_I != 0][:1] < 0).any() else 1.0
    both_I = (sign * sums_I).round(_ROUNDING) + 1j * questions_I  # one look-up gathers both sums
    kinds_M, counts_M = np.unique(both_I, return_counts=True)

    def totals(rows: int) -> npt.NDArray[np.complex128]:
        if len(kinds_M) * _DRAWING < images:
            return np.asarray(random.multinomial(images, counts_M / images, rows) @ kinds_M)
        return np.asarray(both_I.take(random.integers(0, images, (rows, images))).sum(1))

    totals_R = np.concatenate([totals(rows) for rows in _blocks(resamples, images)])
    means_R = sign * totals_R.real / totals_R.imag
    tail = NormalDist().cdf(-t_quantile(_UPPER, images - 1) * math.sqrt(images / (images - 1)))
    low, high = np.quantile(means_R, [tail, 1 - tail])
    return Interval(low=float(low), high=float(high))


def seed_spread(ours_SI: Floats, theirs_SI: Floats, questions_I: Ints, paired: bool) -> Spread | None:
    """What the difference of two means over seeds owes to the seeds; None where a side has only one.

    The variance is that of a paired t, or of Welch's t where the seeds do not belong together.

    Of the variance from seed to seed a part comes from the images: on every image one seed happens to be
    better than another, and with fewer images this averages out less. The bootstrap over images has that
    part too, as the average over seeds of one image varies with it. ``beyond`` is what remains without it,
    from the mean squares of the two-way table of seeds and images, as in reader studies: Hillis 2007,
    doi 10.1002/sim.2532. The rows of the table are the images' shares in the mean of the seed (a mean of
    ratios is linear in them up to terms of order 1 / I).
    """
    arms = [ours_SI - theirs_SI] if paired else [ours_SI, theirs_SI]
    if len(questions_I) < 2 or any(len(arm_SI) < 2 for arm_SI in arms):
        return None
    total, variances, shared = questions_I.sum(), [], 0.0
    for arm_SI in arms:
        seeds, images = arm_SI.shape
        means_S1 = arm_SI.sum(1, keepdims=True) / total
        share_SI = (arm_SI - means_S1 * questions_I) / total
        rest_SI = share_SI - share_SI.mean(0)
        variances.append(float(means_S1.var(ddof=1)) / seeds)
        shared += float((rest_SI**2).sum()) * images / ((images - 1) * (seeds - 1) * seeds)
    variance, fewest = sum(variances), min(map(len, arms)) - 1
    squares = sum(each**2 / (len(arm_SI) - 1) for each, arm_SI in zip(variances, arms, strict=True))
    return Spread(
        variance=variance,
        beyond=max(variance - shared, 0.0),
        degrees=variance**2 / squares if squares else fewest,
    )


def combined(mean: float, over_images: Interval, over_seeds: Interval, spread: Spread) -> Interval:
    """The interval over other images and other seeds.

    On either side of the mean the squares of two distances add: that of the bootstrap over images, and
    Student's t of what the seeds add. Source: Howe 1974, Journal of the American Statistical Association 69,
    page 789; Zou and Donner 2008, doi 10.1002/sim.3095. What the seeds add is a difference of two estimates,
    which two or three seeds may leave at 0 by chance, so the interval is at least that over seeds alone.

    One t for the sum of the variances, with Satterthwaite's degrees of freedom, covers less than it says:
    where the spread of a few seeds happens to be small, it takes this for knowledge. In simulations with
    normal effects of all proportions (benchmarks/intervals.py) it covers as little as 88% with two seeds, 92%
    with three and 94% with five. This one covers 95 to 99%, 95 to 99% and 95 to 98%.
    """
    square = t_quantile(_UPPER, spread.degrees) ** 2 * spread.beyond
    below, above = mean - over_images.low, over_images.high - mean
    return Interval(
        low=min(mean - math.sqrt(below**2 + square), over_seeds.low),
        high=max(mean + math.sqrt(above**2 + square), over_seeds.high),
    )


def p_value(
    ours_SI: Floats,
    theirs_SI: Floats,
    questions_I: Ints,
    *,
    paired: bool,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> float:
    """How often a difference as large or larger comes about, in either direction, if there is none.

    Permuted are the images: in each, which side is which, so that the difference has one sign or the other.
    That is exact (all sums of signs, with their probabilities) where these are few enough to go through;
    else ``resamples`` are drawn and p is (b + 1) / (n + 1), never 0: Phipson and Smyth 2010,
    doi 10.2202/1544-6115.1585.

    Signs of images say nothing about other seeds, since a seed is good or bad on all images at once, and
    permuting whole seeds gives no p below 2 ** (1 - S). So with several seeds every sum of signs is moved
    by a draw of Student's t, as large as what the seeds add to the variance; and as with the interval, p is
    at least that of Student's t over the seeds alone, from the same draws.
    """
    sums_I, spread = ours_SI.mean(0) - theirs_SI.mean(0), seed_spread(ours_SI, theirs_SI, questions_I, paired)
    observed = abs(float(sums_I.sum())) - 10.0 ** (3 - _ROUNDING)  # equal sums count as equal
    sizes_M, counts_M = np.unique(np.abs(sums_I).round(_ROUNDING), return_counts=True)
    sizes_M, counts_M = sizes_M[sizes_M > 0], counts_M[sizes_M > 0]
    exact = None if spread else _sign_sums(sizes_M, counts_M)
    if exact:
        values, chances = exact
        return min(1.0, float(chances[np.abs(values) >= observed].sum()))
    random, total = np.random.default_rng(seed), float(questions_I.sum())
    by_images = by_seeds = 0
    for rows in _blocks(resamples, len(sizes_M)):
        sums_R = (2 * random.binomial(counts_M, 0.5, (rows, len(sizes_M))) - counts_M) @ sizes_M
        if spread:
            student_R = total * random.standard_t(spread.degrees, rows)
            sums_R += math.sqrt(spread.beyond) * student_R
            by_seeds += int((np.abs(math.sqrt(spread.variance) * student_R) >= observed).sum())
        by_images += int((np.abs(sums_R) >= observed).sum())
    return (max(by_images, by_seeds) + 1) / (resamples + 1)


def holm(p: Sequence[float]) -> list[float]:
    """The p-values of a family of tests, such that one wrong among all is as rare as they say.

    Source: Holm 1979, Scandinavian Journal of Statistics 6, page 65.
    """
    adjusted, largest = [0.0] * len(p), 0.0
    for rank, place in enumerate(sorted(range(len(p)), key=lambda place: p[place])):
        largest = max(largest, min(1.0, (len(p) - rank) * p[place]))
        adjusted[place] = largest
    return adjusted


def t_quantile(share: float, degrees: float) -> float:
    """The value below which Student's t lies with this probability, at least 0.5; degrees: at least 1."""
    value = NormalDist().inv_cdf(share)
    if degrees > 1e7 or value == 0:
        return value
    nodes, weights = _leggauss(80)
    factor = math.exp(math.lgamma((degrees + 1) / 2) - math.lgamma(degrees / 2)) / math.sqrt(math.pi)
    # Newton's steps from the normal quantile only grow towards the value, as the density falls.
    for _ in range(100):
        angle = math.atan(value / math.sqrt(degrees))  # over which the density is a power of a cosine
        powers = np.cos(angle / 2 * (nodes + 1)) ** (degrees - 1)
        below = 0.5 + factor * angle / 2 * float(weights @ powers)
        density = factor / math.sqrt(degrees) * math.cos(angle) ** (degrees + 1)
        step = (share - below) / density
        value += step
        if abs(step) < 1e-12 * value:
            break
    return value


def _sign_sums(sizes_M: Floats, counts_M: Ints) -> tuple[Floats, Floats] | None:
    """All sums of +-sizes, each size as often as it counts, and their chances; None if they are too many.

    Equal sums are merged as they arise, so scores of 0 and 1 have few whatever the number of images.
    """
    values, chances = np.zeros(1), np.ones(1)
    for size, count in zip(sizes_M.tolist(), counts_M.tolist(), strict=True):
        if len(values) * (count + 1) > _MOST_SUMS:
            return None
        plus = np.arange(count + 1)
        ratios = np.log((count - plus[1:] + 1) / plus[1:])
        binomial = np.exp(np.concatenate([[0.0], ratios.cumsum()]) - count * math.log(2))
        sums = (values[:, None] + size * (2 * plus - count)).ravel().round(_ROUNDING)
        values, places = np.unique(sums, return_inverse=True)
        chances = np.bincount(places.ravel(), (chances[:, None] * binomial).ravel()).astype(np.float64)
    return values, chances


def _blocks(rows: int, width: int) -> Iterator[int]:
    """Numbers of rows, so that no block of them is large."""
    most = max(1, _MOST_NUMBERS // max(width, 1))
    for start in range(0, rows, most):
        yield min(most, rows - start)

"""Of 200 simulated comparisons whose true difference is known, 91 to 98% of the intervals cover it.

Questions about an image are answered alike: each image has an effect on all models, one on each of the two
methods, and one on each trained model, and each seed has an effect on its model. All are normal on the scale
of logits. The true difference is that of the expectations over all images and all seeds.
"""

import math

import numpy as np
import pytest
from hacore_report._statistics import difference

SIMULATIONS = 200
LOGITS = (1.3, 0.9)
IMAGE, METHOD, MODEL = 1.0, 0.8, 0.4  # deviations of the effects of an image


def true_difference(of_seeds):
    nodes, weights = np.polynomial.hermite_e.hermegauss(100)
    deviation = math.sqrt(IMAGE**2 + METHOD**2 + MODEL**2 + of_seeds**2)
    better, worse = (
        (weights / (1 + np.exp(-(logit + deviation * nodes)))).sum() / weights.sum() for logit in LOGITS
    )
    return better - worse


def simulated(random, images, seeds, of_seeds):
    """Scores of the questions, (S, Q) of either method, and (Q,) the image of each."""
    image_Q = np.repeat(np.arange(images), random.integers(5, 16, images))
    shared_I = random.normal(0, IMAGE, images)
    scores = []
    for logit in LOGITS:
        effect_SI = logit + shared_I + random.normal(0, METHOD, images)
        effect_SI = effect_SI + random.normal(0, MODEL, (seeds, images))
        effect_SI = effect_SI + random.normal(0, of_seeds, (seeds, 1))
        right_SI = 1 / (1 + np.exp(-effect_SI))
        scores.append((random.random((seeds, len(image_Q))) < right_SI[:, image_Q]).astype(float))
    return scores, image_Q


def over_images(scores, image_Q, paired=True):
    sums = [np.array([np.bincount(image_Q, row) for row in side]) for side in scores]
    return difference(*sums, np.bincount(image_Q), paired=paired, resamples=2000)


def covered(intervals, value):
    return sum(low <= value <= high for low, high in intervals) / len(intervals)


def test_one_seed_over_images_and_not_over_questions():
    random, ours, naive = np.random.default_rng(0), [], []
    for _ in range(SIMULATIONS):
        scores, image_Q = simulated(random, images=100, seeds=1, of_seeds=0.0)
        interval = over_images(scores, image_Q).interval
        ours.append((interval.low, interval.high))
        differences_Q = scores[0][0] - scores[1][0]
        half = 1.96 * differences_Q.std(ddof=1) / math.sqrt(len(differences_Q))
        naive.append((differences_Q.mean() - half, differences_Q.mean() + half))
    assert 0.91 <= covered(ours, true_difference(0.0)) <= 0.98
    assert covered(naive, true_difference(0.0)) < 0.9  # as if questions were independent


@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize("paired", [True, False])
def test_several_seeds_over_images_and_seeds(seeds, paired):
    of_seeds = 0.25
    random, both, images_alone = np.random.default_rng(seeds), [], []
    for _ in range(SIMULATIONS):
        scores, image_Q = simulated(random, images=100, seeds=seeds, of_seeds=of_seeds)
        value = over_images(scores, image_Q, paired)
        both.append((value.interval.low, value.interval.high))
        images_alone.append((value.over_images.low, value.over_images.high))
    assert 0.91 <= covered(both, true_difference(of_seeds)) <= 0.98
    assert covered(images_alone, true_difference(of_seeds)) < 0.9  # as if there were no other seeds

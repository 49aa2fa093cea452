"""How often intervals of a difference cover it, by how images and seeds are combined, and what they cost.

    python benchmarks/intervals.py
    python benchmarks/intervals.py --draws 1000 --questions 2000      # does the program work?

Coverage: the difference of two methods on an image with a seed is the sum of normal effects of the image, of
the seed, and of both. Over 100 images, each way of combining gives a 95% interval of the mean. The table has
the least and the largest share of intervals that cover the true difference, over 48 ratios of the variances
that the mean owes to each: 1 to the images, 0 to 100 to the seeds, 0.01 to 10 to both.

    images         Student's t over images alone
    seeds          Student's t over seeds alone
    wider          the wider of these two
    Satterthwaite  the variances added, one t with Satterthwaite's degrees of freedom
    squares        the squares of both half-widths added, what they share taken off, at least that over seeds:
                   what hacore compare does

Cost: made-up scores of as many questions as the validation split of VQA v2 has, of 65 types, about 40,504
images; three seeds of either side. One thread, without reading files, time of the processor.
"""

from __future__ import annotations

import argparse
import itertools
import platform
import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from hacore_report._statistics import difference, p_value, t_quantile
from rich.console import Console
from rich.table import Table

IMAGES = 100
SEED_VARIANCES = (0.0, 0.01, 0.1, 0.3, 1.0, 3.0, 10.0, 100.0)
BOTH_VARIANCES = (0.01, 0.1, 0.3, 1.0, 3.0, 10.0)
VQA_IMAGES, VQA_TYPES = 40_504, 65

Floats = npt.NDArray[np.float64]


def quantiles(degrees: Floats) -> Floats:
    """Student's 97.5% quantiles, interpolated."""
    known = np.concatenate([np.linspace(1, 10, 91), np.geomspace(10.1, 1e6, 100)])
    return np.interp(degrees, known, [t_quantile(0.975, each) for each in known])


def covered(
    random: np.random.Generator, seeds: int, seed: float, both: float, draws: int
) -> dict[str, float]:
    """The share of intervals that cover the truth, by the way of combining.

    seed, both: variances that the mean owes to the seeds, and to what is particular to an image and a seed;
    that of the images is 1. Of normal effects the mean and the three mean squares are independent, so they
    are drawn directly.
    """
    free = (IMAGES - 1) * (seeds - 1)
    error2 = random.normal(0, np.sqrt(1 + seed + both), draws) ** 2
    of_images = (1 + both) * random.chisquare(IMAGES - 1, draws) / (IMAGES - 1)
    of_seeds = (seed + both) * random.chisquare(seeds - 1, draws) / (seeds - 1)
    shared = both * random.chisquare(free, draws) / free
    of_images_alone = np.maximum(of_images - shared, 0)
    added = of_seeds + of_images_alone
    degrees = added**2 / (of_seeds**2 / (seeds - 1) + of_images_alone**2 / (IMAGES - 1))
    t2_images, t2_seeds = t_quantile(0.975, IMAGES - 1) ** 2, t_quantile(0.975, seeds - 1) ** 2
    squares = t2_seeds * np.maximum(of_seeds - shared, 0) + t2_images * of_images
    half2 = {
        "images": t2_images * of_images,
        "seeds": t2_seeds * of_seeds,
        "wider": np.maximum(t2_images * of_images, t2_seeds * of_seeds),
        "Satterthwaite": quantiles(degrees) ** 2 * added,
        "squares": np.maximum(squares, t2_seeds * of_seeds),
    }
    return {way: float((error2 <= each).mean()) for way, each in half2.items()}


def cost(questions: int) -> list[tuple[str, float]]:
    """Seconds of the parts of a comparison, each over all questions and over those of every type."""
    random = np.random.default_rng(0)
    image_Q = random.integers(0, min(VQA_IMAGES, questions // 2), questions)
    type_Q = random.integers(0, VQA_TYPES, questions)
    sides = [random.choice([0.0, 0.3, 0.6, 0.9, 1.0], (3, questions)) for _ in range(2)]
    rows = []
    functions: list[tuple[str, Callable[..., object]]] = [("interval", difference), ("p-value", p_value)]
    for name, function in functions:
        for what, masks in (
            ("all questions", [np.ones(questions, bool)]),
            (f"{VQA_TYPES} types", [type_Q == number for number in range(VQA_TYPES)]),
        ):
            start = time.process_time()
            for mask in masks:
                _, place, counts = np.unique(image_Q[mask], return_inverse=True, return_counts=True)
                sums = [np.array([np.bincount(place, row[mask]) for row in side]) for side in sides]
                function(*sums, counts, paired=True)
            rows.append((f"{name}, {what}", time.process_time() - start))
    return rows


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--draws", type=int, default=100_000, help="simulations of each ratio of variances")
    parser.add_argument("--questions", type=int, default=214_354)
    arguments = parser.parse_args()
    random, console = np.random.default_rng(0), Console()
    ways = list(covered(random, 2, 1.0, 1.0, 10))
    table = Table("seeds", *ways, title="covered, %: least and most", box=None)
    for seeds in (2, 3, 5, 10):
        shares = [
            covered(random, seeds, *variances, arguments.draws)
            for variances in itertools.product(SEED_VARIANCES, BOTH_VARIANCES)
        ]
        cells = ([100 * share[way] for share in shares] for way in ways)
        table.add_row(str(seeds), *(f"{min(cell):.1f} to {max(cell):.1f}" for cell in cells))
    console.print(table)
    times = Table("part", "seconds", title=f"\n{arguments.questions:,} questions", box=None)
    for name, seconds in cost(arguments.questions):
        times.add_row(name, f"{seconds:.2f}")
    console.print(times)
    console.print(f"\n{platform.processor() or platform.machine()}, one thread, numpy {np.__version__}")


if __name__ == "__main__":
    main()

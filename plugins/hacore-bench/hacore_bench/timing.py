"""Rounds of work in which the models take turns, until there are enough of them or the time is up."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

import attrs
import torch

from hacore.data import Batch
from hacore.errors import HacoreError
from hacore_bench.matrix import MatrixProduct
from hacore_bench.subject import OWN
from hacore_bench.work import Work

WARM_UP = 3
FEWEST = 3
PRODUCTS = 5
Key = tuple[str, str, str]
"""Model, part and pass."""


@attrs.frozen(kw_only=True)
class Limits:
    """Of the rounds with one size of batch: seconds are those of the clock on the wall, after the warm-up."""

    repeats: int
    seconds: float


@attrs.frozen(kw_only=True)
class Timing:
    """Seconds by model, part and pass, one a round; those of the matrix product; and what did not fit."""

    seconds: dict[Key, list[float]]
    product: list[float]
    notes: list[str]

    def add(self, other: Timing) -> None:
        """What was timed of other models."""
        self.seconds.update(other.seconds)
        self.product.extend(other.product)
        self.notes.extend(other.notes)


def time_rounds(
    works: Mapping[str, Work],
    batches: Mapping[str, Sequence[Batch]],
    product: MatrixProduct,
    limits: Limits,
    progress: Callable[[int], None],
) -> Timing:
    """Time all work of the models in turns; each round takes the next batch, the same for all.

    At least ``FEWEST`` rounds, whatever they take. A model that does not fit the memory is left out with a
    note. Raises HacoreError where that is the model itself.
    """
    timing = Timing(seconds={}, product=[product.seconds() for _ in range(PRODUCTS)], notes=[])
    left = dict(works)
    _warm_up(left, batches, limits, timing.notes)
    started = time.monotonic()
    for number in range(max(limits.repeats, FEWEST)):
        if number >= FEWEST and time.monotonic() - started > limits.seconds:
            break
        for name in list(left)[:: 1 - 2 * (number % 2)]:  # each is the first in every other round
            batch = batches[name][number % len(batches[name])]
            left[name].forward(batch)  # not timed: the caches are as the other model left them
            for (part, way), seconds in left[name].all(batch).items():
                timing.seconds.setdefault((name, part, way), []).append(seconds)
        progress(number + 1)
    timing.product.extend(product.seconds() for _ in range(PRODUCTS))
    return timing


def _warm_up(
    works: dict[str, Work], batches: Mapping[str, Sequence[Batch]], limits: Limits, notes: list[str]
) -> None:
    """Rounds that do not count, at least two; takes out what does not fit."""
    started = 0.0
    for number in range(WARM_UP):
        for name in list(works):
            try:
                works[name].all(batches[name][number % len(batches[name])])
            except RuntimeError as error:
                if not out_of_memory(error):
                    raise
                notes.append(_too_large(name, len(batches[name][0])))
                if name == OWN:
                    raise HacoreError(notes[-1]) from error
                del works[name]
        if number == 0:  # which compiles, and tries which algorithm is fast
            started = time.monotonic()
        elif time.monotonic() - started > limits.seconds / 4:
            break


def out_of_memory(error: RuntimeError) -> bool:
    """Whether the device, or the machine, had no memory left for a tensor."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def _too_large(name: str, questions: int) -> str:
    model = "the model" if name == OWN else f"the model with {name}"
    return f"{model} does not fit the memory with {questions} questions at once; choose a smaller --batch"

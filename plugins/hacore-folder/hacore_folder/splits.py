"""Which questions are for training, by what the table says or by shares of the pictures."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from hacore.errors import DataError
from hacore_folder.questions import SPLITS

TRAIN, VAL = SPLITS.index("train"), SPLITS.index("val")
Splits = npt.NDArray[np.int8]


def split_questions(
    given: Splits, image: npt.NDArray[np.int64], names: Sequence[str], shares: Sequence[float], seed: int
) -> Splits:
    """(Q,) the split of each question, as a place in ``SPLITS``.

    given: (Q,) what the table says, -1 everywhere where it says nothing: then the pictures are divided by the
    shares. Where the table has a split train and none val, pictures of train are divided between both, by
    their shares. image: (Q,) rows of ``names``. The questions about a picture stay together, and a picture
    that is added later moves hardly any other: pictures are ordered by a digest of seed and name.
    DataError where there are fewer pictures than splits, or no question is for training.
    """
    divided = given < 0
    wanted = np.array(shares, np.float64)
    if not divided.any():
        if not (given == TRAIN).any():
            raise DataError("no question is in split train; write it into the column split")
        if (given == VAL).any() or not shares[VAL]:
            return given
        divided = given == TRAIN
        wanted = np.where(np.isin(np.arange(len(SPLITS)), (TRAIN, VAL)), wanted, 0)
    rows = np.unique(image[divided])
    counts = _counts(len(rows), wanted / wanted.sum())
    order = sorted(rows.tolist(), key=lambda row: _digest(seed, names[row]))
    of_image = np.full(len(names), -1, np.int8)
    of_image[order] = np.repeat(np.arange(len(SPLITS)), counts)
    split: Splits = np.where(divided, of_image[image], given).astype(np.int8)
    return split


def _counts(images: int, shares: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """How many images each split gets: at least one for each share above 0, all others as near as can be."""
    needed = shares > 0
    if images < needed.sum():
        raise DataError(
            f"{images} pictures cannot be divided into {needed.sum()} splits; add pictures, set a share of "
            "data.shares to 0, or write a column split"
        )
    counts = np.maximum(np.floor(images * shares + 1e-9).astype(np.int64), needed)
    while counts.sum() != images:
        # One more to the split that lacks most, or one less of the one that has most above its share.
        step = 1 if counts.sum() < images else -1
        lacking = step * (images * shares - counts)
        lacking[~needed | (counts + step < 1)] = -np.inf
        counts[int(lacking.argmax())] += step
    return counts


def _digest(seed: int, name: str) -> bytes:
    return hashlib.sha256(f"{seed} {name}".encode("utf-8", "surrogateescape")).digest()

"""Questions for the attributes of single objects, as the scenes tell them, to train an encoder beforehand.

Imports no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from hacore.data import UNKNOWN, Questions
from hacore_clevr.domain import ANSWERS, ATTRIBUTES

TYPES = (*(f"query_{attribute}" for attribute in ATTRIBUTES), "exist")
"""One question type for each attribute, and one for whether there is an object at all; named as the last
function of a program that asks for it."""

_WORDS = (*ATTRIBUTES, "object")
_FIRST_ANSWER = np.array([ANSWERS.index(values[0]) for values in ATTRIBUTES.values()], np.int64)
"""The answer that names the first value of each attribute; the others follow in order."""

APART = 1 / 16
"""How far an empty place is from each object's middle at least, across or down, as a share of the side."""


def empty_places(middle_IO2: npt.NDArray[np.floating[Any]], count: int) -> npt.NDArray[np.float32]:
    """(I, count, 2): places in the unit square at which no object has its middle, every second of them beside
    one: at most twice ``APART`` away each way. Not a number where a place, drawn at random, had one too near.

    middle_IO2: not a number where an image has fewer than O objects. The same data, the same places.
    """
    random = np.random.default_rng(0)
    drawn_IE3 = random.random((len(middle_IO2), count, 3))
    objects_I1 = np.isfinite(middle_IO2[..., 0]).sum(1, keepdims=True)
    nearest_IE1 = (drawn_IE3[..., 2] * objects_I1).astype(np.int64)[..., None]
    beside_IE2 = np.take_along_axis(middle_IO2, nearest_IE1, 1) + 2 * APART * (2 * drawn_IE3[..., :2] - 1)
    place_IE2 = np.where(np.arange(count)[:, None] % 2, beside_IE2, drawn_IE3[..., :2])
    distance_IEO = np.abs(place_IE2[:, :, None] - middle_IO2[:, None]).max(-1)
    wrong_IE = (distance_IEO < APART).any(2) | ((place_IE2 < 0) | (place_IE2 >= 1)).any(2)
    return np.where(wrong_IE[..., None], np.nan, place_IE2).astype(np.float32)


def attribute_questions(
    attributes_IOA: npt.NDArray[np.int8],
    place_IP2: npt.NDArray[np.float32],
    word_index: Mapping[str, int],
) -> tuple[Questions, npt.NDArray[np.bool_]]:
    """For each object of each image one question an attribute, and (Q, P) which place each is about.

    A question has one word, the attribute's name, and does not say which object is meant: that is for a
    selector that is told, an oracle. attributes_IOA: indices into the values of ``domain.ATTRIBUTES``, -1
    where an image has no such object. place_IP2: the middles of these objects, and after them empty places,
    not a number where there is none. With empty places each object, and each of them, is also asked for being
    one, in the word "object": yes or no.
    """
    objects = attributes_IOA.shape[1]
    image, place, kind = np.nonzero(attributes_IOA >= 0)
    answer = _FIRST_ANSWER[kind] + attributes_IOA[image, place, kind]
    if place_IP2.shape[1] > objects:
        at_image, at_place = np.nonzero(np.isfinite(place_IP2[..., 0]))
        there = np.where(at_place < objects, ANSWERS.index("yes"), ANSWERS.index("no"))
        image, place, answer = (
            np.concatenate(pair) for pair in ((image, at_image), (place, at_place), (answer, there))
        )
        kind = np.concatenate([kind, np.full(len(at_image), TYPES.index("exist"))])
    order = np.argsort(image, kind="stable")
    image, place, kind, answer = image[order], place[order], kind[order], answer[order]
    words = np.array([word_index.get(name, UNKNOWN) for name in _WORDS], np.uint16)
    questions = Questions(
        words=words[kind],
        offsets=np.arange(len(image) + 1),
        image=image,
        answer=answer,
        type=kind,
        ids=np.arange(len(image)),
    )
    return questions, place[:, None] == np.arange(place_IP2.shape[1])

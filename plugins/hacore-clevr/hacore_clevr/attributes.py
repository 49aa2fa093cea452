"""Questions for the attributes of single objects, as the scenes tell them, to train an encoder beforehand.

Imports no torch.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from hacore.data import UNKNOWN, Questions
from hacore_clevr.domain import ANSWERS, ATTRIBUTES

TYPES = tuple(f"query_{attribute}" for attribute in ATTRIBUTES)
"""One question type for each attribute, named as the last function of a program that asks for it."""

_FIRST_ANSWER = np.array([ANSWERS.index(values[0]) for values in ATTRIBUTES.values()], np.int64)
"""The answer that names the first value of each attribute; the others follow in order."""


def attribute_questions(
    attributes_IOA: npt.NDArray[np.int8], word_index: Mapping[str, int]
) -> tuple[Questions, npt.NDArray[np.bool_]]:
    """For each object of each image one question an attribute, and (Q, O) which object each is about.

    A question has one word, the attribute's name, and does not say which object is meant: that is for a
    selector that is told, an oracle. attributes_IOA: indices into the values of ``domain.ATTRIBUTES``, -1
    where an image has no such object.
    """
    image, thing, attribute = np.nonzero(attributes_IOA >= 0)
    words = np.array([word_index.get(name, UNKNOWN) for name in ATTRIBUTES], np.uint16)
    questions = Questions(
        words=words[attribute],
        offsets=np.arange(len(image) + 1),
        image=image,
        answer=_FIRST_ANSWER[attribute] + attributes_IOA[image, thing, attribute],
        type=attribute,
        ids=np.arange(len(image)),
    )
    return questions, thing[:, None] == np.arange(attributes_IOA.shape[1])

"""The six kinds of question, their wording and their answers.

Santoro et al. 2017 (arXiv 1706.01427), appendix D. There a question is a vector of 11 bits; here it is
an English sentence, one wording a kind, that names one colour.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from hacore_sort_of_clevr import Closest
from hacore_sort_of_clevr.scenes import (
    COLOURS,
    SHAPES,
    SIZE,
    Bytes,
    Ints,
    SceneObject,
    ambiguous,
    nearest_and_furthest,
)

WORDINGS = {
    "shape": "what is the shape of the {} object ?",
    "left": "is the {} object on the left ?",
    "top": "is the {} object at the top ?",
    "closest": "what is the shape of the object closest to the {} object ?",
    "furthest": "what is the shape of the object furthest from the {} object ?",
    "count": "how many objects have the shape of the {} object ?",
}
TYPES = tuple(WORDINGS)
GROUPS = {"non-relational": TYPES[:3], "relational": TYPES[3:]}
ANSWERS = ("yes", "no", *SHAPES, "1", "2", "3", "4", "5", "6")

_SENTENCES = [[wording.format(colour).split() for colour in COLOURS] for wording in WORDINGS.values()]
VOCABULARY = ("<pad>", "<unk>", *sorted({word for row in _SENTENCES for words in row for word in words}))

_INDEX = {word: index for index, word in enumerate(VOCABULARY)}
_LENGTHS = np.array([len(row[0]) for row in _SENTENCES])
_WORDS = np.zeros((len(TYPES), len(COLOURS), _LENGTHS.max()), np.uint8)
for _type, _row in enumerate(_SENTENCES):
    for _colour, _words in enumerate(_row):
        _WORDS[_type, _colour, : len(_words)] = [_INDEX[_word] for _word in _words]


def word_columns(types: Ints, colours: Ints) -> tuple[Bytes, Ints]:
    """Words end to end and (Q + 1,) offsets of the questions with these types and colours, (Q,) each."""
    lengths = _LENGTHS[types]
    inside = np.arange(_WORDS.shape[-1]) < lengths[:, None]
    return _WORDS[types, colours][inside], np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def answer_table(scenes: Ints, closest: Closest = "other") -> Ints:
    """(I, O, 3) scenes -> (I, 6 types, O): the answer to each type of question about each object.

    "left" and "top" ask for the half of the image the centre is in; "count" counts the object too.
    closest: see ``nearest_and_furthest``.
    """
    yes, no, one = ANSWERS.index("yes"), ANSWERS.index("no"), ANSWERS.index("1")
    shape = scenes[..., 0]
    shape_answer = np.array([ANSWERS.index(name) for name in SHAPES])[shape]
    nearest, furthest = nearest_and_furthest(scenes, closest)
    same = (shape[:, :, None] == shape[:, None, :]).sum(-1)
    columns = {
        "shape": shape_answer,
        "left": np.where(scenes[..., 1] < SIZE / 2, yes, no),
        "top": np.where(scenes[..., 2] < SIZE / 2, yes, no),
        "closest": np.take_along_axis(shape_answer, nearest.argmax(-1), 1),
        "furthest": np.take_along_axis(shape_answer, furthest.argmax(-1), 1),
        "count": one - 1 + same,
    }
    return np.stack([columns[name] for name in TYPES], 1)


def relevant_table(scenes: Ints, closest: Closest = "other") -> npt.NDArray[np.bool_]:
    """(I, O, 3) scenes -> (I, 6 types, O, O): which objects each type of question about each object is about.

    The object that is named, and those by which the question is answered: the closest or furthest, or all
    of its shape. closest: see ``nearest_and_furthest``.
    """
    shape = scenes[..., 0]
    nearest, furthest = nearest_and_furthest(scenes, closest)
    named = np.broadcast_to(np.eye(scenes.shape[1], dtype=bool), nearest.shape)
    tables = {
        "closest": named | nearest,
        "furthest": named | furthest,
        "count": shape[:, :, None] == shape[:, None, :],
    }
    return np.stack([tables.get(name, named) for name in TYPES], 1)


def answer(scene: Sequence[SceneObject], question_type: str, colour: str, closest: Closest = "other") -> str:
    """The answer to one question about a scene of 2 to 6 objects of different colours.

    closest: as the option of the dataset. ValueError for a type or colour that is not there, and for a scene
    in which objects of different shapes tie as some object's closest or furthest.
    """
    colours = [thing.colour for thing in scene]
    if question_type not in TYPES:
        raise ValueError(f"no question type {question_type!r}; the types are {', '.join(TYPES)}")
    if colour not in colours:
        raise ValueError(f"no {colour!r} object in the scene; its colours are {', '.join(colours)}")
    rows = np.array([[[SHAPES.index(thing.shape), thing.x, thing.y] for thing in scene]], np.int64)
    if ambiguous(rows)[0]:
        raise ValueError("objects of different shapes tie for closest or furthest; move one of them")
    return ANSWERS[answer_table(rows, closest)[0, TYPES.index(question_type), colours.index(colour)]]


def sample_questions(bits: np.random.PCG64, scenes: Ints, count: int) -> Bytes:
    """(I, 6, 3) scenes -> (I, count, 3): type, colour and answer of each question of each image.

    The first half is non-relational, the second relational. Each half is drawn from its 18 possible
    questions (3 types, 6 colours) without repetition, where the original may ask the same twice.
    """
    images, half = len(scenes), len(TYPES) // 2
    keys = bits.random_raw((images, 2, half * len(COLOURS)))
    chosen = np.argsort(keys, axis=-1, kind="stable")[:, :, : count // 2]
    kind = np.array([0, half])[:, None]
    types = (chosen // len(COLOURS) + kind).reshape(images, count)
    colours = (chosen % len(COLOURS)).reshape(images, count)
    return with_answers(np.stack([types, colours], -1), scenes)


def with_answers(questions: Ints | Bytes, scenes: Ints, closest: Closest = "other") -> Bytes:
    """(I, Q, 2 or 3) questions, type and colour first, about (I, 6, 3) scenes -> (I, Q, 3) with answers."""
    types, colours = questions[..., 0], questions[..., 1]
    answers = answer_table(scenes, closest)[np.arange(len(scenes))[:, None], types, colours]
    return np.stack([types, colours, answers], -1).astype(np.uint8)

"""Questions about scenes, balanced over families and answers, in the official format.

Images are taken in blocks. Each block has its own counters and its own stream of random numbers, so that
it depends on the seed, the split, its number and its scenes alone: any number of workers gives the same
questions. As in the public generator, the family used least so far is tried first, and an answer that a
family has given more often than its other answers is not given again before they catch up.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, groupby
from typing import Any

from hacore_clevr.domain import ANSWERS
from hacore_clevr.generate.choices import Choices
from hacore_clevr.generate.search import Constants, Instance, Plan, Search, plan
from hacore_clevr.generate.stream import Stream
from hacore_clevr.generate.templates import Template
from hacore_clevr.generate.wording import fitting, word
from hacore_clevr.programs import World

BLOCK = 64
"""Images per block: block b holds the images numbered 64 b to 64 b + 63."""

Question = dict[str, Any]

_ROUNDS = 3
_REWORDINGS = 4
_ABOVE_SECOND, _ABOVE_MEDIAN, _LEAST_MEDIAN = 1.1, 5, 5


def make_questions(
    scenes: Sequence[Mapping[str, Any]],
    count_per_image: int,
    seed: int,
    split: str,
    templates: Sequence[Template],
) -> list[Question]:
    """Questions about the scenes of a split, in order, numbered from 0.

    scenes: official ones, in the order of ``image_index``. An image that cannot be asked
    ``count_per_image`` different questions is asked fewer. ValueError names a scene that is not one.
    """
    blocks = groupby(scenes, key=lambda scene: scene["image_index"] // BLOCK)
    questions = (
        make_block(
            list(some), count=count_per_image, seed=seed, split=split, block=block, templates=templates
        )
        for block, some in blocks
    )
    return list(numbered(questions))


def numbered(blocks: Iterable[Iterable[Question]]) -> Iterator[Question]:
    """The questions of all blocks, in order, with ``question_index`` counting from 0."""
    for index, question in enumerate(chain.from_iterable(blocks)):
        question["question_index"] = index
        yield question


def make_block(
    scenes: Sequence[Mapping[str, Any]],
    *,
    count: int,
    seed: int,
    split: str,
    block: int,
    templates: Sequence[Template],
) -> list[Question]:
    """Questions about the scenes of one block, ``question_index`` counting from 0; see ``numbered``.

    count: questions per image. block: number of the block, ``image_index // BLOCK`` of its scenes.
    """
    stream = Stream(seed, split, block)
    balance = Balance([plan(template) for template in templates], stream)
    questions: list[Question] = []
    for scene in scenes:
        for family, instance, text in _ask(scene, count, balance, stream):
            questions.append(
                _question(scene, split, templates[family].family, instance, text, len(questions))
            )
    return questions


class Balance:
    """How often families and their answers have been used in a block."""

    def __init__(self, plans: Sequence[Plan], stream: Stream) -> None:
        self.plans = plans
        self._families = [0] * len(plans)
        self._answers = [dict.fromkeys(plan.answers, 0) for plan in plans]
        # Among answers used equally often the likelier one wins; it must not be the winner of every block.
        for counts in self._answers:
            counts[stream.choice(list(counts))] += 1
        self._allowed = [_allowed(counts) for counts in self._answers]

    def order(self, stream: Stream) -> list[int]:
        """Families by how often they were used, ties in a random order."""
        order = list(range(len(self.plans)))
        stream.shuffle(order)
        order.sort(key=self._families.__getitem__)
        return order

    def allowed(self, family: int) -> frozenset[str]:
        """The answers that a family may give now."""
        return self._allowed[family]

    def add(self, family: int, answer: str) -> None:
        """Count a question."""
        self._families[family] += 1
        self._answers[family][answer] += 1
        self._allowed[family] = _allowed(self._answers[family])


def _allowed(counts: Mapping[str, int]) -> frozenset[str]:
    ranked = sorted(counts.values())
    most = min(_ABOVE_SECOND * ranked[-2], _ABOVE_MEDIAN * max(ranked[len(ranked) // 2], _LEAST_MEDIAN))
    return frozenset(answer for answer, count in counts.items() if count <= most)


def _ask(
    scene: Mapping[str, Any], count: int, balance: Balance, stream: Stream
) -> list[tuple[int, Instance, str]]:
    """(family, instance, text) of the questions about a scene; a family twice only when all were tried."""
    try:
        choices = Choices(World.from_scene(scene), stream)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"scene of image {scene.get('image_index')}: {error}") from None
    constants: list[set[Constants]] = [set() for _ in balance.plans]
    texts: set[str] = set()
    asked: list[tuple[int, Instance, str]] = []
    for _ in range(_ROUNDS):
        for family in balance.order(stream):
            if len(asked) == count:
                return asked
            plan = balance.plans[family]
            instance = Search(plan, choices, stream, balance.allowed(family)).run(constants[family])
            text = _text(plan, instance, texts, stream) if instance is not None else None
            if instance is None or text is None:
                continue
            balance.add(family, instance.answer)
            constants[family].add(instance.constants)
            texts.add(text)
            asked.append((family, instance, text))
    return asked


def _text(plan: Plan, instance: Instance, taken: set[str], stream: Stream) -> str | None:
    """A wording of the instance that was not asked about the image; None if there is none."""
    wordings = fitting(plan.template.wordings, instance.values)
    for _ in range(_REWORDINGS if wordings else 0):
        text = word(stream.choice(wordings), instance.values, stream)
        if text not in taken:
            return text
    return None


def _question(
    scene: Mapping[str, Any], split: str, family: int, instance: Instance, text: str, index: int
) -> Question:
    assert instance.answer in ANSWERS
    return {
        "split": split,
        "image_filename": scene["image_filename"],
        "image_index": scene["image_index"],
        "question": text,
        "program": instance.program,
        "answer": instance.answer,
        "question_family_index": family,
        "question_index": index,
    }

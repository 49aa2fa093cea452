"""Examples in a program's memory as a dataset: pictures, questions and answers, without a file."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt
from hacore_packing.packs import digest_of

from hacore.errors import DataError
from hacore.pictures import fit, open_picture
from hacore_folder import Config
from hacore_folder.dataset import Folder
from hacore_folder.findings import Findings
from hacore_folder.pack import Stored
from hacore_folder.publish import columns_of
from hacore_folder.questions import ANSWERED, SPLITS, Question, read_table_records
from hacore_folder.table import Record, Table

Example = tuple[Any, str, str | Sequence[str]]
"""A picture, see ``hacore.pictures.open_picture``, a question, and the right answer or several."""


@attrs.frozen(kw_only=True, eq=False)
class Memory:
    """What a ``hacore_folder.pack.Pack`` has, of examples. pixels: (I, 3, height, width) uint8."""

    table: str
    size: tuple[int, int]
    pixels: npt.NDArray[np.uint8]
    columns: Stored
    pictures: tuple[str, ...]
    words: tuple[str, ...]
    answers: tuple[str, ...]
    types: tuple[str, ...]
    fingerprint: str

    def images(self) -> npt.NDArray[np.uint8]:
        """(I, 3, height, width)."""
        return self.pixels

    def stored(self) -> Stored:
        """The columns of the questions."""
        return self.columns


class InMemory(Folder):
    """The dataset ``in-memory``: an object that a program gives, as ``in_memory`` makes one.

    It stands for any other dataset object too. A spec alone cannot open it.
    """

    def __init__(self, config: Any) -> None:
        raise DataError(
            "dataset 'in-memory' is an object of the program that made it; give it again from Python: "
            "hacore.run(..., dataset=D), hacore.eval(RUN, dataset=D) or hacore.load(RUN).with_dataset(D)"
        )

    @classmethod
    def of(cls, config: Config, memory: Memory, name: str) -> InMemory:
        """The dataset of some examples."""
        dataset = cls.__new__(cls)
        dataset.read(config, memory)
        dataset.name = name
        return dataset


def in_memory(
    examples: Iterable[Example] | Mapping[str, Iterable[Example]],
    *,
    size: tuple[int, int] = (128, 128),
    shares: tuple[float, float, float] = (0.8, 0.1, 0.1),
    split_seed: int = 0,
    answers: int = 1000,
    name: str = "examples",
) -> InMemory:
    """A dataset of examples in memory, for ``hacore.run(spec, dataset=...)``.

    examples: (picture, question, answer) of each, or such lists by split, ``{"train": ..., "test": ...}``.
    A picture is a path, a Pillow image, an array or a tensor; one that occurs several times is kept once, and
    the questions about it are in one split. An answer is a text or a number, or a list of several that are
    right. size: height and width to which pictures are resized. shares, split_seed, answers: as the options
    of the dataset ``folder``. name: what the run's record calls it.
    Raises DataError that lists every example that is wrong.
    """
    config = Config(size=size, shares=shares, split_seed=split_seed, answers=answers)
    findings, pictures = Findings(Path(name)), _Pictures(size)
    records = [
        Record(
            line=0,
            item=item,
            values={
                "image": pictures.add(item, findings, picture),
                "question": question,
                "answer": _plain(answer),
                "split": split,
            },
        )
        for item, (split, (picture, question, answer)) in enumerate(_listed(examples), start=1)
    ]
    table = Table(columns=ANSWERED, records=records)
    questions = read_table_records(findings, pictures, table, answered=True)
    if not records:
        findings.note(0, "there are no examples; give (picture, question, answer) of each")
    if len(findings):
        raise DataError("\n".join(findings.lines()))
    return InMemory.of(config, _memory(name, size, pictures, questions), name)


class _Pictures:
    """Different pictures, by what they show at the size of the data."""

    def __init__(self, size: tuple[int, int]) -> None:
        self._size = size
        self._names: dict[str, str] = {}  # of files that were read before
        self.pixels: dict[str, npt.NDArray[np.uint8]] = {}

    def add(self, item: int, findings: Findings, picture: Any) -> str:
        """The name of a picture, a digest; "?" after a finding."""
        path = str(picture) if isinstance(picture, (str, Path)) else None
        if path in self._names:
            return self._names[path]
        try:
            pixels = fit(open_picture(picture), self._size)
        except DataError as error:
            findings.note(0, str(error), item)
            return "?"
        name = hashlib.sha256(pixels.tobytes()).hexdigest()
        self.pixels.setdefault(name, pixels)
        if path is not None:
            self._names[path] = name
        return name

    @staticmethod
    def name(given: str) -> str:
        """As they are named already."""
        return given


def _plain(answer: Any) -> Any:
    """An answer, or several, as a table holds them."""
    if isinstance(answer, np.generic):
        return answer.item()
    return [_plain(each) for each in answer] if isinstance(answer, (list, tuple)) else answer


def _listed(examples: Any) -> list[tuple[str, Any]]:
    """(split, example) of all. Raises DataError for what are no examples."""
    by_split = examples if isinstance(examples, Mapping) else {"": examples}
    if unknown := sorted(map(str, set(by_split) - {*SPLITS, ""})):
        raise DataError(f"examples: found split '{unknown[0]}'; splits are {', '.join(SPLITS)}")
    listed = [(split, example) for split, part in by_split.items() for example in part]
    for item, (_, example) in enumerate(listed, start=1):
        if isinstance(example, (str, bytes, Mapping)) or not hasattr(example, "__len__") or len(example) != 3:
            raise DataError(
                f"examples: item {item} is no (picture, question, answer); give these three of each"
            )
    return listed


def _memory(name: str, size: tuple[int, int], pictures: _Pictures, questions: Sequence[Question]) -> Memory:
    names = sorted(pictures.pixels)
    pixels = np.stack([pictures.pixels[each] for each in names])
    sums = pixels.reshape(len(names), 3, -1).astype(np.int64)
    columns, texts = columns_of(names, questions, sums.sum(2), (sums**2).sum(2))
    asked = [repr(attrs.astuple(question)) for question in questions]
    return Memory(
        table=name,
        size=size,
        pixels=pixels,
        columns=columns,
        pictures=tuple(names),
        words=texts["words"],
        answers=texts["answers"],
        types=texts["types"],
        fingerprint=f"{name}-{digest_of([str(size), *names, *asked])[:16]}",
    )

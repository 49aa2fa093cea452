"""Blocks of an unfinished data set: what a block becomes, and the files that keep it until then.

    {work}/parts/{split}.{block:05d}.scenes.json       list of scenes
    {work}/parts/{split}.{block:05d}.questions.json    list of questions, numbered within the block
    {work}/images/{split}/CLEVR_{split}_000000.png     pictures, unless they are packed

A scenes file is written after its pictures, so that the block is complete once it exists. Imports no torch:
processes that ask about scenes start fast.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

from hacore.errors import DataError, reason
from hacore.machine.files import write_whole
from hacore_clevr.generate.layout import ANY, CONDITION_A, CONDITION_B, SceneOptions
from hacore_clevr.generate.questions import BLOCK, make_block, numbered
from hacore_clevr.generate.templates import Template, load_templates

VERSION = 3
"""Of what a plan makes: raised when the same plan makes other scenes, pictures or questions.

2: pictures and scenes as near to the originals as ``benchmarks/clevr_look.py`` brings them; families have the
numbers of CLEVR v1.0.
"""

Bytes = npt.NDArray[np.uint8]
_ALLOWED = {"": ANY, "A": CONDITION_A, "B": CONDITION_B}


@attrs.frozen(kw_only=True)
class Split:
    """A split to make. count: images. condition: "", or "A" or "B" of CLEVR-CoGenT."""

    name: str
    count: int
    condition: str = ""

    @property
    def blocks(self) -> range:
        return range(-(-self.count // BLOCK))

    def rows(self, block: int) -> tuple[int, int]:
        """First image of a block, and the one after its last."""
        return block * BLOCK, min((block + 1) * BLOCK, self.count)


@attrs.frozen(kw_only=True)
class Plan:
    """Everything that decides what is made, except the folder. size: (height, width) of the pictures.

    questions: per image. packed: no picture files. templates: folder, "" for those of the package, and the
    digest of its files; families: which of its files, none: all.
    """

    seed: int
    splits: tuple[Split, ...]
    size: tuple[int, int]
    questions: int
    min_objects: int
    max_objects: int
    packed: bool
    templates: str
    templates_sha256: str
    families: tuple[str, ...]

    @property
    def images(self) -> int:
        return sum(split.count for split in self.splits)

    def describe(self) -> dict[str, Any]:
        """As JSON values, equal when two plans make the same."""
        described: dict[str, Any] = json.loads(json.dumps({"version": VERSION, **attrs.asdict(self)}))
        del described["templates"]
        return described

    def scene_options(self, split: Split) -> SceneOptions:
        return SceneOptions(
            min_objects=self.min_objects, max_objects=self.max_objects, allowed=_ALLOWED[split.condition]
        )


@attrs.frozen(kw_only=True)
class Job:
    """Blocks of a split that are made at once. work: the folder; threads: that write picture files."""

    work: Path
    plan: Plan
    split: Split
    blocks: range
    device: str = "cpu"
    threads: int = 1

    @property
    def what(self) -> str:
        start, stop = self.split.rows(self.blocks[0])[0], self.split.rows(self.blocks[-1])[1]
        return f"images {start} to {stop - 1} of {self.split.name}"


@attrs.frozen(kw_only=True, eq=False)
class Done:
    """A job that is done. pictures: (n, 3, height, width) where they are packed, else nothing."""

    split: Split
    blocks: range
    pictures: Bytes | None = None


def scenes_part(work: Path, split: str, block: int) -> Path:
    return work / "parts" / f"{split}.{block:05d}.scenes.json"


def questions_part(work: Path, split: str, block: int) -> Path:
    return work / "parts" / f"{split}.{block:05d}.questions.json"


def make_questions(job: Job) -> Done:
    """Asks about the scenes of some blocks, which were made before."""
    plan, name = job.plan, job.split.name
    for block in job.blocks:
        questions = make_block(
            read_part(scenes_part(job.work, name, block)),
            count=plan.questions,
            seed=plan.seed,
            split=name,
            block=block,
            templates=_templates(plan.templates, plan.families),
        )
        write_part(questions_part(job.work, name, block), questions)
    return Done(split=job.split, blocks=job.blocks)


def read_part(path: Path) -> list[dict[str, Any]]:
    """The records of a part."""
    try:
        records: list[dict[str, Any]] = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: cannot be read ({reason(error)}); delete it and generate again") from None
    return records


def all_scenes(work: Path, split: Split) -> Iterator[dict[str, Any]]:
    """The scenes of a split, all of whose blocks are made, in order."""
    for block in split.blocks:
        yield from read_part(scenes_part(work, split.name, block))


def all_questions(work: Path, split: Split) -> Iterator[dict[str, Any]]:
    """The questions of a split, all of whose blocks are made, in order and numbered from 0."""
    parts = (read_part(questions_part(work, split.name, block)) for block in split.blocks)
    return numbered(parts)


@lru_cache(maxsize=1)
def _templates(folder: str, only: tuple[str, ...]) -> tuple[Template, ...]:
    return load_templates(Path(folder) if folder else None, only)


def write_part(path: Path, records: Sequence[Any]) -> None:
    """Writes the records of a part, whole or not at all."""
    write_whole(path, json.dumps(records, separators=(",", ":")).encode(), "--output")

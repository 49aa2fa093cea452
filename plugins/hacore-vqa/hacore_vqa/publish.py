"""Making a pack of what was read and packed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import msgspec
from hacore_packing.making import PackMaker, pixel_statistics
from hacore_packing.writer import PackedImages

from hacore_vqa.columns import Columns, Texts
from hacore_vqa.metric import normal
from hacore_vqa.official import Layout
from hacore_vqa.pack import FORMAT, TEXTS, Pack, SplitInfo, Stored
from hacore_vqa.pack import Texts as PackedTexts
from hacore_vqa.parts import Part


def publish(
    folder: Path,
    *,
    layout: Layout,
    size: tuple[int, int],
    images: Mapping[str, PackedImages],
    parts: Mapping[str, Part],
    columns: Mapping[str, Columns],
    texts: Texts,
    source: Any,
) -> Pack:
    """Makes the pack ``folder`` of what is in ``unfinished(folder)``, where the images were written.

    images, parts: by name. columns: by split, in the order of the splits. A pack that is there already is
    replaced. DataError if something else is there.
    """
    maker = PackMaker(folder)
    for name, packed in images.items():
        maker.add_images(name, packed)
    splits = {}
    for split, asked in columns.items():
        part = parts[layout.splits[split].part]
        maker.add_questions(split, _stored(asked, part))
        splits[split] = SplitInfo(
            part=part.name,
            images=part.measured if split == "train" else len(part.paths),
            questions=len(asked),
            answered=bool(layout.splits[split].annotations),
        )
    maker.add_bytes(TEXTS, msgspec.json.encode(packed_texts(texts)))
    mean, std = pixel_statistics(images[layout.splits["train"].part], size)
    described = {
        "format": FORMAT.name,
        "version": FORMAT.version,
        "data": layout.name,
        "size": size,
        "parts": {name: len(part.paths) for name, part in parts.items()},
        "splits": {split: attrs.asdict(info) for split, info in splits.items()},
        "mean": mean,
        "std": std,
        "files": maker.files,
        "source": source,
    }
    maker.finish(described)
    return FORMAT.open(folder)


def packed_texts(texts: Texts) -> PackedTexts:
    """The texts as they are stored, with the normal form of each answer."""
    # Normal forms that nobody gave get a number after the others, and stand for themselves.
    normals = [texts.answers[normal(answer)] for answer in list(texts.answers)]
    normals += range(len(normals), len(texts.answers))
    return PackedTexts(
        words=list(texts.words),
        answers=list(texts.answers),
        normal=normals,
        question_types=list(texts.question_types),
        answer_types=list(texts.answer_types),
    )


def _stored(columns: Columns, part: Part) -> Stored:
    shared = {field.name for field in attrs.fields(Stored)} - {"image"}
    return Stored(image=part.rows(columns), **{name: getattr(columns, name) for name in shared})

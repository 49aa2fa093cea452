"""Making a pack of what was read and packed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import msgspec
import numpy as np
from hacore_packing.packs import measure, name_pack, pixel_statistics, require_place, unfinished
from hacore_packing.writer import PackedImages, images_file, journal_file

from hacore_vqa.columns import Columns, Texts
from hacore_vqa.metric import normal
from hacore_vqa.official import Layout
from hacore_vqa.pack import FORMAT, TEXTS, VERSION, Pack, SplitInfo, Stored, open_pack, questions_file
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
    require_place(folder)
    work = unfinished(folder)
    files = {images_file(name): {"bytes": it.bytes, "sha256": it.sha256} for name, it in images.items()}
    splits = {}
    for split, it in columns.items():
        part = parts[layout.splits[split].part]
        _write_columns(work / questions_file(split), _stored(it, part))
        files[questions_file(split)] = measure(work / questions_file(split))
        splits[split] = SplitInfo(
            part=part.name,
            images=part.measured if split == "train" else len(part.paths),
            questions=len(it),
            answered=bool(layout.splits[split].annotations),
        )
    _write(work / TEXTS, msgspec.json.encode(packed_texts(texts)))
    files[TEXTS] = measure(work / TEXTS)
    mean, std = pixel_statistics(images[layout.splits["train"].part], size)
    described = {
        "format": FORMAT,
        "version": VERSION,
        "data": layout.name,
        "size": size,
        "parts": {name: len(part.paths) for name, part in parts.items()},
        "splits": {split: attrs.asdict(info) for split, info in splits.items()},
        "mean": mean,
        "std": std,
        "files": files,
        "source": source,
    }
    name_pack(folder, described)
    for name in parts:
        (folder / journal_file(name)).unlink(missing_ok=True)
    return open_pack(folder)


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


def _write_columns(path: Path, stored: Stored) -> None:
    with open(path, "wb") as file:
        np.savez(file, **{field.name: getattr(stored, field.name) for field in attrs.fields(Stored)})
        file.flush()
        os.fsync(file.fileno())


def _write(path: Path, data: bytes) -> None:
    with open(path, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())

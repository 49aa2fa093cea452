"""Generated data on disk: written once, resumed after an interruption, and checked whenever it is opened.

A folder holds ``images.npy`` (I, 3, 75, 75), ``scenes.npy`` (I, 6, 3) and ``questions.npy`` (I, Q, 3: type,
colour, answer), all uint8, and ``meta.json`` with the generator's version and options and the size and
SHA-256 of each file.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from pathlib import Path

import attrs
import numpy as np
from hacore_packing.arrays import ArrayWriter
from hacore_packing.files import content_of
from hacore_packing.locks import locked

from hacore.errors import DataError
from hacore_sort_of_clevr.questions import sample_questions
from hacore_sort_of_clevr.scenes import COLOURS, SIZE, Bytes, draw, sample_scenes

VERSION = 1
"""Of the generator: raised with every change of the bytes it makes."""

BLOCK = 256
NAMES = ("images", "scenes", "questions")
FILES = tuple(f"{name}.npy" for name in NAMES)

log = logging.getLogger("hacore")


@attrs.frozen(kw_only=True)
class Generated:
    """What decides the bytes: images in all, questions an image, seed."""

    images: int
    questions: int
    data_seed: int

    @property
    def key(self) -> str:
        """16 hexadecimal digits that name the content."""
        text = json.dumps({"version": VERSION, **attrs.asdict(self)}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@attrs.frozen(kw_only=True, eq=False)
class Arrays:
    """images: (I, 3, 75, 75), memory-mapped. scenes: (I, 6, 3). questions: (I, Q, 3). All uint8."""

    images: Bytes
    scenes: Bytes
    questions: Bytes


def make_block(wanted: Generated, block: int) -> Arrays:
    """A block of up to 256 images, with a random stream of its own.

    It depends on the seed and its number only, and of what is sampled for a whole block the end
    is cut off: an image and its questions stay the same when there are more images, and the first
    questions of each kind when there are more questions.
    """
    bits = np.random.PCG64(np.random.SeedSequence(wanted.data_seed, spawn_key=(block,)))
    scenes = sample_scenes(bits, BLOCK)
    questions = sample_questions(bits, scenes, wanted.questions)
    count = min(BLOCK, wanted.images - block * BLOCK)
    return Arrays(
        images=draw(scenes[:count]), scenes=scenes[:count].astype(np.uint8), questions=questions[:count]
    )


def open_store(parent: Path, wanted: Generated) -> Arrays:
    """The data in its folder below ``parent``, generated first if the folder is not there.

    DataError names the file and the way out when it cannot be written, is damaged or is incomplete.
    """
    folder = parent / wanted.key
    try:
        if not folder.is_dir():
            _generate(folder, wanted)
    except OSError as error:
        raise DataError(
            f"{folder}: cannot write the generated data ({error.strerror or error}); it takes "
            f"{_megabytes(wanted)} MB: make room, or choose another folder by option root or $HACORE_CACHE"
        ) from error
    _check(folder, wanted)
    return Arrays(
        images=np.load(folder / "images.npy", mmap_mode="r"),
        scenes=np.load(folder / "scenes.npy"),
        questions=np.load(folder / "questions.npy"),
    )


def _megabytes(wanted: Generated) -> int:
    return -(-wanted.images * (3 * SIZE * SIZE + 3 * wanted.questions + 18) // 10**6)


def _generate(folder: Path, wanted: Generated) -> None:
    """Writes beside ``folder`` and renames, so that ``folder`` is complete as soon as it exists."""
    folder.parent.mkdir(parents=True, exist_ok=True)

    def busy() -> None:
        log.info("waiting for another process that generates %s", folder)

    with locked(folder.with_name(f".{folder.name}.lock"), busy):
        if folder.is_dir():
            return  # the other process has made it
        log.info("generating %d images of sort-of-clevr in %s", wanted.images, folder)
        unfinished = folder.with_name(f".{folder.name}.unfinished")
        _write(unfinished, wanted)
        os.rename(unfinished, folder)
        for name in NAMES:
            (folder / _journal(name)).unlink(missing_ok=True)


def _journal(name: str) -> str:
    return f"{name}.rows.jsonl"


def _write(folder: Path, wanted: Generated) -> None:
    """Makes what is missing in the folder."""
    shapes = {
        "images": (wanted.images, 3, SIZE, SIZE),
        "scenes": (wanted.images, len(COLOURS), 3),
        "questions": (wanted.images, wanted.questions, 3),
    }
    writers = {
        name: ArrayWriter(folder / f"{name}.npy", folder / _journal(name), shape, "uint8")
        for name, shape in shapes.items()
    }
    missing = {name: writer.missing(BLOCK) for name, writer in writers.items()}
    for start, stop in sorted({rows for ranges in missing.values() for rows in ranges}):
        block = make_block(wanted, start // BLOCK)
        for name, writer in writers.items():
            if (start, stop) in missing[name]:
                writer.write(start, getattr(block, name))
    entries = {f"{name}.npy": attrs.asdict(writer.finish()) for name, writer in writers.items()}
    meta = {"version": VERSION, "options": attrs.asdict(wanted), "files": entries}
    (folder / "meta.json").write_text(json.dumps(meta, indent=2) + "\n", encoding="utf-8")


def _check(folder: Path, wanted: Generated) -> None:
    """Compares the folder with its ``meta.json``; DataError on the first difference."""

    def damaged(path: Path, problem: str) -> DataError:
        return DataError(f"{path}: {problem}; delete the folder {folder} and run again to generate it anew")

    path = folder / "meta.json"
    try:
        meta = json.loads(path.read_bytes())
        recorded = {name: (meta["files"][name]["bytes"], meta["files"][name]["sha256"]) for name in FILES}
        options = {"version": meta["version"], **meta["options"]}
    except FileNotFoundError:
        raise damaged(path, "the file is missing") from None
    except OSError as error:
        raise damaged(path, f"cannot be read ({error.strerror or error})") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise damaged(path, "the file is damaged, it does not list the generated files") from error
    expected = {"version": VERSION, **attrs.asdict(wanted)}
    if options != expected:
        raise damaged(path, f"it describes {options}, expected {expected}")
    for name, (size, digest) in recorded.items():
        path = folder / name
        try:
            content = content_of(path)
        except FileNotFoundError:
            raise damaged(path, "the file is missing") from None
        except OSError as error:
            raise damaged(path, f"cannot be read ({error.strerror or error})") from error
        if content.bytes != size:
            raise damaged(path, f"{content.bytes} bytes found, {size} expected")
        if content.sha256 != digest:
            raise damaged(path, f"the content is damaged, SHA-256 {content.sha256} found, {digest} expected")

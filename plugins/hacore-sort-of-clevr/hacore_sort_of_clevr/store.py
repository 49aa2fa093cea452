"""Generated data on disk: written once, all or nothing, and checked whenever it is opened.

A folder holds ``images.npy`` (I, 3, 75, 75), ``scenes.npy`` (I, 6, 3) and ``questions.npy`` (I, Q, 3: type,
colour, answer), all uint8, and ``meta.json`` with the generator's version and options and the size and
SHA-256 of each file.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import numpy as np

from hacore.errors import DataError
from hacore_sort_of_clevr.questions import sample_questions
from hacore_sort_of_clevr.scenes import SIZE, Bytes, draw, sample_scenes

VERSION = 1
"""Of the generator: raised with every change of the bytes it makes."""

BLOCK = 256
NAMES = ("images", "scenes", "questions")
FILES = tuple(f"{name}.npy" for name in NAMES)
_ABANDONED = 3600.0  # seconds after which an unfinished folder is that of a process that was killed

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


def blocks(wanted: Generated) -> Iterator[Arrays]:
    """The data in blocks of up to 256 images, each with a random stream of its own.

    A block depends on the seed and its number only, and of what is sampled for a whole block the end
    is cut off: an image and its questions stay the same when there are more images, and the first
    questions of each kind when there are more questions.
    """
    for block, start in enumerate(range(0, wanted.images, BLOCK)):
        bits = np.random.PCG64(np.random.SeedSequence(wanted.data_seed, spawn_key=(block,)))
        scenes = sample_scenes(bits, BLOCK)
        questions = sample_questions(bits, scenes, wanted.questions)
        count = min(BLOCK, wanted.images - start)
        yield Arrays(
            images=draw(scenes[:count]), scenes=scenes[:count].astype(np.uint8), questions=questions[:count]
        )


def open_store(parent: Path, wanted: Generated) -> Arrays:
    """The data in its folder below ``parent``, generated first if the folder is not there.

    DataError names the file and the way out when it cannot be written, is damaged or is incomplete.
    """
    folder = parent / wanted.key
    try:
        if not folder.is_dir():
            log.info("generating %d images of sort-of-clevr in %s", wanted.images, folder)
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
    for old in folder.parent.glob(f".{folder.name}.*"):
        with contextlib.suppress(FileNotFoundError):  # its process may just have finished
            if time.time() - old.stat().st_mtime > _ABANDONED:
                shutil.rmtree(old, ignore_errors=True)
    unfinished = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}")
    unfinished.mkdir()
    try:
        _write(unfinished, wanted)
        try:
            os.rename(unfinished, folder)
        except OSError:
            if not folder.is_dir():
                raise  # else another process was first, with the same bytes
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _write(folder: Path, wanted: Generated) -> None:
    with contextlib.ExitStack() as stack:
        files = {name: stack.enter_context(open(folder / f"{name}.npy", "wb")) for name in NAMES}
        # Written rather than mapped: on a full disk a write fails, a mapped page kills the process.
        for number, block in enumerate(blocks(wanted)):
            for name, file in files.items():
                array: Bytes = getattr(block, name)
                if number == 0:
                    shape = (wanted.images, *array.shape[1:])
                    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
                    np.lib.format.write_array_header_1_0(file, header)
                file.write(array.tobytes())
    meta = {
        "version": VERSION,
        "options": attrs.asdict(wanted),
        "files": {name: _measure(folder / name) for name in FILES},
    }
    (folder / "meta.json").write_text(json.dumps(meta, indent=2) + "\n")


def _measure(path: Path) -> dict[str, Any]:
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return {"bytes": file.tell(), "sha256": digest}


def _check(folder: Path, wanted: Generated) -> None:
    """Compares the folder with its ``meta.json``; DataError on the first difference."""

    def damaged(path: Path, found: str) -> DataError:
        return DataError(f"{path}: {found}; delete the folder {folder} and run again to generate it anew")

    path = folder / "meta.json"
    try:
        meta = json.loads(path.read_bytes())
        recorded = {name: (meta["files"][name]["bytes"], meta["files"][name]["sha256"]) for name in FILES}
        options = {"version": meta["version"], **meta["options"]}
    except FileNotFoundError:
        raise damaged(path, "the file is missing") from None
    except OSError as error:
        raise damaged(path, f"cannot be read ({error.strerror or error})") from error
    except (ValueError, KeyError, TypeError) as error:
        raise damaged(path, "the file is damaged, it does not list the generated files") from error
    expected = {"version": VERSION, **attrs.asdict(wanted)}
    if options != expected:
        raise damaged(path, f"it describes {options}, expected {expected}")
    for name, (size, digest) in recorded.items():
        path = folder / name
        try:
            found = _measure(path)
        except FileNotFoundError:
            raise damaged(path, "the file is missing") from None
        except OSError as error:
            raise damaged(path, f"cannot be read ({error.strerror or error})") from error
        if found["bytes"] != size:
            raise damaged(path, f"{found['bytes']} bytes found, {size} expected")
        if found["sha256"] != digest:
            raise damaged(path, f"the content is damaged, SHA-256 {found['sha256']} found, {digest} expected")

"""Packs: folders with a ``pack.json`` that says what is in them, made beside their place and then named.

Nothing that looks finished is unfinished: a pack is made in a folder beside its own, which gets its name
when everything is on the disk.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
from collections.abc import Callable, Sized
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hacore.errors import DataError
from hacore_packing.folders import existing_parent
from hacore_packing.writer import PackedImages

PACK = "pack.json"


def is_pack(folder: Path) -> bool:
    """Whether a finished pack is there."""
    return (folder / PACK).is_file()


def damaged(path: Path, found: str) -> DataError:
    """What to raise for a file of a pack."""
    return DataError(f"{path}: {found}; delete the folder {path.parent} and make it again")


def digest_of(lines: list[str]) -> str:
    """SHA-256 of texts, in order."""
    return hashlib.sha256(json.dumps(lines).encode()).hexdigest()


def measure(path: Path) -> dict[str, Any]:
    """Size and SHA-256 of a file, as pack.json lists them under ``files``."""
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return {"bytes": file.tell(), "sha256": digest}


def file_stamp(path: Path) -> list[int]:
    """Size and time of a file's last change: another pair when the file changes."""
    found = path.stat()
    return [found.st_size, found.st_mtime_ns]


def read_description(folder: Path, form: str, version: int, look: Callable[[dict[str, Any]], Any]) -> Any:
    """The content of pack.json, checked.

    form, version: what it must say of itself. look: called with the content, raises ValueError,
    KeyError, TypeError or AttributeError when something that is needed is missing. DataError names what
    is wrong and the way out.
    """
    path = folder / PACK
    try:
        described = json.loads(path.read_bytes())
        if described["format"] != form:
            raise damaged(path, f"format {described['format']} found, {form} expected")
        if described["version"] != version:
            raise damaged(path, f"version {described['version']} found, {version} expected")
        for name, entry in described["files"].items():
            if Path(name).name != name or not isinstance(entry["bytes"] + 0, int):
                raise ValueError(name)
        look(described)
    except FileNotFoundError:
        raise damaged(path, "the file is missing") from None
    except OSError as error:
        raise damaged(path, f"cannot be read ({error.strerror or error})") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise damaged(path, "the file is damaged, it describes no prepared data") from error
    return described


def require_sizes(folder: Path, described: dict[str, Any]) -> None:
    """DataError for the first file that is missing or of another size than pack.json says."""
    for name, entry in described["files"].items():
        if problem := _wrong_size(folder / name, entry["bytes"]):
            raise damaged(folder / name, problem)


def wrong_files(folder: Path, described: dict[str, Any]) -> list[str]:
    """Everything that is wrong with the files of a pack, each one's whole content read; a line each."""
    problems = []
    for name, entry in described["files"].items():
        path = folder / name
        problem = _wrong_size(path, entry["bytes"]) or _wrong_content(path, entry["sha256"])
        if problem:
            problems.append(str(damaged(path, problem)))
    return problems


def open_images(path: Path, shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    """A packed array, memory-mapped. DataError unless it is uint8 of this shape."""
    try:
        images = np.load(path, mmap_mode="r")
    except (OSError, ValueError, EOFError) as error:
        raise damaged(path, f"cannot be read ({error})") from error
    if images.dtype != np.uint8 or images.shape != shape:
        raise damaged(path, f"holds {images.dtype} {images.shape}, expected uint8 {shape}")
    found: npt.NDArray[np.uint8] = images
    return found


def unfinished(folder: Path) -> Path:
    """The folder in which the pack ``folder`` is made, before ``name_pack``."""
    return folder.with_name(f".{folder.name}.unfinished")


def require_place(folder: Path) -> None:
    """DataError if the pack ``folder`` would take the place of something that is no pack."""
    if folder.is_dir() and (is_pack(folder) or not any(folder.iterdir())):
        return
    if folder.exists():
        raise DataError(f"{folder}: holds other files than prepared data; choose another output folder")


def require_images_room(work: Path, images: int, size: tuple[int, int]) -> None:
    """DataError if so many images would not fit on the disk beside what is packed in ``work`` already."""
    needed = images * 3 * size[0] * size[1]
    needed -= sum(path.stat().st_size for path in work.glob("*.npy"))
    free = shutil.disk_usage(existing_parent(work)).free
    if needed > free:
        raise DataError(
            f"{work.parent}: needs {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free; make room, choose "
            "another folder with --output or smaller images with --size"
        )


def name_pack(folder: Path, described: dict[str, Any]) -> None:
    """Writes pack.json into ``unfinished(folder)`` and gives that its name; an older pack makes place."""
    work = unfinished(folder)
    with open(work / PACK, "w", encoding="utf-8") as file:
        file.write(json.dumps(described, indent=1) + "\n")
        file.flush()
        os.fsync(file.fileno())
    old = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if is_pack(folder):
        os.rename(folder, old)
    elif folder.is_dir():
        folder.rmdir()
    os.rename(work, folder)
    shutil.rmtree(old, ignore_errors=True)


def pixel_statistics(images: PackedImages, size: tuple[int, int]) -> tuple[list[float], list[float]]:
    """Mean and deviation of each channel, pixels in [0, 1], from exact sums."""
    pixels = images.measured * size[0] * size[1]
    mean = [total / pixels for total in images.total]
    # In integers: the difference of two large numbers that are almost the same keeps its digits.
    spread = [
        pixels * squares - total**2 for total, squares in zip(images.total, images.squares, strict=True)
    ]
    return [value / 255 for value in mean], [math.sqrt(value) / pixels / 255 for value in spread]


def limit(config: Any, option: str, found: Sized) -> int:
    """How many rows an option of a dataset's config lets through. DataError if there are not so many."""
    wanted: int | None = getattr(config, option)
    if wanted is not None and wanted > len(found):
        raise DataError(f"data.{option} = {wanted}; there are {len(found)}, leave it out to use all of them")
    return len(found) if wanted is None else wanted


def _wrong_size(path: Path, expected: int) -> str:
    try:
        found = path.stat().st_size
    except FileNotFoundError:
        return "the file is missing"
    except OSError as error:
        return f"cannot be read ({error.strerror or error})"
    return f"{found} bytes found, {expected} expected" if found != expected else ""


def _wrong_content(path: Path, expected: str) -> str:
    try:
        found = measure(path)["sha256"]
    except OSError as error:
        return f"cannot be read ({error.strerror or error})"
    return f"the content is damaged, SHA-256 {found} found, {expected} expected" if found != expected else ""

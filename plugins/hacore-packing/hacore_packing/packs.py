"""Packs: folders with a ``pack.json`` that says what is in them; how they are opened and checked."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Sized
from pathlib import Path
from typing import Any, Generic, TypeVar

import attrs
import numpy as np
import numpy.typing as npt

from hacore.errors import DataError, reason
from hacore_packing.files import content_of
from hacore_packing.ids import id_column
from hacore_packing.words import offsets_of

PACK = "pack.json"

PackT = TypeVar("PackT", bound="Pack")
ColumnsT = TypeVar("ColumnsT", bound=attrs.AttrsInstance)


@attrs.frozen(kw_only=True)
class Pack:
    """What every opened pack has.

    size: (height, width). mean, std: per channel, pixels in [0, 1], over the training images. source: what
    it was made from, as its maker put it. fingerprint: names the content. reader: version of the reader of
    pictures that made it, see ``hacore_packing.readers``.
    """

    folder: Path
    size: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    source: Any
    fingerprint: str
    reader: int


@attrs.frozen(kw_only=True)
class Format(Generic[PackT]):
    """A kind of pack.

    name, version: what pack.json says of itself; the version is raised when older packs cannot be read.
    build: the opened pack of a folder and the content of its pack.json; raises ValueError, KeyError,
    TypeError or AttributeError when something that is needed is missing.
    """

    name: str
    version: int
    build: Callable[[Path, dict[str, Any]], PackT]

    def open(self, folder: Path) -> PackT:
        """The pack in a folder. Compares the sizes of its files, not their content: see ``check``.

        DataError names the file that is missing, damaged or of another version, and the way out.
        """
        described, pack = self._read(folder)
        for name, entry in described["files"].items():
            if problem := _wrong_size(folder / name, entry["bytes"]):
                raise damage_error(folder / name, problem)
        return pack

    def check(self, folder: Path) -> list[str]:
        """Everything that is wrong with a pack, each file's whole content read; a line each."""
        try:
            described, _ = self._read(folder)
        except DataError as error:
            return [str(error)]
        problems = []
        for name, entry in described["files"].items():
            path = folder / name
            problem = _wrong_size(path, entry["bytes"]) or _wrong_content(path, entry["sha256"])
            if problem:
                problems.append(str(damage_error(path, problem)))
        return problems

    def _read(self, folder: Path) -> tuple[dict[str, Any], PackT]:
        """The content of pack.json, and the pack."""
        path = folder / PACK
        try:
            described = json.loads(path.read_bytes())
            for field, wanted in (("format", self.name), ("version", self.version)):
                if described[field] != wanted:
                    raise damage_error(path, f"{field} {described[field]} found, {wanted} expected")
            for name, entry in described["files"].items():
                if Path(name).name != name or not isinstance(entry["bytes"] + 0, int):
                    raise ValueError(name)
            return described, self.build(folder, described)
        except FileNotFoundError:
            raise damage_error(path, "the file is missing") from None
        except OSError as error:
            raise damage_error(path, f"cannot be read ({error.strerror or error})") from error
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise damage_error(path, "the file is damaged, it describes no prepared data") from error


def common_fields(folder: Path, described: dict[str, Any], name: str, texts: list[str]) -> dict[str, Any]:
    """The fields of ``Pack``; the fingerprint is of the size, the files and ``texts``, after ``name``."""
    height, width = described["size"]
    if not (type(height) is type(width) is int and min(height, width) > 0):
        raise ValueError("size")
    if not (
        len(described["mean"]) == len(described["std"]) == 3
        and all(math.isfinite(value) for value in (*described["mean"], *described["std"]))
        and min(described["std"]) >= 0
    ):
        raise ValueError("mean and std")
    files = [f"{file} {entry['sha256']}" for file, entry in sorted(described["files"].items())]
    return {
        "folder": folder,
        "size": (height, width),
        "mean": tuple(described["mean"]),
        "std": tuple(described["std"]),
        "source": described["source"],
        "reader": int(described.get("reader", 1)),
        "fingerprint": f"{name}-{digest_of([str((height, width)), *files, *texts])[:16]}",
    }


def is_pack(folder: Path) -> bool:
    """Whether a finished pack is there."""
    return (folder / PACK).is_file()


def damage_error(path: Path, problem: str) -> DataError:
    """What to raise for a file of a pack."""
    return DataError(f"{path}: {problem}; delete the folder {path.parent} and make it again")


def questions_file(split: str) -> str:
    return f"{split}.questions.npz"


def digest_of(lines: list[str]) -> str:
    """SHA-256 of texts, in order."""
    return hashlib.sha256(json.dumps(lines).encode()).hexdigest()


def file_entry(path: Path) -> dict[str, Any]:
    """Size and SHA-256 of a file, as pack.json lists them under ``files``."""
    return attrs.asdict(content_of(path))


def file_stamp(path: Path) -> list[int]:
    """Size and time of a file's last change: another pair when the file changes."""
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]


def open_images(path: Path, shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    """A packed array, memory-mapped. DataError unless it is uint8 of this shape."""
    try:
        images: npt.NDArray[np.uint8] = np.load(path, mmap_mode="r")
    except Exception as error:  # a damaged header is parsed as Python
        raise damage_error(path, f"cannot be read ({reason(error)})") from error
    if images.dtype != np.uint8 or images.shape != shape:
        raise damage_error(path, f"holds {images.dtype} {images.shape}, expected uint8 {shape}")
    return images


def open_questions(path: Path, kind: type[ColumnsT], questions: int) -> ColumnsT:
    """The columns of a split, one of which is ``image`` (Q,); those with a default may be missing.

    DataError when they cannot be read or hold another number of questions.
    """
    try:
        with np.load(path) as file:
            count = len(file["image"])
            columns = kind(
                **{
                    field.name: _column(file[field.name])
                    for field in attrs.fields(kind)
                    if field.default is attrs.NOTHING or field.name in file
                }
            )
    except Exception as error:  # of zipfile, zlib and struct, or of a header that is parsed as Python
        raise damage_error(path, f"cannot be read ({reason(error)})") from error
    if count != questions:
        raise damage_error(path, f"holds {count} questions, expected {questions}")
    return columns


def require_named(path: Path, columns: Any, **names: int) -> None:
    """DataError unless the numbers in these columns are below so many names; -1 stands for none.

    ``offsets``, one more than there are questions, must fit ``words``.
    """
    for column, count in names.items():
        numbers = getattr(columns, column)
        if numbers.size and not -1 <= numbers.min() <= numbers.max() < count:
            outside = numbers.min() if numbers.min() < -1 else numbers.max()
            raise damage_error(path, f"{column} has number {outside}, but there are {count}")
    offsets = columns.offsets
    if len(offsets) != len(columns.image) + 1 or offsets[-1] != len(columns.words):
        raise damage_error(path, "offsets are not those of the words")


def _column(stored: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """As ``PackMaker.add_questions`` was given it."""
    return id_column([int(text) for text in stored.tolist()]) if stored.dtype.kind == "U" else stored


def select_words(
    words: npt.NDArray[Any], offsets: npt.NDArray[np.int64], rows: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64]]:
    """Words and offsets of some questions, ascending ``rows``; words[offsets[q]:offsets[q + 1]] are q's."""
    lengths = np.diff(offsets)
    chosen = np.zeros(len(lengths), bool)
    chosen[rows] = True
    return words[np.repeat(chosen, lengths)], offsets_of(lengths[rows])


def row_limit(config: Any, option: str, rows: Sized) -> int:
    """How many rows an option of a dataset's config lets through. DataError if there are fewer."""
    wanted: int | None = getattr(config, option)
    if wanted is not None and wanted > len(rows):
        raise DataError(f"data.{option} = {wanted}; there are {len(rows)}, leave it out to use all of them")
    return len(rows) if wanted is None else wanted


def require_size(root: Path, pack: Pack, size: tuple[int, int]) -> None:
    """DataError unless the images of the pack that ``root`` stands for are of this size."""
    if pack.size != size:
        packed, wanted = (f"{height}x{width}" for height, width in (pack.size, size))
        raise DataError(
            f"{root}: the images are {packed}, size asks for {wanted}; set size = {list(pack.size)}, or "
            "prepare the data at the other size"
        )


def _wrong_size(path: Path, expected: int) -> str:
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        return "the file is missing"
    except OSError as error:
        return f"cannot be read ({error.strerror or error})"
    return f"{size} bytes found, {expected} expected" if size != expected else ""


def _wrong_content(path: Path, expected: str) -> str:
    try:
        digest = file_entry(path)["sha256"]
    except OSError as error:
        return f"cannot be read ({error.strerror or error})"
    return (
        f"the content is damaged, SHA-256 {digest} found, {expected} expected" if digest != expected else ""
    )

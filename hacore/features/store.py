"""The folder of a feature store. Imports no torch.

``description.json`` says what the features are of; ``{split}-{number}.npy`` are the shards, each with a
``.json`` beside it that holds its checksum; ``shards.json`` is the index of all, written last.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import attrs
import numpy as np
import numpy.typing as npt

from hacore.errors import DataError
from hacore.features.mapped import MappedFeatures
from hacore.machine.commands import pasteable
from hacore.machine.strict import strict_converter

FORMAT = "hacore features 1"
DIGITS = 16
"""Hexadecimal digits of an image's digest."""
Content = TypeVar("Content")
_converter = strict_converter()
_MOST = 1 << 24  # of a grid, of channels, or of the shards of a part
_NAMED = 5  # damaged shards that an error spells out


@attrs.frozen(kw_only=True)
class Shard:
    """A finished shard. bytes, sha256: of the whole file. images: digests of its images, end to end."""

    bytes: int
    sha256: str
    images: str


def image_digests(images: npt.NDArray[np.uint8]) -> list[str]:
    """16 hexadecimal digits for each of the images (I, 3, H, W)."""
    return [hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=8).hexdigest() for image in images]


@attrs.frozen(kw_only=True)
class Description:
    """What the features of a store are of.

    encoder, options: the image encoder and its config, as a spec has them. weights: SHA-256 of its
    state, without image_mean and image_std, which normalise the pixels. data, fingerprint: the dataset
    and its content. image_size: (3, H, W). pool: what the encoder's grid was averaged down to, or None.
    grid, channels: of a row, (rows * columns, channels). shard_images: rows of a shard. images: by part,
    how many. splits: the part in which the images of a split are; splits may share one.
    """

    encoder: str
    options: dict[str, Any]
    weights: str
    image_mean: tuple[float, ...]
    image_std: tuple[float, ...]
    data: str
    fingerprint: str
    image_size: tuple[int, int, int]
    pool: tuple[int, int] | None
    grid: tuple[int, int]
    channels: int
    dtype: str
    shard_images: int
    images: dict[str, int]
    splits: dict[str, str]
    format: str = FORMAT

    @property
    def row(self) -> tuple[int, int]:
        """(N, C) of one image."""
        return self.grid[0] * self.grid[1], self.channels

    @property
    def row_bytes(self) -> int:
        return self.row[0] * self.row[1] * np.dtype(self.dtype).itemsize

    def problem(self) -> str:
        """Why no store can be of this, or ""."""
        sizes = (*self.grid, *self.image_size, *(self.pool or (1, 1)), self.channels)
        if min(*sizes, self.shard_images) < 1 or max(sizes) > _MOST:
            return "a size is out of range"
        if self.dtype not in ("float16", "float32"):
            return f"dtype is {self.dtype!r}"
        if any(not 0 <= count <= _MOST * self.shard_images for count in self.images.values()):
            return "a number of images is out of range"
        if missing := set(self.splits.values()) - set(self.images):
            return f"it has no images of part {min(missing)!r}"
        return ""

    def shards(self, part: str) -> Iterator[tuple[str, int, int]]:
        """(file name, first row, row after the last) of every shard of a part."""
        count = self.images[part]
        for number, first in enumerate(range(0, count, self.shard_images)):
            yield f"{part}-{number:05d}.npy", first, min(first + self.shard_images, count)


class FeatureStore:
    """An open store: ``images(split)`` gives what the model takes in place of the split's images.

    fingerprint: names the content, so that a training is not continued on other features.
    """

    def __init__(self, root: Path, description: Description, shards: dict[str, Shard]) -> None:
        self.root = root
        self.description = description
        content = json.dumps([description.dtype, *(shard.sha256 for shard in shards.values())])
        self.fingerprint = hashlib.sha256(content.encode()).hexdigest()[:16]
        self._shards = shards
        self._open: dict[str, MappedFeatures] = {}

    @classmethod
    def open(cls, root: str | Path) -> FeatureStore:
        """A finished store. DataError that names every shard that is missing or was cut."""
        root = Path(root).expanduser()
        description = read_description(root)
        if description is None:
            raise DataError(f"{root}: not a feature store; make it with: {_command(root)}")
        shards = _read_index(root)
        store = cls(root, description, shards)
        problems = [
            problem for name, shard in shards.items() if (problem := wrong_size(root / name, shard.bytes))
        ]
        if problems:
            more = f", and {len(problems) - _NAMED} more" if len(problems) > _NAMED else ""
            raise DataError(
                f"{', '.join(problems[:_NAMED])}{more}; make what is wrong again with: {_command(root)}"
            )
        return store

    @property
    def dtype(self) -> str:
        """Of the features, as ``float16``."""
        return self.description.dtype

    def __str__(self) -> str:
        of = self.description
        rows, columns = of.grid
        size = sum(shard.bytes for shard in self._shards.values()) / 1e6
        return (
            f"{rows}x{columns} cells of {of.channels} channels, {of.dtype}, {size:,.0f} MB in {self.root} "
            f"({', '.join(self.splits)})"
        )

    @property
    def splits(self) -> tuple[str, ...]:
        """Splits all of whose shards are there."""
        description = self.description
        return tuple(
            split
            for split, part in description.splits.items()
            if all(name in self._shards for name, _, _ in description.shards(part))
        )

    def images(self, split: str) -> MappedFeatures:
        """(I, N, C), memory-mapped. DataError for a split without features."""
        if split not in self.splits:
            raise DataError(
                f"{self.root}: no features of split '{split}', only of {', '.join(self.splits) or 'none'}; "
                f"make them with: {_command(self.root, '--splits', split)}"
            )
        of = self.description
        part = of.splits[split]
        if part not in self._open:
            names = [self.root / name for name, _, _ in of.shards(part)]
            self._open[part] = MappedFeatures(names, of.shard_images, (of.images[part], *of.row), of.dtype)
        return self._open[part]

    def image_digest(self, split: str, row: int) -> str:
        """The digest of the image that a row was made from."""
        description = self.description
        number, at = divmod(row, description.shard_images)
        name = f"{description.splits[split]}-{number:05d}.npy"
        return self._shards[name].images[at * DIGITS : (at + 1) * DIGITS]


def description_file(root: Path) -> Path:
    return root / "description.json"


def index_file(root: Path) -> Path:
    return root / "shards.json"


def read_description(root: Path) -> Description | None:
    """What a store, finished or not, is of; None if there is no store. DataError when it is damaged."""
    path = description_file(root)

    def described(table: Any) -> Description:
        if table["format"] != FORMAT:
            raise DataError(f"{path}: format {table['format']!r} found, {FORMAT!r} expected; make it again")
        description: Description = _converter.structure(table, Description)
        if problem := description.problem():
            raise DataError(f"{path}: the file is damaged, {problem}; {_way_out(root)}")
        return description

    try:
        return _read(path, described)
    except FileNotFoundError:
        return None


def wrong_size(path: Path, expected: int) -> str:
    """What is wrong with a file by its size, or nothing."""
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        return f"{path}: the file is missing"
    except OSError as error:
        return f"{path}: cannot be read ({error.strerror or error})"
    return f"{path}: {size:,} bytes found, {expected:,} expected" if size != expected else ""


def _read_index(root: Path) -> dict[str, Shard]:
    try:
        return _read(index_file(root), lambda table: _converter.structure(table, dict[str, Shard]))
    except FileNotFoundError:
        raise DataError(f"{root}: the feature store is not finished; resume with: {_command(root)}") from None


def _read(path: Path, convert: Callable[[Any], Content]) -> Content:
    """A JSON file, converted. FileNotFoundError; DataError for what cannot be read or converted."""
    try:
        return convert(json.loads(path.read_bytes()))
    except (FileNotFoundError, DataError):
        raise
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from None
    except Exception as error:  # cattrs fails in many ways
        problem = f"the file is damaged, it describes no features; {_way_out(path.parent)}"
        raise DataError(f"{path}: {problem}") from error


def _way_out(root: Path) -> str:
    return f"delete it and make it again with: {_command(root)}"


def _command(root: Path, *options: str) -> str:
    return pasteable("hacore", "features", "SPEC", "--output", root, *options)

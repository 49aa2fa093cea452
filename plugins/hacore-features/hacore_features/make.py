"""Fills a store: every image of the splits through the encoder, once."""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt
import torch
from hacore_packing.arrays import ArrayWriter
from hacore_packing.files import content_of, require_room
from torch import Tensor

from hacore.console import Console, Silent, log_shown, time_left
from hacore.data import Dataset
from hacore.errors import DataError, HacoreError
from hacore.features.store import (
    Description,
    FeatureStore,
    Shard,
    description_file,
    image_digests,
    read_description,
)
from hacore.machine.device import choose_device
from hacore.model.compose import compose
from hacore.model.network import VQAModel
from hacore.model.opening import open_dataset
from hacore.model.stored import (
    describe_store,
    differences,
    fewer_images,
    other_images,
    raise_differences,
    require_frozen,
)
from hacore.spec import Spec
from hacore_features.shards import (
    file_bytes,
    finish_shard,
    finished,
    publish,
    save_table,
    shard_entry,
    shard_writer,
)

SHARD_BYTES = 1 << 28
_MOST_SHARDS = 128  # of a part; each is a file that is open while it is read


@attrs.frozen(kw_only=True)
class Made:
    """What was done. missing: shards that other processes have yet to finish; none: the store is whole."""

    root: Path
    description: Description
    images: int
    """Images encoded now, by this process."""
    seconds: float
    missing: list[str]


def make_features(
    spec: Spec,
    root: str | Path,
    *,
    splits: Iterable[str] = (),
    device: str = "auto",
    dtype: str = "float16",
    batch_images: int = 32,
    shard_bytes: int = SHARD_BYTES,
    verify: bool = False,
    progress: Callable[[str, int, int, str], object] | None = None,
    quiet: bool = False,
) -> Made:
    """Store the features of the spec's image encoder, or resume what is there.

    splits: all of the dataset by default. Encoded in float32, stored as ``dtype``. Shards that are there
    and of the right size are kept; with ``verify`` their checksums and the pixels that they were made
    from are compared too, and what differs is made again. Started by torchrun, each process makes every
    n-th shard; the processes do not wait for each other, and whichever finds all shards finished
    writes the index. quiet: show nothing; otherwise bars on a terminal, a text that changes in a notebook,
    lines elsewhere. progress: is called instead, with a split, the images done and in all, both of this
    process, and how fast it goes.

    Raises ComposeError for an encoder that is trained, DataError for a store of something else, features
    that ``dtype`` cannot hold and a disk that is too small.
    """
    console = Silent() if quiet or progress else _console()
    with closing(console), log_shown(console):
        return _fill(
            *(spec, Path(root).expanduser(), splits, choose_device(device), dtype, batch_images),
            shard_bytes=shard_bytes,
            verify=verify,
            progress=progress or console.progress,
        )


def _console() -> Console:
    """Of several processes, each says which it is; their bars would overwrite each other."""
    if "RANK" not in os.environ:
        return Console()
    return Console(lambda text: print(f"process {os.environ['RANK']}: {text}", file=sys.stderr))


def _fill(
    spec: Spec,
    root: Path,
    splits: Iterable[str],
    chosen: torch.device,
    dtype: str,
    batch_images: int,
    *,
    shard_bytes: int,
    verify: bool,
    progress: Callable[[str, int, int, str], object],
) -> Made:
    started = time.monotonic()
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
    dataset = open_dataset(spec.data)
    names = _names(spec, dataset, splits)
    torch.manual_seed(spec.seed)
    model = compose(spec, dataset.sizes())
    require_frozen(spec, model)
    model.to(chosen).eval()
    wanted = describe_store(spec, dataset, model, names, dtype, 0)
    description = _begin(root, wanted, shard_bytes)
    done = _kept(root, description, dataset, wanted.splits, verify)
    jobs = [
        (split, name, first, last)
        for split, part in wanted.splits.items()
        if split == part
        for name, first, last in description.shards(description.splits[split])
    ]
    _require_room(root, description, [(first, last) for _, name, first, last in jobs if name not in done])
    rank, processes = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    own = [job for job in jobs[rank::processes] if job[1] not in done]
    meter = _Meter(own, progress)
    for split, name, first, last in own:
        _make_shard(root / name, description, dataset, model, split, (first, last), batch_images, meter)
    missing = publish(root, description)
    return Made(
        root=root,
        description=description,
        images=meter.encoded,
        seconds=time.monotonic() - started,
        missing=missing,
    )


def _names(spec: Spec, dataset: Dataset[Any], splits: Iterable[str]) -> tuple[str, ...]:
    """The splits to encode. Raises HacoreError for one that the dataset does not have."""
    names = tuple(dict.fromkeys(splits)) or dataset.splits
    if unknown := [name for name in names if name not in dataset.splits]:
        raise HacoreError(
            f"--splits: dataset '{spec.data.use}' has no split '{unknown[0]}'; it has "
            f"{', '.join(dataset.splits)}"
        )
    return names


def _begin(root: Path, wanted: Description, shard_bytes: int) -> Description:
    """Say in the folder what is made there, and take over what is there already."""
    stored = read_description(root)
    if stored is None:
        if root.exists() and (not root.is_dir() or any(root.iterdir())):
            raise DataError(f"{root}: holds other files than features; choose another folder with --output")
        most = max(wanted.images.values())
        rows = max(1, shard_bytes // wanted.row_bytes, -(-most // _MOST_SHARDS))
        description = attrs.evolve(wanted, shard_images=rows)
    else:
        raise_differences(root, differences(stored, wanted))
        for split, part in wanted.splits.items():
            if split in stored.splits and stored.images[stored.splits[split]] != wanted.images[part]:
                here, there = stored.images[stored.splits[split]], wanted.images[part]
                raise_differences(root, [fewer_images(split, here, there)])
        images = {part: count for part, count in wanted.images.items() if part not in stored.splits}
        parts = {split: stored.splits.get(part, part) for split, part in wanted.splits.items()}
        description = attrs.evolve(
            stored, images={**stored.images, **images}, splits={**parts, **stored.splits}
        )
    if description != stored:
        save_table(description_file(root), attrs.asdict(description))
    return description


def _kept(
    root: Path, description: Description, dataset: Dataset[Any], splits: dict[str, str], verify: bool
) -> dict[str, Shard]:
    """The shards that need not be made. DataError when the data are others than those of the store."""
    kept = finished(root, description)
    if not verify:
        store = FeatureStore(root, description, kept)
        raise_differences(
            root, other_images(store, dataset, [split for split in splits if split in store.splits])
        )
        return kept
    for part, split in {description.splits[split]: split for split in splits}.items():
        images = dataset.images(split)
        for name, first, last in description.shards(part):
            if name in kept and not (
                content_of(root / name).sha256 == kept[name].sha256
                and "".join(image_digests(images[first:last])) == kept[name].images
            ):
                del kept[name]
    return kept


def _require_room(root: Path, description: Description, ranges: list[tuple[int, int]]) -> None:
    needed = sum(file_bytes(description, first, last) for first, last in ranges)
    needed -= sum(path.stat().st_size for path in root.glob(".*.part"))
    require_room(
        root,
        needed,
        "make room, choose another folder with --output, a smaller grid with --set "
        "features.pool=[ROWS,COLUMNS], or fewer --splits",
    )


def _make_shard(
    path: Path,
    description: Description,
    dataset: Dataset[Any],
    model: VQAModel,
    split: str,
    rows: tuple[int, int],
    batch_images: int,
    meter: _Meter,
) -> None:
    """One shard, from where an earlier writer of it stopped."""
    first, last = rows
    images = dataset.images(split)
    shape = (last - first, *description.row)
    try:
        # One batch is hashed and written while the next is encoded.
        with shard_writer(path, shape, description.dtype) as writer, ThreadPoolExecutor(1) as pool:
            for old in (path, shard_entry(path)):  # of another size or content than it should have
                old.unlink(missing_ok=True)
            meter.resumed(split, writer.done)
            written: Future[None] | None = None
            for start, stop in writer.missing(batch_images):
                batch = np.array(images[first + start : first + stop])
                features = _encode(model, batch, description.dtype, split, first + start)
                if written is not None:
                    written.result()
                written = pool.submit(_write, writer, start, features, batch)
                meter.encode(split, len(batch))
            if written is not None:
                written.result()
            finish_shard(writer, path)
    except OSError as error:
        raise DataError(
            f"{path}: cannot be written ({error.strerror or error}); what is done is kept, make room and run "
            "the same command again"
        ) from error


def _write(writer: ArrayWriter, start: int, features: Tensor, images: npt.NDArray[np.uint8]) -> None:
    writer.write(start, features.cpu().numpy(), image_digests(images))


@torch.inference_mode()
def _encode(model: VQAModel, images: npt.NDArray[np.uint8], dtype: str, split: str, start: int) -> Tensor:
    """(I, N, C) of images (I, 3, H, W). DataError when the type cannot hold them."""
    cells = model.encode(torch.from_numpy(images).to(model.positions_N2.device))
    features = cells.features.to(getattr(torch, dtype))
    finite_I = torch.isfinite(features).flatten(1).all(1)
    if not finite_I.all():
        row = start + int((~finite_I).nonzero()[0])
        way_out = "check the weights and the image"
        if torch.isfinite(cells.features).all():
            way_out = "use --dtype float32"
        raise DataError(f"image {row} of split {split}: its features are not finite in {dtype}; {way_out}")
    return features


class _Meter:
    """Counts the images of this process and says how it goes."""

    def __init__(
        self, jobs: list[tuple[str, str, int, int]], progress: Callable[[str, int, int, str], object]
    ) -> None:
        self.encoded = 0
        self._total: Counter[str] = Counter()
        for split, _, first, last in jobs:
            self._total[split] += last - first
        self._done: Counter[str] = Counter()
        self._progress = progress
        self._started = time.monotonic()

    def resumed(self, split: str, images: int) -> None:
        """Images of the split that were done by an earlier process."""
        self._done[split] += images

    def encode(self, split: str, images: int) -> None:
        self._done[split] += images
        self.encoded += images
        rate = self.encoded / max(time.monotonic() - self._started, 1e-9)
        left = time_left((self._total.total() - self._done.total()) / rate)  # of all splits
        self._progress(split, self._done[split], self._total[split], f"{rate:,.1f} images/s  {left}")

"""Whether a store holds what the image encoder and the data of a spec give."""

from __future__ import annotations

import reprlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from hacore.data import Dataset
from hacore.errors import ComposeError, DataError
from hacore.features.store import Description, FeatureStore, image_digests
from hacore.machine.files import tensors_digest
from hacore.model.compose import label
from hacore.model.network import VQAModel, evaluating
from hacore.spec import Spec, unstructure_config

LOOKED_AT = 32
"""Images of a split whose pixels are compared when a store is opened."""
_TOLERANCE = 0.02  # of the largest value: more than devices and float16 differ by
_STATISTICS = ("image_mean", "image_std")


def with_features(dataset: Dataset[Any], spec: Spec, model: VQAModel) -> Dataset[Any]:
    """The dataset with the inputs that a spec wants: as it is, or reading from the store that it names.

    The model is set up to take the features. Raises DataError when the store is damaged, or made by other
    weights, size or data than the spec says: everything that differs is named. What is compared: shapes, the
    weights' digest, the pixels of some images, and the features of one image with those that the encoder
    gives now.
    """
    if spec.features.root is None:
        return dataset
    require_frozen(spec, model)
    store = FeatureStore.open(spec.features.root)
    splits = dict.fromkeys(("train", spec.eval.split, spec.eval.final_split))
    for split in splits:
        store.images(split)
    wanted = describe_store(
        spec, dataset, model, splits, store.description.dtype, store.description.shard_images
    )
    raise_differences(store.root, differences(store.description, wanted))
    raise_differences(store.root, other_images(store, dataset, splits))
    raise_differences(store.root, _other_features(store, dataset, model, wanted))
    model.stored_dtype = getattr(torch, store.dtype)
    return dataset.reading(store)


def require_frozen(spec: Spec, model: VQAModel) -> None:
    """ComposeError when training would change the image encoder, and with it what is stored."""
    encoder = model.image_encoder
    if not encoder.trains:
        return
    use = spec.image_encoder
    trained = sum(p.numel() for p in encoder.parameters() if p.requires_grad)
    way_out = "take an image encoder that is not trained"
    if encoder.freeze:
        way_out = f"set image_encoder.{encoder.freeze}"
    raise ComposeError(
        f"{label('image_encoder', use)}: has {trained:,} trained parameters, so its features change with "
        f"every step and cannot be stored; {way_out}, or leave features.root out"
    )


def describe_store(
    spec: Spec,
    dataset: Dataset[Any],
    model: VQAModel,
    splits: Iterable[str],
    dtype: str,
    shard_images: int,
) -> Description:
    """What a store of these splits would be of."""
    images, parts = {}, {}
    places: dict[tuple[Any, ...], str] = {}
    for split in splits:
        stored = dataset.images(split)
        # Splits made of the same images, as one that was carved out of another, share their features.
        parts[split] = places.setdefault(_place(stored), split)
        images[parts[split]] = len(stored)
    encoder = model.image_encoder
    state = encoder.state_dict()
    return Description(
        encoder=spec.image_encoder.use,
        options=unstructure_config(spec.image_encoder.options),
        weights=tensors_digest({name: tensor for name, tensor in state.items() if name not in _STATISTICS}),
        image_mean=tuple(encoder.image_mean.flatten().tolist()),
        image_std=tuple(encoder.image_std.flatten().tolist()),
        data=spec.data.use,
        fingerprint=dataset.fingerprint,
        image_size=dataset.image_size,
        pool=spec.features.pool,
        grid=model.grid,
        channels=encoder.out_channels,
        dtype=dtype,
        shard_images=shard_images,
        images=images,
        splits=parts,
    )


def differences(stored: Description, wanted: Description) -> list[str]:
    """How a store differs from what is wanted, a phrase each; more images than wanted are fine."""
    problems = []
    if stored.encoder == wanted.encoder and stored.weights != wanted.weights:
        problems = _other_options(stored, wanted)
    for field, name in (
        ("encoder", "image_encoder"),
        ("weights", "the digest of the encoder's weights"),
        ("image_mean", "the image mean"),
        ("image_std", "the image deviation"),
        ("data", "data"),
        ("image_size", "the image size"),
        ("pool", "features.pool"),
        ("grid", "the grid"),
        ("channels", "the number of channels"),
        ("dtype", "the type of numbers"),
    ):
        theirs, ours = getattr(stored, field), getattr(wanted, field)
        if theirs != ours:
            problems.append(f"{name} is {_shown(theirs)} in the store and {_shown(ours)} in the spec")
    for split, part in wanted.splits.items():
        if split in stored.splits and stored.images[stored.splits[split]] < wanted.images[part]:
            problems.append(fewer_images(split, stored.images[stored.splits[split]], wanted.images[part]))
    return problems


def fewer_images(split: str, stored: int, wanted: int) -> str:
    """Says that a store has another number of images than the data."""
    return f"split {split} has {stored:,} images in the store and {wanted:,} in the data"


def other_images(store: FeatureStore, dataset: Dataset[Any], splits: Iterable[str]) -> list[str]:
    """Whether some images of the splits, spread evenly, are not those that the store was made from."""
    problems = []
    for split in splits:
        images = dataset.images(split)
        rows = looked_at(len(images))
        digests = image_digests(images[rows])
        other = [
            row
            for row, digest in zip(rows.tolist(), digests, strict=True)
            if store.image_digest(split, row) != digest
        ]
        if other:
            problems.append(f"{len(other)} of {len(rows)} in split {split} from image {other[0]} on")
    if not problems:
        return []
    return [
        f"images that were compared are others ({', '.join(problems)}), the data are "
        f"{store.description.fingerprint} in the store and {dataset.fingerprint} in the spec"
    ]


def looked_at(count: int) -> npt.NDArray[np.int64]:
    """Rows that are compared, from the first to the last."""
    return np.unique(np.linspace(0, max(count - 1, 0), min(LOOKED_AT, count)).astype(np.int64))


def raise_differences(root: Path, problems: list[str]) -> None:
    """DataError that names all of what was found; nothing when nothing was."""
    if problems:
        raise DataError(
            f"{root}: is a feature store of something else: {'; '.join(problems)}; change the spec, or make "
            "another store with 'hacore features SPEC --output DIR'"
        )


def _other_features(
    store: FeatureStore, dataset: Dataset[Any], model: VQAModel, wanted: Description
) -> list[str]:
    """Compare the first training image's features; the model keeps the positions of the cells."""
    images = torch.from_numpy(np.array(dataset.images("train")[:1]))
    with evaluating(model):
        cells = model.encode(images.to(model.positions_N2.device))
    model.positions_N2.copy_(cells.positions)
    stored = torch.from_numpy(store.images("train")[:1]).to(cells.features)
    largest = float(cells.features.abs().max())
    apart = float((stored - cells.features).abs().max())
    if apart <= _TOLERANCE * largest:
        return []
    return [
        *_other_options(store.description, wanted),
        f"the features of training image 0 differ by up to {apart:.3g} from what the encoder gives now, "
        f"whose largest is {largest:.3g}",
    ]


def _other_options(stored: Description, wanted: Description) -> list[str]:
    keys = dict.fromkeys((*stored.options, *wanted.options))
    values = [(key, stored.options.get(key), wanted.options.get(key)) for key in keys]
    return [
        f"image_encoder.{key} is {reprlib.repr(theirs)} in the store and {reprlib.repr(ours)} in the spec"
        for key, theirs, ours in values
        if theirs != ours
    ]


def _place(images: npt.NDArray[np.uint8]) -> tuple[Any, ...]:
    """Where an array lies, equal only for the same values in the same memory."""
    return images.__array_interface__["data"][0], images.shape, images.strides


def _shown(value: Any) -> str:
    if value is None:
        return "not set"
    if isinstance(value, str):
        return value[:12] if len(value) == 64 else value
    if isinstance(value, tuple):
        return f"[{', '.join(f'{number:.4g}' for number in value)}]"
    return str(value)

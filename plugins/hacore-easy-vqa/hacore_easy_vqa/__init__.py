"""Declares the dataset "easy-vqa". Imports no torch."""

from __future__ import annotations

import attrs

from hacore.plugin import Component, hookimpl, option

hacore_contract = 2

TRAIN_IMAGES = 4000


@attrs.frozen(kw_only=True)
class Config:
    """Options of easy-VQA, whose official split test stays as it is."""

    validation: int = option(
        400,
        f"images of the official {TRAIN_IMAGES:,} for training that are val; train has what is left",
        min=1,
        max=TRAIN_IMAGES - 1,
    )
    validation_seed: int = option(0, "draws the images of val; another seed, other images", min=0)


@hookimpl
def hacore_declare() -> list[Component]:
    return [
        Component(
            kind="dataset",
            name="easy-vqa",
            target="hacore_easy_vqa.dataset:EasyVQA",
            config=Config,
            summary="one coloured shape an image, asked for its shape and colour; comes with its package",
        )
    ]

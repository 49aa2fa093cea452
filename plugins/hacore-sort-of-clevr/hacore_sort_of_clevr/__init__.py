"""Declares the dataset "sort-of-clevr". Imports no torch."""

from __future__ import annotations

from typing import Literal

import attrs

from hacore.plugin import Component, hookimpl, option

hacore_contract = 2

Closest = Literal["other", "popular"]
"""Which object is closest to an object: see ``hacore_sort_of_clevr.scenes.nearest_and_furthest``."""


def _even(value: int) -> str | None:
    return f"{value} is odd; half of the questions are relational, give an even number" if value % 2 else None


@attrs.frozen(kw_only=True)
class Config:
    """Options of Sort-of-CLEVR; the defaults are those of the RN paper but for the validation split."""

    images: int = option(10_000, "images in all, of 75x75 pixels", min=3)
    held_out: int = option(200, "images of the split test", min=1)
    validation: int = option(200, "images of the split val; train has what is left", min=1)
    questions: int = option(
        20, "questions an image, half non-relational, half relational; even", min=2, max=36, check=_even
    )
    closest: Closest = option(
        "other",
        "other: the nearest other object; popular: the object itself if no other is within 31.6 pixels, as "
        "in the generator that most reimplementations copy",
    )
    data_seed: int = option(0, "seed of images and questions, apart from the run's seed", min=0)
    root: str = option(
        "", 'folder of the files; "" is the cache ($HACORE_CACHE or ~/.cache/hacore)', place=True
    )

    def __attrs_post_init__(self) -> None:
        if self.images <= self.held_out + self.validation:
            raise ValueError(
                f"images = {self.images} leaves nothing to train on after held_out = {self.held_out} and "
                f"validation = {self.validation}; images must be more than their sum"
            )


@hookimpl
def hacore_declare() -> list[Component]:
    return [
        Component(
            kind="dataset",
            name="sort-of-clevr",
            target="hacore_sort_of_clevr.dataset:SortOfClevr",
            config=Config,
            summary="six coloured shapes an image, relational and other questions; generated",
        )
    ]

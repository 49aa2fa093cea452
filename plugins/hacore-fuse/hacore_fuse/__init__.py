"""Declares the fusers "add", "concat", "multiply" and "image-only". Imports no torch."""

from __future__ import annotations

import attrs

from hacore.plugin import Component, hookimpl, option

hacore_contract = 2


@attrs.frozen(kw_only=True)
class Config:
    """Options of those that combine."""

    width: int = option(64, "channels of the fused vectors", min=1)
    layers: int = option(
        1,
        "1x1 layers with ReLU after combining; 0 gives the combination itself, without ReLU",
        min=0,
        max=100,
    )
    coordinates: bool = option(True, "give each cell's x and y to the image half")


@attrs.frozen(kw_only=True)
class MultiplyConfig(Config):
    """Options of the product."""

    normalise: bool = option(
        True, "batch norm of the question vectors, so that the factors start out different for each question"
    )
    gain_std: float = option(
        1.0, "standard deviation, at the start, of the factors made from a question of unit variance", above=0
    )


@attrs.frozen(kw_only=True)
class ImageOnlyConfig:
    """No options."""


@hookimpl
def hacore_declare() -> list[Component]:
    return [
        Component(
            kind="fuser",
            name="add",
            target="hacore_fuse.fusers:Add",
            config=Config,
            summary="projects cells and question to one width and adds them",
        ),
        Component(
            kind="fuser",
            name="concat",
            target="hacore_fuse.fusers:Concat",
            config=Config,
            summary="a linear layer on the cell and the question, one after the other",
        ),
        Component(
            kind="fuser",
            name="multiply",
            target="hacore_fuse.fusers:Multiply",
            config=MultiplyConfig,
            summary="scales and shifts each channel of the cells by the question, as FiLM does",
        ),
        Component(
            kind="fuser",
            name="image-only",
            target="hacore_fuse.fusers:ImageOnly",
            config=ImageOnlyConfig,
            summary="the image's cells as they are, for aggregators that are given the question themselves",
        ),
    ]

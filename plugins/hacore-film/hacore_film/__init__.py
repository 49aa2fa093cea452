"""Declares the fuser "film". Imports no torch."""

from __future__ import annotations

from typing import Literal

import attrs

from hacore.plugin import Component, hookimpl, option

hacore_contract = 2


def _odd(value: int) -> str | None:
    if value % 2:
        return None
    return f"kernel = {value} would move the cells by half a cell; give an odd number"


@attrs.frozen(kw_only=True)
class Config:
    """Size and form of the residual blocks."""

    width: int = option(64, "channels of the blocks, and of the fused vectors; 128 in the paper", min=1)
    blocks: int = option(
        2, "residual blocks one after the other, the first once per image; 4 in the paper", min=1, max=100
    )
    kernel: int = option(
        3, "side of each block's convolution, 3 in the paper; 1 keeps each cell to itself", min=1, check=_odd
    )
    coordinates: bool = option(True, "give each block the x and y of its cells, as in the paper")
    norm: Literal["batch", "layer", "off"] = option(
        "batch", "normalisation before a question scales and shifts: of channels (the paper's) or of cells"
    )
    normalise: bool = option(
        True, "batch norm of the question vectors, so that the factors start out different for each question"
    )


@hookimpl
def hacore_declare() -> list[Component]:
    return [
        Component(
            kind="fuser",
            name="film",
            target="hacore_film.film:FiLM",
            config=Config,
            summary="residual convolutions whose channels the question scales and shifts (FiLM)",
        )
    ]

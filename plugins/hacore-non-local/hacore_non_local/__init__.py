"""The non-local pairwise operator over the kept cells, as a hacore plugin."""

from __future__ import annotations

from typing import Literal

import attrs

from hacore.plugin import Component, hookimpl, option

hacore_contract = 2


@attrs.frozen(kw_only=True)
class Config:
    """Size and form of the non-local blocks. What hard attention's paper used is open; all are options."""

    width: int | None = option(
        None, "channels of theta, phi and g; half of the channels that come in when left out", min=1
    )
    heads: int = option(1, "groups of width / heads channels that attend independently", min=1)
    blocks: int = option(1, "non-local blocks one after the other", min=1, max=100)
    coordinates: bool = option(True, "append x and y of a cell to the vector that enters theta and phi")
    scale: bool = option(True, "divide theta . phi by the square root of the channels of a head")
    zero_init: bool = option(True, "start the output projection at zero: training begins as sum-pool")
    reduce: Literal["sum", "mean"] = option(
        "sum", "sum over the kept cells, or divide it by their number, or by the sum of their weights"
    )


@hookimpl
def hacore_declare() -> list[Component]:
    return [
        Component(
            kind="aggregator",
            name="non-local",
            target="hacore_non_local.non_local:NonLocal",
            config=Config,
            summary="self-attention with a residual over the kept cells, then their sum or mean (non-local)",
        )
    ]

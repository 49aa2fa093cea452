"""hacore-rn declares the Relation Network aggregator. Importing this imports no torch."""

from __future__ import annotations

from typing import Literal

import attrs

from hacore.plugin import Component, hookimpl, option

hacore_contract = 2


@attrs.frozen(kw_only=True)
class Config:
    """Options of the ``rn`` aggregator."""

    width: int = option(64, "units of each layer of g, and of the output; 256 in the RN paper", min=1)
    layers: int = option(3, "layers of g, each with a ReLU, the last too; 4 in the RN paper", min=1, max=100)
    coordinates: bool = option(True, "append each cell's x and y to its vector, as in the RN paper")
    coordinate_scale: float = option(
        1.0, "factor on x and y, which lie in [-1, 1], so that long vectors do not drown them", above=0
    )
    reduce: Literal["sum", "mean"] = option(
        "sum", "sum over the pairs, as in the RN paper, or divide it by their number"
    )
    pairs_per_block: int | None = option(
        None, "pairs evaluated at a time, for speed and memory only; unset: what fits the cache", min=1
    )
    recompute: Literal["auto", "always", "never"] = option(
        "auto", "compute the layers again in the backward pass; auto: unless they take little memory"
    )


@hookimpl
def hacore_declare() -> list[Component]:
    return [
        Component(
            kind="aggregator",
            name="rn",
            target="hacore_rn.rn:RN",
            config=Config,
            summary="sum over ordered pairs of kept cells of an MLP: the Relation Network",
        )
    ]

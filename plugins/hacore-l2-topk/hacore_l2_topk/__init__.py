"""Hard attention with a fixed number of cells (HAN), as a hacore plugin."""

from __future__ import annotations

import attrs

from hacore.plugin import Component, hookimpl, option

hacore_contract = 2


@attrs.frozen(kw_only=True)
class Config:
    """How many cells go on: ``k`` or ``fraction``, not both; with neither, k = 16."""

    k: int | None = option(None, "cells to keep; 16 when neither k nor fraction is given", min=1, live=True)
    fraction: float | None = option(
        None,
        "share of the grid's cells to keep, instead of k; rounded half up, at least one",
        above=0,
        max=1,
        live=True,
    )

    def __attrs_post_init__(self) -> None:
        if self.k is not None and self.fraction is not None:
            raise ValueError(f"k = {self.k} and fraction = {self.fraction}: give k or fraction, not both")


@hookimpl
def hacore_declare() -> list[Component]:
    return [
        Component(
            kind="selector",
            name="l2-topk",
            target="hacore_l2_topk.l2_topk:L2TopK",
            config=Config,
            summary="keeps the k cells of largest L2 norm (hard attention network, HAN)",
        )
    ]

"""Attention that is exactly zero for most cells (sparsemax, 1.5-entmax), as a hacore plugin."""

from __future__ import annotations

import attrs

from hacore.plugin import Component, hookimpl, option

hacore_contract = 2


@attrs.frozen(kw_only=True)
class Config:
    """How sharp the attention is, and at most how many cells get some."""

    scale: float = option(
        1.0, "factor on the scores; the larger, the fewer cells get weight", above=0, live=True
    )
    max_cells: int | None = option(
        None,
        "share the weight among at most this many cells, those of highest score; fixes K, so CUDA needs no "
        "synchronisation",
        min=1,
        live=True,
    )


@hookimpl
def hacore_declare() -> list[Component]:
    return [
        Component(
            kind="selector",
            name="sparsemax",
            target="hacore_entmax.sparse:Sparsemax",
            config=Config,
            summary="the cells to which sparsemax of learned scores gives weight, with that weight",
        ),
        Component(
            kind="selector",
            name="entmax15",
            target="hacore_entmax.sparse:Entmax15",
            config=Config,
            summary="the cells to which 1.5-entmax of learned scores gives weight, with that weight",
        ),
    ]

"""Soft attention over all cells (stacked attention network, SAN), as a hacore plugin."""

from __future__ import annotations

import attrs

from hacore.plugin import Component, hookimpl, option

hacore_contract = 2


@attrs.frozen(kw_only=True)
class Config:
    """Depth and width of the attention."""

    hops: int = option(1, "rounds of attention; the second sees what the first attended to", min=1, max=2)
    width: int = option(64, "hidden units of the small MLP that scores a cell", min=1)


@hookimpl
def hacore_declare() -> list[Component]:
    return [
        Component(
            kind="selector",
            name="soft-attention",
            target="hacore_soft_attention.soft_attention:SoftAttention",
            config=Config,
            summary="all cells, each with a softmax weight from a small MLP (stacked attention, SAN)",
        )
    ]

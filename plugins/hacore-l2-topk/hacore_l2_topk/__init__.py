"""Hard attention with a fixed number of cells (HAN), as a hacore plugin."""

from __future__ import annotations

import attrs

from hacore.plugin import Component, TopK, hookimpl

hacore_contract = 2


@attrs.frozen(kw_only=True)
class Config(TopK):
    """How many cells go on: ``k`` or ``fraction``, not both; with neither, k = 16."""


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

"""Sum-pooling of the kept cells, as a hacore plugin."""

from __future__ import annotations

import attrs

from hacore.plugin import Component, hookimpl

hacore_contract = 2


@attrs.frozen(kw_only=True)
class Config:
    """No options."""


@hookimpl
def hacore_declare() -> list[Component]:
    return [
        Component(
            kind="aggregator",
            name="sum-pool",
            target="hacore_sum_pool.sum_pool:SumPool",
            config=Config,
            summary="the (weighted) sum of the kept cells",
        )
    ]

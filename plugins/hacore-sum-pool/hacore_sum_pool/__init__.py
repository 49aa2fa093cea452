"""Sum-pooling of the kept cells, as a hacore plugin."""

from __future__ import annotations

from typing import Literal

import attrs

from hacore.plugin import Component, hookimpl, option

hacore_contract = 2


@attrs.frozen(kw_only=True)
class Config:
    """What the sum is divided by."""

    reduce: Literal["sum", "mean"] = option(
        "sum", "sum over the kept cells, or divide it by their number, or by the sum of their weights"
    )


@hookimpl
def hacore_declare() -> list[Component]:
    return [
        Component(
            kind="aggregator",
            name="sum-pool",
            target="hacore_sum_pool.sum_pool:SumPool",
            config=Config,
            summary="the (weighted) sum or mean of the kept cells",
        )
    ]

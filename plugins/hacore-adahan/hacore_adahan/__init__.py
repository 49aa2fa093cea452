"""Hard attention with a number of cells that adapts to the question (AdaHAN), as a hacore plugin."""

from __future__ import annotations

from typing import Literal

import attrs

from hacore.plugin import Component, hookimpl, option

hacore_contract = 2


@attrs.frozen(kw_only=True)
class Config:
    """Which cells pass the threshold, and at most how many."""

    presence: Literal["norm", "square"] = option(
        "norm", "what enters the softmax: the L2 norm of a cell's vector, or its square"
    )
    scale: float = option(
        0.125,
        "factor on the presence under the softmax; 1 is the paper's formula, near 0 the cells above "
        "the mean presence pass",
        above=0,
    )
    threshold: float = option(
        1.0,
        "keep a cell whose probability reaches threshold / N; 1 is the uniform distribution",
        above=0,
        live=True,
    )
    comparison: Literal[">=", ">"] = option(
        ">=", "whether a probability equal to the threshold is enough (>=) or not (>)", live=True
    )
    budget: float | None = option(
        None,
        "mean share of cells to keep, instead of threshold, which training then adjusts to that",
        above=0,
        max=1,
    )
    max_cells: int | None = option(
        None,
        "keep at most this many cells, the strongest; fixes K, so CUDA needs no synchronisation",
        min=1,
        live=True,
    )

    def __attrs_post_init__(self) -> None:
        if self.budget is not None and self.threshold != 1:
            raise ValueError(
                f"budget = {self.budget} and threshold = {self.threshold}: give budget or threshold, not both"
            )


@hookimpl
def hacore_declare() -> list[Component]:
    return [
        Component(
            kind="selector",
            name="adahan",
            target="hacore_adahan.adahan:AdaHAN",
            config=Config,
            summary="keeps the cells that beat the uniform distribution (adaptive hard attention, AdaHAN)",
        )
    ]

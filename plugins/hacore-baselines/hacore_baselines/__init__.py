"""Selectors that a new one must beat, and an oracle that bounds it, as a hacore plugin."""

from __future__ import annotations

import attrs

from hacore.plugin import Component, TopK, hookimpl, option

hacore_contract = 2


@attrs.frozen(kw_only=True)
class Config(TopK):
    """How many cells go on: ``k`` or ``fraction``, not both; with neither, k = 16."""


@attrs.frozen(kw_only=True)
class RandomConfig(TopK):
    """How many cells go on, and which draw of them evaluation uses."""

    seed: int = option(0, "seed of the cells drawn in evaluation", min=0, max=2**31 - 2, live=True)


@hookimpl
def hacore_declare() -> list[Component]:
    return [
        Component(
            kind="selector",
            name="random-k",
            target="hacore_baselines.random_k:RandomK",
            config=RandomConfig,
            summary="keeps k random cells: anew in training, always the same for a question in evaluation",
        ),
        Component(
            kind="selector",
            name="grid-k",
            target="hacore_baselines.places:GridK",
            config=Config,
            summary="keeps k cells spread evenly over the grid, whatever is in them",
        ),
        Component(
            kind="selector",
            name="center-k",
            target="hacore_baselines.places:CenterK",
            config=Config,
            summary="keeps the k cells nearest to the centre of the image",
        ),
        Component(
            kind="selector",
            name="lowest-norm-k",
            target="hacore_baselines.norms:LowestNormK",
            config=Config,
            summary="keeps the k cells of smallest L2 norm, the opposite of HAN",
        ),
        Component(
            kind="selector",
            name="oracle-k",
            target="hacore_baselines.norms:OracleK",
            config=Config,
            summary="keeps the cells of the objects asked about, then those of largest L2 norm (an oracle)",
        ),
    ]

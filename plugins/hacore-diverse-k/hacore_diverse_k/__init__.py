"""The k cells that differ most from each other (DivPrune), as a hacore plugin."""

from __future__ import annotations

import attrs

from hacore.plugin import Component, TopK, hookimpl, option

hacore_contract = 2


@attrs.frozen(kw_only=True)
class Config(TopK):
    """How many cells go on, and whether the question has a say in which."""

    question: bool = option(
        False, "favour cells that match a learned projection of the question, and weigh the kept ones by it"
    )


@hookimpl
def hacore_declare() -> list[Component]:
    return [
        Component(
            kind="selector",
            name="diverse-k",
            target="hacore_diverse_k.diverse_k:DiverseK",
            config=Config,
            summary="keeps k cells that differ from each other as much as possible (DivPrune)",
        )
    ]

"""No attention: every cell goes on, as a hacore plugin."""

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
            kind="selector",
            name="all-cells",
            target="hacore_all_cells.all_cells:AllCells",
            config=Config,
            summary="every cell goes on, no attention",
        )
    ]

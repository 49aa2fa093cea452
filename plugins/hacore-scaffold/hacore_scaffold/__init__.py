"""``hacore new``: a complete plugin package to start from. Imports no torch."""

from __future__ import annotations

from hacore.plugin import Component, hookimpl

hacore_contract = 2


@hookimpl
def hacore_declare() -> list[Component]:
    return [
        Component(
            kind="command",
            name="new",
            target="hacore_scaffold.command:new",
            summary="Write a new plugin package with passing tests.",
        )
    ]

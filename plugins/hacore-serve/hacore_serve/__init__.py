"""Declares the command ``hacore serve``. Imports no torch and no web framework."""

from __future__ import annotations

from hacore.plugin import Component, hookimpl

hacore_contract = 2


@hookimpl
def hacore_declare() -> list[Component]:
    return [
        Component(
            kind="command",
            name="serve",
            target="hacore_serve.command:serve",
            summary="Open a web page that asks trained models about images.",
        )
    ]

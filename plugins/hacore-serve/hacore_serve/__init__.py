"""The command ``hacore serve``, and ``show`` for notebooks. Imports no torch and no web framework."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hacore.plugin import Component, hookimpl

if TYPE_CHECKING:
    from hacore_serve.notebook import show

__all__ = ["show"]

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


def __getattr__(name: str) -> Any:
    if name != "show":
        raise AttributeError(f"module 'hacore_serve' has no attribute {name!r}")
    from hacore_serve.notebook import show

    return show

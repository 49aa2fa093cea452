"""Stores of a frozen image encoder's features. Importing this imports no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hacore.plugin import Component, hookimpl

if TYPE_CHECKING:
    from hacore_features.make import make_features

__all__ = ["make_features"]

hacore_contract = 2


@hookimpl
def hacore_declare() -> list[Component]:
    return [
        Component(
            kind="command",
            name="features",
            target="hacore_features.command:features",
            summary="Run a frozen image encoder over a dataset, once.",
        )
    ]


def __getattr__(name: str) -> Any:
    if name == "make_features":
        from hacore_features.make import make_features

        return make_features
    raise AttributeError(f"module 'hacore_features' has no attribute {name!r}")

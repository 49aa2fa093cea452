"""What a model costs in time and memory, stage by stage. Importing this imports no torch."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from hacore.plugin import Component, hookimpl

if TYPE_CHECKING:
    from hacore_bench.measuring import bench
    from hacore_bench.record import Bench

__all__ = ["Bench", "bench"]

hacore_contract = 2

_HOMES = {"Bench": "hacore_bench.record", "bench": "hacore_bench.measuring"}


@hookimpl
def hacore_declare() -> list[Component]:
    return [
        Component(
            kind="command",
            name="bench",
            target="hacore_bench.command:bench",
            summary="Time a model by stage, beside the same model with all cells.",
        )
    ]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'hacore_bench' has no attribute {name!r}")

"""A trained model as one file for other programs. Importing this imports no torch."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from hacore.errors import HacoreError
from hacore.plugin import Component, hookimpl

if TYPE_CHECKING:
    from hacore_export._export import Exported, export

__all__ = ["ExportError", "Exported", "export"]

hacore_contract = 2


class ExportError(HacoreError):
    """A model that cannot be exported, or an export that does not compute what the model does."""


@hookimpl
def hacore_declare() -> list[Component]:
    return [
        Component(
            kind="command",
            name="export",
            target="hacore_export.command:export",
            summary="Write a trained model as ONNX or a torch.export program.",
        )
    ]


def __getattr__(name: str) -> Any:
    if name in ("Exported", "export"):
        return getattr(importlib.import_module("hacore_export._export"), name)
    raise AttributeError(f"module 'hacore_export' has no attribute {name!r}")

"""Questions to a trained model, about one picture or a table of them. Importing this imports no torch."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from hacore.plugin import Component, hookimpl

if TYPE_CHECKING:
    from hacore_ask.asking import Reply, ask, ask_many
    from hacore_ask.predicting import Prediction, predict

__all__ = ["Prediction", "Reply", "ask", "ask_many", "predict"]

hacore_contract = 2

_HOMES = {
    "Prediction": "hacore_ask.predicting",
    "Reply": "hacore_ask.asking",
    "ask": "hacore_ask.asking",
    "ask_many": "hacore_ask.asking",
    "predict": "hacore_ask.predicting",
}


@hookimpl
def hacore_declare() -> list[Component]:
    return [
        Component(
            kind="command",
            name="ask",
            target="hacore_ask.ask_command:ask",
            summary="Ask a trained model about an image.",
        ),
        Component(
            kind="command",
            name="predict",
            target="hacore_ask.predict_command:predict",
            summary="Answer a whole file of questions with a trained model.",
        ),
    ]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'hacore_ask' has no attribute {name!r}")

"""Declares trained models that come along, and ``hacore zoo``, which shows them. Imports no torch."""

from __future__ import annotations

from pathlib import Path

from hacore.plugin import Component, hookimpl

hacore_contract = 2

_HERE = Path(__file__).parent
HAN_RN, ADAHAN_RN, EASY_VQA = _HERE / "han_rn", _HERE / "adahan_rn", _HERE / "easy_vqa"

_MODELS = {
    "han-rn": ("HAN_RN", "HAN with a Relation Network on Sort-of-CLEVR: 10 of 100 cells"),
    "adahan-rn": ("ADAHAN_RN", "AdaHAN with a Relation Network on Sort-of-CLEVR: at most 20 of 100 cells"),
    "easy-vqa": ("EASY_VQA", "HAN with sum-pooling on easy-VQA: 1 of 64 cells"),
}


@hookimpl
def hacore_declare() -> list[Component]:
    models = [
        Component(kind="model", name=name, target=f"hacore_zoo:{folder}", summary=summary)
        for name, (folder, summary) in _MODELS.items()
    ]
    command = Component(
        kind="command",
        name="zoo",
        target="hacore_zoo.command:zoo",
        summary="Show the trained models that come along.",
    )
    return [*models, command]

"""Declares trained models that come along, and ``hacore zoo``, which shows them. Imports no torch."""

from __future__ import annotations

from pathlib import Path

from hacore.plugin import Component, hookimpl

hacore_contract = 2

_HERE = Path(__file__).parent
HAN_RN, ADAHAN_RN, CLEVR, EASY_VQA = (_HERE / name for name in ("han_rn", "adahan_rn", "clevr", "easy_vqa"))
_MODELS = {
    "HAN_RN": "HAN with a Relation Network on Sort-of-CLEVR: 10 of 100 cells",
    "ADAHAN_RN": "AdaHAN with a Relation Network on Sort-of-CLEVR: at most 20 of 100 cells",
    "CLEVR": "HAN with MAC on generated CLEVR: 64 of 256 cells",
    "EASY_VQA": "HAN with sum-pooling on easy-VQA: 1 of 64 cells",
}


@hookimpl
def hacore_declare() -> list[Component]:
    models = [
        Component(
            kind="model",
            name=name.lower().replace("_", "-"),
            target=f"hacore_zoo:{name}",
            summary=summary,
        )
        for name, summary in _MODELS.items()
        if (_HERE / name.lower()).is_dir()  # make.py has made it
    ]
    command = Component(
        kind="command",
        name="zoo",
        target="hacore_zoo.command:zoo",
        summary="Show the trained models that come along.",
    )
    return [*models, command]

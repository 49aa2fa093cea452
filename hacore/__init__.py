"""hacore: a workbench for hard attention in visual question answering.

    import hacore
    spec = hacore.load_spec("experiments/han_rn.toml", ["train.epochs=1"])
    folder, result = hacore.run(spec)
    trained = hacore.load(folder)

Importing this package imports no torch; the functions below do when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hacore.errors import HacoreError
    from hacore.evaluation import evaluate
    from hacore.model import compose
    from hacore.runs import RunFolder
    from hacore.spec import Spec, load_spec, resolve
    from hacore.workflow import check, evaluate_run, load, open_dataset, run

__version__ = "0.1.0"

_HOMES = {
    "HacoreError": "hacore.errors",
    "RunFolder": "hacore.runs",
    "Spec": "hacore.spec",
    "check": "hacore.workflow",
    "compose": "hacore.model",
    "evaluate": "hacore.evaluation",
    "evaluate_run": "hacore.workflow",
    "load": "hacore.workflow",
    "load_spec": "hacore.spec",
    "open_dataset": "hacore.workflow",
    "resolve": "hacore.spec",
    "run": "hacore.workflow",
}

__all__ = [
    "HacoreError",
    "RunFolder",
    "Spec",
    "__version__",
    "check",
    "compose",
    "evaluate",
    "evaluate_run",
    "load",
    "load_spec",
    "open_dataset",
    "resolve",
    "run",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'hacore' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__

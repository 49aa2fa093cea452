"""hacore: a workbench for hard attention in visual question answering.

    import hacore
    folder, result = hacore.run("experiments/han_rn.toml", "train.epochs=1")
    trained = hacore.load(folder)
    print(trained.ask("scene.png", "what is the shape of the red object ?").answer)

Importing this package imports no torch; the functions below do when they need it.
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hacore.errors import HacoreError
    from hacore.measure.evaluation import evaluate
    from hacore.model.compose import compose
    from hacore.model.opening import open_dataset
    from hacore.model.selecting import select
    from hacore.runs import Result, RunFolder
    from hacore.runs.trained import Trained, load
    from hacore.spec import Spec, load_spec, load_sweep, resolve
    from hacore.workflow import check, eval, evaluate_run, run

__version__ = "0.1.0"

_NAMES = {
    "hacore.errors": "HacoreError",
    "hacore.measure.evaluation": "evaluate",
    "hacore.model.compose": "compose",
    "hacore.model.opening": "open_dataset",
    "hacore.model.selecting": "select",
    "hacore.runs": "Result RunFolder",
    "hacore.runs.trained": "Trained load",
    "hacore.spec": "Spec load_spec load_sweep resolve",
    "hacore.workflow": "check eval evaluate_run run",
    # Of packages of their own:
    "hacore_ask": "ask ask_many",
    "hacore_export": "export",
    "hacore_features": "make_features",
    "hacore_folder": "in_memory",
    "hacore_report": "compare mark_best plot read_runs tabulate write_comparison write_report write_table",
    "hacore_sweep": "run_sweep",
}
_HOMES = {name: home for home, names in _NAMES.items() for name in names.split()}


__all__ = [
    "HacoreError",
    "Result",
    "RunFolder",
    "Spec",
    "Trained",
    "__version__",
    "check",
    "compose",
    "eval",
    "evaluate",
    "evaluate_run",
    "load",
    "load_spec",
    "load_sweep",
    "open_dataset",
    "resolve",
    "run",
    "select",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'hacore' has no attribute {name!r}")
    home = _HOMES[name]
    package = home.partition(".")[0]
    if importlib.util.find_spec(package) is None:
        from hacore.registry.installing import missing_package

        raise missing_package(f"hacore.{name}", package)
    return getattr(importlib.import_module(home), name)


def __dir__() -> list[str]:
    return [*_HOMES, "__version__"]

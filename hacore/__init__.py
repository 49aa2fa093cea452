"""hacore: a workbench for hard attention in visual question answering.

    import hacore
    spec = hacore.load_spec("experiments/han_rn.toml", ["train.epochs=1"])
    folder, result = hacore.run(spec)
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
    from hacore.runs import Result, RunFolder
    from hacore.runs.trained import Trained, load
    from hacore.spec import Spec, load_spec, load_sweep, resolve
    from hacore.workflow import check, evaluate_run, run

__version__ = "0.1.0"

_HOMES = {
    "HacoreError": "hacore.errors",
    "Result": "hacore.runs",
    "RunFolder": "hacore.runs",
    "Spec": "hacore.spec",
    "Trained": "hacore.runs.trained",
    "check": "hacore.workflow",
    "compose": "hacore.model.compose",
    "evaluate": "hacore.measure.evaluation",
    "evaluate_run": "hacore.workflow",
    "load": "hacore.runs.trained",
    "load_spec": "hacore.spec",
    "load_sweep": "hacore.spec",
    "open_dataset": "hacore.model.opening",
    "resolve": "hacore.spec",
    "run": "hacore.workflow",
    # Of packages of their own:
    "ask": "hacore_ask",
    "ask_many": "hacore_ask",
    "compare": "hacore_report",
    "export": "hacore_export",
    "make_features": "hacore_features",
    "mark_best": "hacore_report",
    "plot": "hacore_report",
    "read_runs": "hacore_report",
    "run_sweep": "hacore_sweep",
    "tabulate": "hacore_report",
    "write_comparison": "hacore_report",
    "write_report": "hacore_report",
    "write_table": "hacore_report",
}

__all__ = [
    "HacoreError",
    "Result",
    "RunFolder",
    "Spec",
    "Trained",
    "__version__",
    "check",
    "compose",
    "evaluate",
    "evaluate_run",
    "load",
    "load_spec",
    "load_sweep",
    "open_dataset",
    "resolve",
    "run",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'hacore' has no attribute {name!r}")
    home = _HOMES[name]
    package = home.partition(".")[0]
    if importlib.util.find_spec(package) is None:
        distribution = package.replace("_", "-")
        raise ImportError(
            f"hacore.{name} comes with {distribution}, which is not installed; from a checkout: "
            f"pip install -e plugins/{distribution}"
        )
    return getattr(importlib.import_module(home), name)


def __dir__() -> list[str]:
    return [*_HOMES, "__version__"]

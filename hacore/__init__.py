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
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hacore.datasets import open_dataset
    from hacore.errors import HacoreError
    from hacore.exporting import export
    from hacore.features.make import make_features
    from hacore.measure.evaluation import evaluate
    from hacore.model import compose
    from hacore.report import plot, read_runs, tabulate, write_comparison, write_report, write_table
    from hacore.runs import RunFolder
    from hacore.spec import Spec, load_spec, load_sweep, resolve
    from hacore.sweeps import run_sweep
    from hacore.workflow import check, evaluate_run, load, run

__version__ = "0.1.0"

_HOMES = {
    "HacoreError": "hacore.errors",
    "RunFolder": "hacore.runs",
    "Spec": "hacore.spec",
    "check": "hacore.workflow",
    "compose": "hacore.model",
    "evaluate": "hacore.measure.evaluation",
    "evaluate_run": "hacore.workflow",
    "export": "hacore.exporting",
    "load": "hacore.workflow",
    "load_spec": "hacore.spec",
    "load_sweep": "hacore.spec",
    "make_features": "hacore.features.make",
    "open_dataset": "hacore.datasets",
    "plot": "hacore.report",
    "read_runs": "hacore.report",
    "resolve": "hacore.spec",
    "run": "hacore.workflow",
    "run_sweep": "hacore.sweeps",
    "tabulate": "hacore.report",
    "write_comparison": "hacore.report",
    "write_report": "hacore.report",
    "write_table": "hacore.report",
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
    "export",
    "load",
    "load_spec",
    "load_sweep",
    "make_features",
    "open_dataset",
    "plot",
    "read_runs",
    "resolve",
    "run",
    "run_sweep",
    "tabulate",
    "write_comparison",
    "write_report",
    "write_table",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'hacore' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__

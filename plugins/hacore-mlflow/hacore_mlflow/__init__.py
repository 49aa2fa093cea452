"""Declares the observer "mlflow". Imports no mlflow and no torch."""

from __future__ import annotations

import attrs

from hacore.plugin import Component, hookimpl, option

hacore_contract = 2


@attrs.frozen(kw_only=True)
class Config:
    """Where it is logged, and what besides options, metrics, the spec and the result."""

    uri: str = option(
        "",
        "of a tracking server or database, as http://127.0.0.1:5000; left out: $MLFLOW_TRACKING_URI, "
        "or else the folder",
    )
    folder: str = option("mlruns", "without a server: where mlflow.db and the files of the runs are")
    experiment: str = option("hacore", "the experiment that the run belongs to")
    pictures: int = option(6, "questions drawn with their kept cells at every evaluation", min=0, max=16)


@hookimpl
def hacore_declare() -> list[Component]:
    return [
        Component(
            kind="observer",
            name="mlflow",
            target="hacore_mlflow.logger:MLflowLogger",
            config=Config,
            summary="an MLflow server, or a database in a folder of this machine",
        )
    ]

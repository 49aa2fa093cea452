"""A run in MLflow."""

from __future__ import annotations

import json
import logging
import os
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from filelock import FileLock
from sqlalchemy.engine import make_url

# MLflow would send statistics of its use to its makers.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

from mlflow.entities import Metric, Param, Run
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from mlflow.tracking import MlflowClient

from hacore.errors import HacoreError
from hacore.machine.names import distinct
from hacore.measure.look import Look
from hacore.observers import Observed, RunObserver
from hacore_mlflow import Config

if TYPE_CHECKING:
    from hacore.runs import Result
    from hacore.runs.trained import Trained

_RUN = "hacore.run"
_ERROR = "hacore.error"
_TRAINED = ("epoch", "loss", "accuracy", "kept", "lr", "questions_per_second", "gradient_norm")
_MEASURED = ("loss", "accuracy", "kept", "parameters", "multiply_adds")
_LONGEST = 6000  # of the values of options that MLflow takes
_MOST = 100  # options at a time

# Says on every start which tables of the database it makes.
logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)


class MLflowLogger(RunObserver):
    """Logs to a server, or to a database in a folder.

    A resumed run continues the same run of MLflow, found by its tag ``hacore.run``, the run folder's name.
    MLflow takes nothing back, so steps that it has are not logged again when they are trained again.
    """

    def __init__(self, config: Config, observed: Observed) -> None:
        super().__init__(config, observed)
        self._client, artifacts = _client(config)
        experiment = _experiment(self._client, config, artifacts)
        run = _find(self._client, experiment, observed.folder.name)
        self._new = run is None
        if run is None:
            tags = {_RUN: observed.folder.name, "hacore.folder": str(observed.folder)}
            run = self._client.create_run(experiment, run_name=observed.spec.name, tags=tags)
        self._run = run.info.run_id
        if self._new:
            options = [
                Param(key, (value if isinstance(value, str) else json.dumps(value))[:_LONGEST])
                for key, value in observed.settings.items()
            ]
            for first in range(0, len(options), _MOST):
                self._client.log_batch(self._run, params=options[first : first + _MOST])
            self._client.log_text(self._run, observed.text, "spec.toml")
        else:
            self._client.update_run(self._run, status="RUNNING")
            if _ERROR in run.data.tags:
                self._client.delete_tag(self._run, _ERROR)
        self._step = observed.step
        self._ended = False
        # One metric of each kind is enough: those of one kind are logged together or not at all.
        self._trained = self._last("train/loss")
        self._evaluated = self._last(f"{observed.spec.eval.split}/loss")

    def train(self, step: int, values: Mapping[str, float]) -> None:
        self._step = step
        if step > self._trained:
            self._log({f"train/{key}": values[key] for key in _TRAINED}, step)

    def evaluation(self, step: int, values: Mapping[str, Any], look: Callable[[], Look]) -> None:
        self._step = step
        if step <= self._evaluated:
            return
        split = values["split"]
        for number, example in enumerate(look().examples[: self.config.pictures], 1):
            name = f"{split}_pictures/{number:02}_{_clean(example.type)}"
            self._client.log_image(self._run, example.draw(), key=name, step=step)
        self._log(_scores(split, values), step)

    def end(self, result: Result, trained: Trained) -> None:
        scores = _scores(result.split, result)
        if result.training is not None:
            scores[f"{result.split}/training_seconds"] = result.training.seconds
        self._client.log_dict(self._run, result.as_dict(), "result.json")
        self._log(scores, self._step)
        self._finish("FINISHED")

    def fail(self, error: str) -> None:
        self._client.set_tag(self._run, _ERROR, error)
        self._finish("FAILED")

    def close(self) -> None:
        if not self._ended:
            self._finish("KILLED")

    def _finish(self, status: str) -> None:
        self._ended = True
        self._client.set_terminated(self._run, status)

    def _last(self, key: str) -> int:
        """The last step that MLflow has of a metric, or -1."""
        if self._new:
            return -1
        history = self._client.get_metric_history(self._run, key)
        return max((metric.step for metric in history), default=-1)

    def _log(self, values: Mapping[str, float], step: int) -> None:
        now = int(time.time() * 1000)
        metrics = [Metric(key, float(value), now, step) for key, value in values.items()]
        self._client.log_batch(self._run, metrics=metrics)


def _client(config: Config) -> tuple[MlflowClient, str | None]:
    """The client, and where new experiments have their files, None for the server to choose."""
    uri = config.uri or os.environ.get("MLFLOW_TRACKING_URI", "")
    if uri:
        return MlflowClient(uri), None
    folder = Path(config.folder).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    address, artifacts = _address(folder / "mlflow.db"), (folder / "artifacts").as_uri()
    # The runs of a sweep begin together, and the first makes the tables. A client of MLflow would put the
    # files of its default experiment into the working folder, whose name it does not quote.
    with FileLock(folder / ".lock"):
        SqlAlchemyStore(address, artifacts)  # type: ignore[no-untyped-call]
    return MlflowClient(address), artifacts


def _address(file: Path) -> str:
    """Of an SQLite database. SQLAlchemy decodes it from version 2.1 on, before it took it as it is.

    With its driver, as of ``sqlite:///`` MLflow would make the folder of the address that is not decoded.
    """
    for address in (f"sqlite+pysqlite:///{quote(str(file))}", f"sqlite+pysqlite:///{file}"):
        if make_url(address).database == str(file):
            return address
    raise HacoreError(
        f"{file}: SQLAlchemy before 2.1 takes no '?' in the path of a database; choose another folder as in "
        "--log-with mlflow.folder=DIR"
    )


def _experiment(client: MlflowClient, config: Config, artifacts: str | None) -> str:
    experiment = client.get_experiment_by_name(config.experiment)
    if experiment is None:
        try:
            return str(client.create_experiment(config.experiment, artifact_location=artifacts))
        except Exception:  # another run has created it since
            experiment = client.get_experiment_by_name(config.experiment)
            if experiment is None:
                raise
    return str(experiment.experiment_id)


def _find(client: MlflowClient, experiment: str, name: str) -> Run | None:
    runs = client.search_runs([experiment], filter_string=f"tags.`{_RUN}` = '{name}'", max_results=1)
    return runs[0] if runs else None


def _scores(split: str, values: Mapping[str, Any]) -> dict[str, float]:
    """What is known of a split; where its answers are not public, that is little."""
    scores = {f"{split}/{key}": values[key] for key in _MEASURED if values.get(key) is not None}
    for kind in ("by_type", "by_group"):
        tags = distinct(values[kind], _clean)
        for name, part in values[kind].items():
            scores[f"{split}_{kind}/{tags[name]}"] = part["accuracy"]
    return scores


def _clean(name: str) -> str:
    """As MLflow takes it in the name of a metric, in which ``/`` would begin another part."""
    return re.sub(r"[^-\w. ]", "_", name)

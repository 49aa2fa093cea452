"""A run read back from MLflow's database, without a server."""

import json

import numpy as np
import pytest
from mlflow.tracking import MlflowClient
from PIL import Image

import hacore
from hacore.train import trainer

TABLE = {
    "name": "tiny",
    "data": {"use": "sort-of-clevr", "images": 41, "held_out": 6, "validation": 6},
    "image_encoder": {"use": "small-cnn", "channels": [4, 6], "strides": [4]},
    "question_encoder": {"use": "lstm", "embedding": 8, "hidden": 8},
    "fuser": {"use": "multiply", "width": 8},
    "selector": {"use": "l2-topk", "k": 6},
    "aggregator": {"use": "sum-pool"},
    "train": {"batch_images": 4, "epochs": 3, "checkpoint_steps": 5, "log_steps": 3, "threads": 1},
    "eval": {"every_epochs": 0.5, "baseline_steps": 0},
}
TRAINED = ("epoch", "loss", "accuracy", "kept", "lr")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """The folder of the database, with no server named."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HACORE_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        yield tmp_path_factory.mktemp("mlflow") / "held"


@pytest.fixture(scope="module")
def run(place, tmp_path_factory):
    runs = tmp_path_factory.mktemp("runs")

    def start(**options):
        log = {"mlflow": {"folder": str(place), "pictures": 2}}
        return hacore.run(hacore.resolve(TABLE), runs=runs, device="cpu", report=False, log=log, **options)

    return start


@pytest.fixture(scope="module")
def whole(run):
    """The folder of a run that was never stopped."""
    return run()[0]


@pytest.fixture
def client(place):
    return MlflowClient(f"sqlite:///{place / 'mlflow.db'}")


def run_of(client, folder):
    """The only run of that folder."""
    experiment = client.get_experiment_by_name("hacore").experiment_id
    (logged,) = client.search_runs([experiment], filter_string=f"tags.`hacore.run` = '{folder.path.name}'")
    return logged


def lines(folder, kind):
    every = [json.loads(line) for line in folder.metrics_file.read_text().splitlines()]
    return [line for line in every if line["kind"] == kind]


def assert_run_of(client, folder):
    """All that metrics.jsonl and result.json hold, every step once."""
    run = run_of(client, folder)
    result = folder.result()

    def history(key):
        points = client.get_metric_history(run.info.run_id, key)
        assert len({point.step for point in points}) == len(points), key
        return {point.step: point.value for point in points}

    for key in TRAINED:
        assert history(f"train/{key}") == {line["step"]: line[key] for line in lines(folder, "train")}
    assert min(history("train/questions_per_second").values()) > 0
    assert min(history("train/gradient_norm").values()) > 0
    for key in ("loss", "accuracy", "kept"):
        measured = {line["step"]: line[key] for line in lines(folder, "eval")}
        assert history(f"val/{key}") == measured
        assert history(f"test/{key}") == {max(measured): result[key]}
    for name in result.by_type:
        measured = {line["step"]: line["by_type"][name]["accuracy"] for line in lines(folder, "eval")}
        assert history(f"val_by_type/{name}") == measured
        assert history(f"test_by_type/{name}") == {max(measured): result.by_type[name].accuracy}
    assert run.data.metrics["test/training_seconds"] == result.training.seconds
    assert run.info.status == "FINISHED"
    assert "hacore.error" not in run.data.tags


def test_a_run_has_its_metrics_options_and_files(client, whole, tmp_path):
    assert_run_of(client, whole)
    run = run_of(client, whole)
    assert run.info.run_name == "tiny"
    assert run.data.tags["hacore.folder"] == str(whole.path)
    assert run.data.params["selector.k"] == "6"
    assert run.data.params["train.compile"] == "false"
    assert run.data.params["image_encoder.channels"] == "[4, 6]"
    files = client.download_artifacts(run.info.run_id, "", str(tmp_path))
    assert (tmp_path / "spec.toml").read_text() == whole.spec_file.read_text(), files
    assert json.loads((tmp_path / "result.json").read_text()) == whole.result().as_dict()
    pictures = sorted((tmp_path / "images").glob("*.png"))
    assert len(pictures) == 2 * len(lines(whole, "eval"))
    for path in pictures:
        with Image.open(path) as picture:
            cells = np.asarray(picture.convert("RGB"))[10:330, 10:330]
        white = (cells == 255).all(-1)
        dark = (cells == 76).all(-1)  # white that was not kept
        assert white.any()
        assert dark.sum() > white.sum()


@pytest.mark.parametrize("step", [2, 14])
def test_a_run_that_failed_and_goes_on_is_the_same_run(client, run, whole, monkeypatch, step):
    make_batch, left = trainer.make_batch, iter(range(step, -1000, -1))

    def failing(*arguments):
        if next(left) == 0:
            raise RuntimeError("a bug")
        return make_batch(*arguments)

    monkeypatch.setattr(trainer, "make_batch", failing)
    folders = []
    with pytest.raises(RuntimeError):
        run(created=folders.append)
    (folder,) = folders
    assert run_of(client, folder).info.status == "FAILED"
    assert run_of(client, folder).data.tags["hacore.error"] == "RuntimeError: a bug"
    run(resume=folder)
    assert_run_of(client, folder)
    first, second = (run_of(client, each).data.metrics for each in (folder, whole))
    times = [key for key in first if key.endswith(("per_second", "seconds"))]
    assert {**first, **dict.fromkeys(times)} == {**second, **dict.fromkeys(times)}


def test_an_interrupted_run_is_marked_as_such(client, run, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    folders = []
    monkeypatch.setattr(trainer, "make_batch", stop)
    with pytest.raises(KeyboardInterrupt):
        run(created=folders.append)
    assert run_of(client, folders[0]).info.status == "KILLED"


def test_a_server_that_does_not_answer_stops_no_run(tmp_path, place, monkeypatch, caplog):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    spec = hacore.resolve(TABLE | {"train": TABLE["train"] | {"steps": 1}})
    log = {"mlflow": {"uri": "http://127.0.0.1:9"}}
    _, result = hacore.run(spec, runs=tmp_path, device="cpu", report=False, log=log)
    assert result is not None
    (warned,) = [
        record.getMessage()
        for record in caplog.records
        if record.name == "hacore" and record.levelname == "WARNING"
    ]
    assert warned.startswith("observer 'mlflow' is dropped, the run goes on: ")
    assert "127.0.0.1" in warned

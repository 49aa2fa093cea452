"""Event files read back as TensorBoard reads them."""

import io
import json
import time

import attrs
import numpy as np
import pytest
import torch
from hacore_tensorboard import Config
from hacore_tensorboard.logger import TensorBoardLogger
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import api_pb2, metadata

import hacore
from hacore.machine.files import load_tensors
from hacore.measure.look import look_at
from hacore.measure.scores import Part
from hacore.observers import Observed
from hacore.train import trainer

TABLE = {
    "name": "tiny",
    "data": {"use": "sort-of-clevr", "images": 41, "held_out": 6, "validation": 6},
    "image_encoder": {"use": "small-cnn", "channels": [4, 6], "strides": [4]},
    "question_encoder": {"use": "lstm", "embedding": 8, "hidden": 8},
    "fuser": {"use": "multiply", "width": 8},
    "selector": {"use": "adahan"},
    "aggregator": {"use": "sum-pool"},
    "train": {"batch_images": 4, "epochs": 3, "checkpoint_steps": 5, "log_steps": 3, "threads": 1},
    "eval": {"every_epochs": 0.5, "baseline_steps": 2},
}
TRAINED = ("epoch", "loss", "accuracy", "kept", "lr")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of a run that was never stopped, its values for the logger, and the data cache in use."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HACORE_CACHE", str(tmp_path_factory.mktemp("cache")))
        folder, _ = run(tmp_path_factory.mktemp("whole"))
        yield folder


def run(runs, changes=(), log=("tensorboard",), **options):
    table = TABLE | {"train": TABLE["train"] | dict(changes)}
    spec = hacore.resolve(table)
    return hacore.run(spec, runs=runs, device="cpu", report=False, log=log, **options)


def events(folder):
    read = EventAccumulator(str(folder.path / "tensorboard"), size_guidance=dict.fromkeys(KINDS, 0))
    return read.Reload()


KINDS = ("compressedHistograms", "images", "scalars", "histograms", "tensors")


def scalars(read, tag):
    """{step: value}; every step stands once."""
    points = read.Scalars(tag)
    assert len({point.step for point in points}) == len(points), tag
    return {point.step: point.value for point in points}


def text(read, tag):
    return [text.tensor_proto.string_val[0].decode() for text in read.Tensors(f"{tag}/text_summary")]


def hparams(read, tag, parse):
    return parse(read.SummaryMetadata(tag).plugin_data.content)


def status(read):
    ended = hparams(read, metadata.SESSION_END_INFO_TAG, metadata.parse_session_end_info_plugin_data)
    return ended.status


def lines(folder, kind):
    every = [json.loads(line) for line in folder.metrics_file.read_text().splitlines()]
    return [line for line in every if line["kind"] == kind]


def assert_scalars(folder):
    """All that metrics.jsonl and result.json hold."""
    read = events(folder)
    for key in TRAINED:
        logged = {line["step"]: line[key] for line in lines(folder, "train")}
        assert scalars(read, f"train/{key}") == pytest.approx(logged, rel=1e-6), key
    assert scalars(read, "train/gradient_norm").keys() == logged.keys()
    assert min(scalars(read, "train/questions_per_second").values()) > 0
    for key in ("loss", "accuracy", "kept"):
        logged = {line["step"]: line[key] for line in lines(folder, "eval")}
        assert scalars(read, f"val/{key}") == pytest.approx(logged, rel=1e-6)
    for kind in ("by_type", "by_group"):
        for name in lines(folder, "eval")[0][kind]:
            logged = {line["step"]: line[kind][name]["accuracy"] for line in lines(folder, "eval")}
            assert scalars(read, f"val_{kind}/{name}") == pytest.approx(logged, rel=1e-6)
    result, last = folder.result(), max(logged)
    for key in ("loss", "accuracy", "kept", "parameters", "multiply_adds"):
        assert scalars(read, f"test/{key}") == pytest.approx({last: result[key]}, rel=1e-6)
    assert scalars(read, "test/training_seconds") == pytest.approx({last: result.training.seconds})
    for name, part in result.by_type.items():
        assert scalars(read, f"test_by_type/{name}") == pytest.approx({last: part.accuracy}, rel=1e-6)


def test_scalars_are_those_of_metrics_and_result(whole):
    assert_scalars(whole)
    assert set(events(whole).Tags()["scalars"]) == {
        *(f"train/{key}" for key in (*TRAINED, "questions_per_second", "gradient_norm")),
        *(f"{split}/{key}" for split in ("val", "test") for key in ("loss", "accuracy", "kept")),
        *(f"test/{key}" for key in ("parameters", "multiply_adds", "training_seconds")),
        *(
            f"{split}_{kind}/{name}"
            for split in ("val", "test")
            for kind in ("by_type", "by_group")
            for name in whole.result()[kind]
        ),
    }


def test_texts_are_the_spec_and_the_result(whole):
    read = events(whole)
    (spec,) = text(read, "spec")
    parameters = whole.result().parameters
    assert spec == f"{parameters:,} trained parameters\n\n```toml\n{whole.spec_file.read_text()}```"
    (table,) = text(read, "result")
    head, _, *rows = ([cell.strip() for cell in row.split("|")[1:-1]] for row in table.splitlines())
    assert head == ["accuracy (%) on test", "questions", "model", "majority", "question only"]
    result = whole.result()
    assert [row[0] for row in rows] == [*result.by_type, *result.by_group, "all"]
    assert rows[-1][1:4] == [
        str(result.questions),
        f"{100 * result.accuracy:.1f}",
        f"{100 * result.baselines['majority'].accuracy:.1f}",
    ]


def test_options_and_end_are_there_for_hparams(whole):
    read = events(whole)
    start = hparams(read, metadata.SESSION_START_INFO_TAG, metadata.parse_session_start_info_plugin_data)
    options = {key: getattr(value, value.WhichOneof("kind")) for key, value in start.hparams.items()}
    assert options["selector.use"] == "adahan"
    assert options["train.batch_images"] == 4
    assert options["train.compile"] is False
    assert options == Observed(folder=whole.path, spec=whole.spec(), step=0, parameters=0).settings
    assert status(read) == api_pb2.STATUS_SUCCESS
    # With one, TensorBoard would show the options of this run for those of all.
    assert metadata.EXPERIMENT_TAG not in read.Tags()["tensors"]


@pytest.fixture
def last_look(whole):
    """A look at the model as it was at the last evaluation."""
    trained = hacore.load(whole, device="cpu")
    tensors, _ = load_tensors(whole.last)
    weights = {key[6:]: tensor for key, tensor in tensors.items() if key.startswith("model.")}
    trained.model.load_state_dict(weights)
    return look_at(
        *(trained.model, trained.dataset, "val"), device=torch.device("cpu"), precision=trained.precision
    )


def test_pictures_show_kept_cells_bright_and_the_others_dark(whole, last_look):
    read = events(whole)
    evaluated = [line["step"] for line in lines(whole, "eval")]
    types = [example.type for example in last_look.examples[:6]]
    tags = [f"val_pictures/{number:02}_{name}" for number, name in enumerate(types, 1)]
    assert sorted(read.Tags()["images"]) == tags
    for tag, example in zip(tags, last_look.examples, strict=False):
        assert [image.step for image in read.Images(tag)] == evaluated
        with Image.open(io.BytesIO(read.Images(tag)[-1].encoded_image_string)) as picture:
            pixels = np.asarray(picture.convert("RGB"))
        assert np.array_equal(pixels, np.asarray(example.draw()))
        cells = pixels[10:330, 10:330]
        plain = np.asarray(Image.fromarray(example.image.transpose(1, 2, 0)).resize((320, 320)))
        rows, columns = example.seen.presence.shape
        bright = np.zeros((rows, columns), bool)
        for cell in example.seen.kept:
            bright[cell.row, cell.column] = True
        assert bright.any()
        assert not bright.all()
        at = np.linspace(0, rows - 1, 320).round().astype(int)
        shown = bright[at][:, at]
        assert np.array_equal(cells[shown], plain[shown])
        assert np.abs(cells[~shown] - 0.3 * plain[~shown]).max() <= 0.5


def test_histograms_count_what_was_looked_at(whole, last_look):
    read = events(whole)
    presence = read.Histograms("val_cells/presence")[-1].histogram_value
    assert presence.num == last_look.presence_QN.size
    assert presence.sum == pytest.approx(last_look.presence_QN.sum(), rel=1e-5)
    assert (presence.min, presence.max) == pytest.approx(
        (last_look.presence_QN.min(), last_look.presence_QN.max()), rel=1e-6
    )
    kept = read.Histograms("val_cells/kept")[-1].histogram_value
    # (limit, count): questions that keep fewer cells than the limit, and at least the one before.
    counts = {limit - 1: count for limit, count in zip(kept.bucket_limit, kept.bucket, strict=True) if count}
    assert counts == {int(k): int((last_look.kept_Q == k).sum()) for k in np.unique(last_look.kept_Q)}


def test_pictures_and_histograms_can_be_left_out(whole, tmp_path):
    log = {"tensorboard": {"pictures": 0, "histograms": False}}
    folder, _ = run(tmp_path, {"steps": 1}, log)
    tags = events(folder).Tags()
    assert (tags["images"], tags["histograms"]) == ([], [])
    assert_scalars(folder)


def stop_at(monkeypatch, step):
    """A failure in a step, counted from 0 over this and later runs."""
    make_batch, left = trainer.make_batch, iter(range(step, -1000, -1))

    def failing(*arguments):
        if next(left) == 0:
            raise RuntimeError("a bug")
        return make_batch(*arguments)

    monkeypatch.setattr(trainer, "make_batch", failing)


def next_second():
    """Event files have their second in their name, by which they are ordered."""
    time.sleep(1 - time.time() % 1 + 0.01)


@pytest.mark.parametrize(("step", "torn"), [(2, False), (7, True), (14, False), (23, True)])
def test_a_run_that_failed_and_goes_on_has_each_step_once(whole, tmp_path, monkeypatch, step, torn):
    folders = []
    stop_at(monkeypatch, step)
    with pytest.raises(RuntimeError):
        run(tmp_path, created=folders.append)
    (folder,) = folders
    read = events(folder)
    assert status(read) == api_pb2.STATUS_FAILURE
    assert text(read, "failure") == ["RuntimeError: a bug"]
    if torn:
        (first,) = (file for file in (folder.path / "tensorboard").iterdir() if file.suffix != ".end")
        first.write_bytes(first.read_bytes()[:-5])
    next_second()
    run(tmp_path, resume=folder)
    assert_scalars(folder)
    mine, other = events(folder), events(whole)
    assert mine.Tags() == other.Tags()
    for tag in mine.Tags()["scalars"]:
        if not tag.endswith(("per_second", "seconds")):
            assert scalars(mine, tag) == scalars(other, tag), tag
    for tag in mine.Tags()["images"]:
        pictures = [
            [(image.step, image.encoded_image_string) for image in read.Images(tag)] for read in (mine, other)
        ]
        assert pictures[0] == pictures[1]
    assert text(mine, "spec") == text(other, "spec")
    assert status(mine) == api_pb2.STATUS_SUCCESS


def test_a_run_that_is_logged_only_when_it_goes_on_has_its_spec(whole, tmp_path, monkeypatch):
    folders = []
    stop_at(monkeypatch, 14)
    with pytest.raises(RuntimeError):
        run(tmp_path, log=(), created=folders.append)
    assert not (folders[0].path / "tensorboard").exists()
    run(tmp_path, resume=folders[0])
    read = events(folders[0])
    assert text(read, "spec") == text(events(whole), "spec")
    assert min(scalars(read, "train/loss")) == 15


def test_answers_that_are_not_public_and_odd_names_are_no_obstacle(whole, tmp_path):
    observed = Observed(folder=tmp_path, spec=whole.spec(), step=0, parameters=1)
    logger = TensorBoardLogger(Config(), observed)
    result, trained = whole.result(), hacore.load(whole, device="cpu")
    parts = {
        "yes/no": Part(accuracy=0.5, questions=4),
        "what is é?": Part(accuracy=1.0, questions=2),
    }
    unknown = {"loss": None, "accuracy": None, "by_type": {}, "by_group": {}, "baselines": {}}
    logger.end(attrs.evolve(result, split="val", by_type=parts), trained)
    logger.end(attrs.evolve(result, **unknown), trained)
    logger.close()
    read = events(hacore.RunFolder(tmp_path))
    assert scalars(read, "val_by_type/yes_no") == {0: 0.5}
    assert scalars(read, "val_by_type/what_is_é_") == {0: 1.0}
    assert "test/accuracy" not in read.Tags()["scalars"]
    assert "test/kept" in read.Tags()["scalars"]

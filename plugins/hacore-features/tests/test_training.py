"""A model reads stored features as if it had encoded the images."""

import shutil
import signal

import numpy as np
import pytest
import torch
from hacore_features.make import make_features

import hacore
from hacore.data import make_batch, resident
from hacore.errors import ComposeError, DataError, RunError, SpecError
from hacore.features.store import FeatureStore
from hacore.model.stored import with_features
from hacore.spec import dump_spec
from hacore.train import trainer
from hacore.workflow import run as run_spec


def stored(spec_or_changes, root):
    return {**dict(spec_or_changes), "features.root": str(root)}


def logits(model, dataset, images):
    questions = dataset.questions("val")
    batch = make_batch(questions, images, np.arange(len(questions)))
    with torch.no_grad():
        return model.eval()(batch.images, batch.words_QT, batch.lengths_Q, batch.image_index_Q).logits_QA


def both(spec):
    """Logits with the frozen encoder, and with its stored features; the same weights."""
    dataset = hacore.open_dataset(spec.data)
    torch.manual_seed(spec.seed)
    model = hacore.compose(spec, dataset.sizes())
    encoded = logits(model, dataset, dataset.images("val"))
    view = with_features(dataset, spec, model)
    assert view.images("val") is not view.inputs("val")
    return encoded, logits(model, dataset, view.inputs("val"))


@pytest.mark.parametrize("pool", [None, [4, 7]])
def test_float32_features_give_the_same_logits(make_spec, tmp_path, pool):
    changes = {"features.pool": pool} if pool else {}
    # All at once, as they are encoded when they are asked about: float sums keep their order.
    make_features(make_spec(changes), tmp_path / "store", device="cpu", dtype="float32", batch_images=6)
    encoded, read = both(make_spec(stored(changes, tmp_path / "store")))
    assert torch.equal(encoded, read)


def test_float16_features_give_the_same_logits_within_rounding(make_spec, tmp_path):
    changes = {"selector": {"use": "all-cells"}}
    make_features(make_spec(changes), tmp_path / "store", device="cpu")
    encoded, read = both(make_spec(stored(changes, tmp_path / "store")))
    torch.testing.assert_close(read, encoded, rtol=0, atol=1e-3 * float(encoded.abs().max()))
    assert not torch.equal(read, encoded)


def test_float16_moves_a_hard_choice_only_where_cells_are_almost_equal(make_spec, tmp_path):
    make_features(make_spec(), tmp_path / "store", device="cpu")
    encoded, read = both(make_spec(stored({}, tmp_path / "store")))
    apart_Q = (read - encoded).abs().max(1).values / encoded.abs().max()
    assert (apart_Q < 1e-3).float().mean() > 0.95


def test_pooling_is_that_of_torch(make_spec):
    spec = make_spec({"features.pool": [3, 4]})
    dataset = hacore.open_dataset(spec.data)
    model = hacore.compose(spec, dataset.sizes()).eval()
    images = torch.from_numpy(np.array(dataset.images("val")))
    with torch.no_grad():
        cells = model.encode(images)
        whole = model.image_encoder(images)
    grid = whole.features.transpose(1, 2).reshape(6, 128, 10, 10)
    wanted = torch.nn.AdaptiveAvgPool2d((3, 4))(grid).flatten(2).transpose(1, 2)
    torch.testing.assert_close(cells.features, wanted)
    assert cells.grid == (3, 4)
    assert cells.positions.shape == (12, 2)


def test_a_pool_larger_than_the_grid(make_spec):
    spec = make_spec({"features.pool": [3, 11]})
    with pytest.raises(ComposeError, match=r"features.pool = \[3, 11\].*10x10 grid"):
        hacore.check(spec)


def test_a_run_on_features_gives_what_a_run_on_images_gives(make_spec, tmp_path):
    # The batches of one image each: what is encoded does not depend on its batch then.
    changes = {"train.batch_images": 1, "eval.batch_images": 1, "head.dropout": 0.0}
    changes["train.precision"] = "float32"  # in which stores are made
    make_features(make_spec(changes), tmp_path / "store", device="cpu", dtype="float32", batch_images=1)
    _, on_images = hacore.run(make_spec(changes), runs=tmp_path / "a", device="cpu")
    folder, on_features = hacore.run(
        make_spec(stored(changes, tmp_path / "store")), runs=tmp_path / "b", device="cpu"
    )
    assert on_features["loss"] == pytest.approx(on_images["loss"], rel=1e-5)
    assert on_features["accuracy"] == on_images["accuracy"]
    assert on_features["multiply_adds"] == on_images["multiply_adds"]
    assert on_features["data"]["features"] == FeatureStore.open(tmp_path / "store").fingerprint
    assert "features" not in on_images["data"]
    again = hacore.evaluate_run(folder, split="val", device="cpu")
    assert again["split"] == "val"
    # The trained model answers about images, with no store at hand.
    shutil.rmtree(tmp_path / "store")
    trained = hacore.load(folder, device="cpu")
    images = trained.dataset.images("val")
    assert logits(trained.model, trained.dataset, images).shape == (120, len(trained.dataset.answers))
    with pytest.raises(RunError, match=r"features\.root = .* does not exist.*--set features\.root=PATH"):
        hacore.evaluate_run(folder, device="cpu")


def test_a_store_that_moved(make_spec, tmp_path):
    changes = {"train.batch_images": 1, "eval.batch_images": 1}
    make_features(make_spec(changes), tmp_path / "store", device="cpu", dtype="float32", batch_images=1)
    spec = make_spec(stored(changes, tmp_path / "store"))
    folder, result = hacore.run(spec, runs=tmp_path / "runs", device="cpu")
    (tmp_path / "store").rename(tmp_path / "elsewhere")
    trained = hacore.load(folder, device="cpu")
    there = hacore.evaluate_run(trained.with_features(str(tmp_path / "elsewhere")))
    assert (there["loss"], there["accuracy"]) == (result["loss"], result["accuracy"])
    assert there["data"] == result["data"]
    images = hacore.evaluate_run(trained.with_features(None))
    assert images["loss"] == pytest.approx(result["loss"], rel=1e-5)
    assert "features" not in images["data"]
    folder.result_file.unlink()
    moved = make_spec(stored(changes, tmp_path / "elsewhere"))
    assert hacore.run(moved, resume=folder, device="cpu")[1]["loss"] == result["loss"]


def interrupted(spec, runs, monkeypatch, step, **resumed):
    """The folder of a run that Ctrl-C stopped in a step, counted from where it began this time."""
    batch, count, folders = trainer.make_batch, iter(range(1, 1000)), []

    def make(*arguments):
        if next(count) == step:
            signal.raise_signal(signal.SIGINT)
        return batch(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(trainer, "make_batch", make)
        _, result = run_spec(spec, runs=runs, device="cpu", created=folders.append, **resumed)
    assert result is None
    return resumed.get("resume") or folders[0]


def test_one_that_is_stopped_ten_times_ends_as_if_it_never_had(make_spec, whole, tmp_path, monkeypatch):
    """As a training of a day that is stopped every two hours, with han_mac.toml's options."""
    changes = {"train.optimizer": "muon", "train.average": 0.9, "train.hold": 0.4, "train.clip_norm": 8.0}
    spec = make_spec(stored({**changes, "head.dropout": 0.2}, whole))
    _, wanted = run_spec(spec, runs=tmp_path / "a", device="cpu")
    folder = interrupted(spec, tmp_path / "b", monkeypatch, 1)
    for _ in range(9):
        interrupted(spec, tmp_path / "b", monkeypatch, 1, resume=folder)
    _, result = run_spec(spec, resume=folder, device="cpu")
    assert (result["loss"], result["checkpoint"]) == (wanted["loss"], wanted["checkpoint"])


@pytest.mark.parametrize("step", [1, 5])
def test_a_run_in_blocks_resumes_to_the_same_result(make_spec, whole, tmp_path, monkeypatch, step):
    spec = make_spec(stored({"train.block_images": 5}, whole))
    _, wanted = run_spec(spec, runs=tmp_path / "a", device="cpu")
    folder = interrupted(spec, tmp_path / "b", monkeypatch, step)
    _, result = run_spec(spec, resume=folder, device="cpu")
    assert (result["loss"], result["checkpoint"]) == (wanted["loss"], wanted["checkpoint"])


def test_a_run_is_not_continued_on_other_features(make_spec, whole, tmp_path, monkeypatch):
    root = shutil.copytree(whole, tmp_path / "store")
    spec = make_spec(stored({}, root))
    folder = interrupted(spec, tmp_path / "runs", monkeypatch, 4)
    shutil.rmtree(root)
    make_features(make_spec(), root, device="cpu", dtype="float16")
    with pytest.raises(RunError, match="belongs to another spec or other data"):
        run_spec(spec, resume=folder, device="cpu")


def test_data_that_are_a_part_of_the_store_will_do(make_spec, whole):
    report = hacore.check(make_spec(stored({"data.images": 34}, whole)))
    assert report.questions["train"] == 23 * 20
    assert FeatureStore.open(whole).images("train").shape[0] == 24


OTHERS = {
    "weights": ({"image_encoder.weights": 1}, ["image_encoder.weights is ", "the digest of the encoder's"]),
    "stage": (
        {"image_encoder.stage": 1},
        [
            "image_encoder.stage is 2 in the store and 1 in the spec",
            "the grid is [10, 10] in the store and",
        ],
    ),
    "pool": ({"features.pool": [5, 5]}, ["features.pool is not set in the store and [5, 5] in the spec"]),
    "data": (
        {"data.data_seed": 4},
        ["compared are others (24 of 24 in split train from image 0 on"],
    ),
    "more data": ({"data.images": 40}, ["split train has 24 images in the store and 29 in the data"]),
}


@pytest.mark.parametrize("other", list(OTHERS))
def test_a_store_of_something_else_is_refused(make_spec, whole, weights, other):
    changes, words = OTHERS[other]
    changes = {key: weights(1) if key.endswith("weights") else value for key, value in changes.items()}
    with pytest.raises(DataError) as caught:
        hacore.check(make_spec(stored(changes, whole)))
    text = str(caught.value)
    assert text.startswith(f"{whole}: ")
    assert "something else" in text
    assert all(word in text for word in words), text
    with pytest.raises(DataError, match="feature store of something else"):
        make_features(make_spec(changes), whole, device="cpu", dtype="float32")


def test_options_that_change_no_weight_are_found_by_their_features(make_spec, whole, tmp_path, monkeypatch):
    from hacore_resnet.encoder import ResNet

    forward = ResNet.forward

    def turned(self, images):
        return forward(self, images.flip(3))

    monkeypatch.setattr(ResNet, "forward", turned)
    with pytest.raises(DataError, match=r"features of training image 0 differ by up to .* gives now"):
        hacore.check(make_spec(stored({}, whole)))


def test_the_same_weights_from_another_file_are_the_same(make_spec, whole, weights, tmp_path):
    path = shutil.copy(weights(0), tmp_path / "moved.pth")
    report = hacore.check(make_spec(stored({"image_encoder.weights": str(path)}, whole)))
    assert report.features.startswith("10x10 cells of 128 channels, float32, 2 MB in ")


@pytest.mark.parametrize("name", ["description.json", "shards.json"])
@pytest.mark.parametrize("text", ["", "{}", '{"format": "hacore features 1"}', '{"train-00000.npy": 3}'])
def test_a_damaged_description_is_named(make_spec, whole, tmp_path, name, text):
    if (name, text) == ("shards.json", "{}"):
        text = "[]"
    root = shutil.copytree(whole, tmp_path / "store")
    (root / name).write_text(text)
    with pytest.raises(DataError, match=rf"{name}: the file is damaged"):
        FeatureStore.open(root)


def test_moved_images_and_features_do_not_go_together(make_spec, whole):
    with pytest.raises(SpecError) as caught:
        make_spec(stored({"train.shift": 4, "train.rotation": 0.1}, whole))
    assert [problem.where for problem in caught.value.problems] == ["train.shift", "train.rotation"]
    make_spec({"train.shift": 4, "features.pool": [4, 4]})


def test_an_old_spec_is_written_as_it_was(make_spec, whole):
    assert "features" not in dump_spec(make_spec())
    assert "[features]" in dump_spec(make_spec(stored({}, whole)))


def test_features_stay_where_they_are_on_the_cpu(whole):
    images = FeatureStore.open(whole).images("train")
    assert resident(images, torch.device("cpu")) is images


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_features_are_kept_in_the_memory_of_a_gpu(whole):
    images = FeatureStore.open(whole).images("train")
    tensor = resident(images, torch.device("cuda"))
    assert tensor.dtype == torch.float32
    assert np.array_equal(tensor.cpu().numpy(), images[:])

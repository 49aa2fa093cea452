"""The Python API: check, run, load, evaluate."""

import json
import re
from importlib.metadata import version

import attrs
import numpy as np
import pytest
import torch

import hacore
from hacore.data import Dataset, Questions, make_batch
from hacore.errors import HacoreError, RunError
from hacore.machine.device import choose_device
from hacore.machine.files import load_tensors
from hacore.spec import dump_spec

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def table(small_table):
    return small_table(
        "api",
        train={"epochs": 2, "batch_images": 8, "threads": 1, "log_steps": 2},
        eval={"baseline_steps": 3, "every_epochs": 1},
    )


@pytest.fixture(scope="module")
def spec(table):
    return hacore.resolve(table)


@pytest.fixture(scope="module")
def folders():
    """What ``created`` was told."""
    return []


@pytest.fixture(scope="module")
def finished(spec, folders, tmp_path_factory):
    """A run and its result."""
    return hacore.run(spec, runs=tmp_path_factory.mktemp("runs"), device="cpu", created=folders.append)


def test_check_counts_steps_questions_and_costs_without_training(spec):
    report = hacore.check(spec)
    assert report.questions == {"train": 600, "val": 80, "test": 120}
    assert (report.steps_per_epoch, report.steps) == (4, 8)
    assert 1 < report.words < 20
    assert [row.stage for row in report.stages] == [
        "image_encoder",
        "question_encoder",
        "fuser",
        "selector",
        "aggregator",
        "head",
    ]
    fewer = attrs.evolve(spec, train=attrs.evolve(spec.train, steps=3))
    assert hacore.check(fewer).steps == 3


def test_a_run_leaves_its_folder(spec, finished, folders):
    folder, result = finished
    assert [created.path for created in folders] == [folder.path]
    assert folder.spec_file.read_text() == dump_spec(spec)
    assert folder.spec() == spec
    environment = json.loads(folder.environment_file.read_text())
    assert environment["components"]["selector"] == {
        "name": "l2-topk",
        "distribution": "hacore-l2-topk",
        "version": environment["components"]["selector"]["version"],
    }
    assert environment["libraries"]["torch"] == version("torch")
    assert environment["device"] == "cpu"
    assert folder.result() == result
    assert folder.last.is_file()
    assert folder.best.is_file()
    lines = [json.loads(line) for line in folder.metrics_file.read_text().splitlines()]
    assert [(line["kind"], line["step"]) for line in lines] == [
        ("train", 2),
        ("train", 4),
        ("eval", 4),
        ("train", 6),
        ("train", 8),
        ("eval", 8),
    ]
    assert not [path for path in folder.path.rglob("*") if path.name.endswith(".tmp")]


def test_the_result_says_what_was_measured_and_beside_what(spec, finished):
    _, result = finished
    assert (result["name"], result["split"], result["seed"]) == ("api", "test", 1)
    assert result["data"]["dataset"] == "sort-of-clevr"
    assert result["questions"] == 120
    assert sum(part["questions"] for part in result["by_type"].values()) == 120
    assert result["kept"] == pytest.approx(6 / 25)
    assert result["baselines"].keys() == {"majority", "question_only"}
    assert result["training"]["steps"] == 8
    assert result["training"]["processes"] == result["training"]["threads"] == 1
    # 30 images with 20 questions each, twice; seconds are rounded to a tenth.
    speed, seconds = result["training"]["questions_per_second"], result["training"]["seconds"]
    assert speed * (seconds - 0.051) <= 1200 <= speed * (seconds + 0.051)
    by_stage = result["multiply_adds_by_stage"]
    assert result["multiply_adds"] == sum(by_stage.values())
    # Where every question keeps as many cells, check counts the same but for the words of the question.
    for stage in hacore.check(spec).stages:
        if stage.stage != "question_encoder":
            assert by_stage[stage.stage] == stage.multiply_adds
    model = hacore.compose(spec, hacore.open_dataset(spec.data).sizes())
    assert result["parameters"] == sum(p.numel() for p in model.parameters())


def test_a_spec_run_twice_gives_the_same_result(spec, finished, tmp_path):
    folder, result = finished
    # Whatever torch's random state was before.
    torch.manual_seed(77)
    again, other = hacore.run(folder.spec(), runs=tmp_path, device="cpu")
    expected = result.as_dict()
    for time in ("seconds", "questions_per_second"):
        expected["training"][time] = other["training"][time]
    assert other == expected
    one, two = load_tensors(folder.last)[0], load_tensors(again.last)[0]
    assert [name for name in one if not torch.equal(one[name], two[name])] == []


def test_without_baseline_steps_there_is_no_question_only_baseline(spec, tmp_path):
    spec = attrs.evolve(
        spec, train=attrs.evolve(spec.train, steps=1), eval=attrs.evolve(spec.eval, baseline_steps=0)
    )
    _, result = hacore.run(spec, runs=tmp_path, device="cpu")
    assert result["baselines"].keys() == {"majority"}


def test_a_loaded_run_answers_as_it_was_measured(spec, finished):
    folder, result = finished
    trained = hacore.load(hacore.RunFolder.open(folder.path), device="cpu")
    assert not trained.model.training
    assert trained.spec == spec
    assert trained.step == result["checkpoint"]["step"]
    questions, images = trained.dataset.questions("test"), trained.dataset.images("test")
    lines = folder.predictions_file("test").read_text().splitlines()
    predictions = {line["id"]: line for line in map(json.loads, lines)}
    for row in (0, 55, 119):
        batch = make_batch(questions, images, np.array([row]))
        with torch.no_grad():
            output = trained.model(batch.images, batch.words_QT, batch.lengths_Q, batch.image_index_Q)
        answer = trained.dataset.answers[int(output.logits_QA.argmax())]
        assert answer == predictions[int(questions.ids[row])]["prediction"]
    scores = hacore.evaluate(trained.model, trained.dataset, "test", device=trained.device)
    assert scores.accuracy == pytest.approx(result["accuracy"])


def test_a_run_can_be_measured_again_on_any_split(finished):
    folder, result = finished
    again = hacore.evaluate_run(folder, device="cpu")
    assert again["split"] == "test"
    assert {key: again[key] for key in ("accuracy", "loss", "by_type", "kept")} == {
        key: result[key] for key in ("accuracy", "loss", "by_type", "kept")
    }
    assert again["step"] == result["checkpoint"]["step"]
    val = hacore.evaluate_run(folder, split="val", device="cpu")
    assert val["questions"] == 80
    assert val["accuracy"] == pytest.approx(result["checkpoint"]["val_accuracy"])
    assert len(folder.predictions_file("val").read_text().splitlines()) == 80
    with pytest.raises(RunError, match=r"'sort-of-clevr' has no split 'dev'; it has train, val, test$"):
        hacore.evaluate_run(folder, split="dev")


def test_a_split_that_the_data_does_not_have_stops_before_a_folder_is_made(spec, tmp_path):
    spec = attrs.evolve(spec, eval=attrs.evolve(spec.eval, split="dev"))
    for action in (hacore.check, lambda given: hacore.run(given, runs=tmp_path, device="cpu")):
        with pytest.raises(HacoreError) as caught:
            action(spec)
        assert str(caught.value) == (
            "eval.split: dataset 'sort-of-clevr' has no split 'dev'; it has train, val, test"
        )
    assert list(tmp_path.iterdir()) == []


def test_devices_that_are_not_there_are_named():
    assert choose_device("cpu") == torch.device("cpu")
    with pytest.raises(HacoreError, match="no device 'gpu'; choose auto, cpu, cuda, cuda:INDEX or mps"):
        choose_device("gpu")
    if not torch.cuda.is_available():
        assert choose_device("auto") == torch.device("cpu")
        with pytest.raises(HacoreError) as caught:
            choose_device("cuda:7")
        assert re.match(r"device 'cuda:7' cannot be used: .*; choose auto, cpu, cuda", str(caught.value))
        assert "\n" not in str(caught.value)


def test_a_run_without_a_checkpoint_cannot_be_loaded(spec, tmp_path):
    folder = hacore.RunFolder.create(spec, tmp_path, {})
    with pytest.raises(RunError, match="has no checkpoint yet; continue it with: hacore run --resume "):
        hacore.load(folder, device="cpu")


def test_the_dataset_may_say_that_its_options_do_not_go_together(spec, monkeypatch):
    def refuse(self, config):
        raise ValueError("images = 3 is too few; give more")

    monkeypatch.setattr("hacore_sort_of_clevr.dataset.SortOfClevr.__init__", refuse)
    with pytest.raises(HacoreError) as caught:
        hacore.open_dataset(spec.data)
    assert str(caught.value) == "dataset 'sort-of-clevr': images = 3 is too few; give more"


class Secret(Dataset):
    """Ten images of noise; the answers of the split "test" are not public."""

    vocabulary = ("<pad>", "<unk>", "bright", "dark")
    answers = ("no", "yes")
    question_types = ("whole",)
    splits = ("train", "test")
    unanswered = ("test",)
    image_size = (3, 8, 8)
    image_mean = image_std = (0.5, 0.5, 0.5)
    fingerprint = "secret"

    def images(self, split):
        return np.random.default_rng(1).integers(0, 256, (10, 3, 8, 8), np.uint8)

    def questions(self, split):
        answer = np.full(20, -1) if split == "test" else np.arange(20) % 2
        # Not in the order of the images, as evaluation asks them.
        image = np.arange(20) % 10
        words = np.tile([2, 3], 10)
        zeros = np.zeros(20, np.int64)
        return Questions(
            words=words,
            offsets=np.arange(21),
            image=image,
            answer=answer,
            type=zeros,
            ids=np.arange(100, 120),
        )

    def tokenize(self, question):
        return [1]

    def submission(self, split, answers):
        return "\n".join(f"{split} {answer}" for answer in answers)


@pytest.fixture
def secret(table, install, monkeypatch):
    """A spec on a data set whose test answers are not public."""
    install(
        "fake_secret",
        "import attrs\nfrom hacore.plugin import Component, hookimpl\n"
        "@attrs.frozen(kw_only=True)\nclass Config: pass\n"
        "@hookimpl\ndef hacore_declare():\n"
        "    return [Component(kind='dataset', name='secret', target='fake_secret_part:Secret',"
        " config=Config, summary='noise')]\n",
        fake_secret_part="Secret = None\n",
    )
    import fake_secret_part

    monkeypatch.setattr(fake_secret_part, "Secret", Secret)
    return {
        **table,
        "data": {"use": "secret"},
        "image_encoder": {"use": "small-cnn", "channels": [4], "strides": [2]},
        "eval": {"baseline_steps": 2, "split": "train", "final_split": "test"},
    }


def test_a_split_without_public_answers_is_predicted_and_submitted_but_not_scored(secret, tmp_path, cli):
    folder, result = hacore.run(hacore.resolve(secret), runs=tmp_path, device="cpu")
    assert (result["accuracy"], result["by_type"], result["baselines"]) == (None, {}, {})
    assert result["questions"] == 20
    lines = [json.loads(line) for line in folder.predictions_file("test").read_text().splitlines()]
    assert {line["score"] for line in lines} == {None}
    by_id = {line["id"]: line["prediction"] for line in lines}
    submission = folder.path / "predictions" / "test.submission"
    assert submission.read_text().splitlines() == [f"test {by_id[100 + row]}" for row in range(20)]
    ran = cli("eval", folder.path, "--device", "cpu")
    assert ran.status == 0
    assert ran.out.splitlines()[-1] == f"submission: {submission}"
    assert re.search(r"^all +20 +-$", ran.out, re.MULTILINE)


def test_a_split_without_public_answers_cannot_choose_the_checkpoint(secret, tmp_path):
    secret["eval"]["split"] = "test"
    problem = "eval.split: the answers of split 'test' are not public; splits with answers: train"
    with pytest.raises(HacoreError, match=re.escape(problem)):
        hacore.run(hacore.resolve(secret), runs=tmp_path, device="cpu")

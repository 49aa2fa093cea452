"""A run whose data are no longer where they were, and a model that is measured on other data."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from hacore_vqa.miniature import write_v2

import hacore as library
from hacore.machine.files import load_tensors
from hacore.runs import RunFolder
from hacore.train import trainer
from hacore.train.checkpoint import save_checkpoint

SPEC = """name = "moved"
data = {{ use = "vqa-v2", root = "{root}", size = [32, 32] }}
image_encoder = {{ use = "small-cnn", channels = [8, 8], strides = [2, 2] }}
question_encoder = {{ use = "lstm", embedding = 8, hidden = 8 }}
fuser = {{ use = "multiply", width = 8 }}
selector = {{ use = "l2-topk", k = 4 }}
aggregator = {{ use = "sum-pool" }}
train = {{ steps = 4, checkpoint_steps = 2, threads = 1, batch_images = 4, warmup_steps = 0 }}
eval = {{ final_split = "val", baseline_steps = 0 }}
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A working folder with the data in ``data`` and a spec that names them by that relative path."""
    folder = tmp_path / "here"
    folder.mkdir()
    write_v2(folder / "data")
    (folder / "spec.toml").write_text(SPEC.format(root="data"))
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def run(here, hacore):
    """The folder of a finished run of the spec."""
    status, out, errors = hacore("run", "spec.toml", "--json", "--device", "cpu", "--no-report")
    assert status == 0, errors
    return here / json.loads(out)["run"]


def measured(hacore, *words):
    status, out, errors = hacore("eval", *words, "--json", "--device", "cpu")
    assert status == 0, errors
    return json.loads(out)


def refused(hacore, *words):
    status, _, errors = hacore(*words)
    assert status == 1
    (line,) = [line for line in errors if line.startswith("hacore: ")]
    return line


def test_data_beside_the_run_are_found_from_any_folder(here, run, hacore, tmp_path, monkeypatch):
    own = measured(hacore, run)
    monkeypatch.chdir(tmp_path)
    assert measured(hacore, run) == own
    moved = tmp_path / "another place"
    shutil.move(here, moved)  # the project as a whole
    again = measured(hacore, moved / run.relative_to(here))
    assert (again["accuracy"], again["loss"]) == (own["accuracy"], own["loss"])


@pytest.mark.parametrize("words", [["data.root={}"], ["--set", "data.root={}"]])
def test_eval_ask_and_resume_are_told_where_the_data_are(here, run, hacore, tmp_path, names, words):
    own = measured(hacore, run)
    shutil.move(here / "data", tmp_path / "elsewhere")
    line = refused(hacore, "eval", run)
    names(line, str(run), "data.root", '"data"', str(here), "--set data.root=")
    assert "download" not in line
    there = [word.format(tmp_path / "elsewhere") for word in words]
    assert measured(hacore, run, *there) == own
    image = next((tmp_path / "elsewhere" / "val2014").iterdir())
    assert hacore("ask", run, image, "what is it?", *there, "--no-picture")[0] == 0
    before = (run / "spec.toml").read_bytes()
    (run / "result.json").unlink()  # as if it was killed before it was measured
    names(refused(hacore, "run", "--resume", run), "data.root", "--set data.root=")
    assert hacore("run", "--resume", run, *there, "--no-report")[0] == 0
    assert json.loads((run / "result.json").read_text())["accuracy"] == own["accuracy"]
    assert (run / "spec.toml").read_bytes() == before


def test_a_training_resumed_with_moved_data_ends_as_it_would_have(here, hacore, tmp_path, monkeypatch):
    spec, runs = library.load_spec("spec.toml"), tmp_path / "runs"
    whole, _ = library.run(spec, runs=runs, device="cpu", report=False)

    def killed(*arguments):
        save_checkpoint(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(trainer, "save_checkpoint", killed)
    with pytest.raises(KeyboardInterrupt):
        library.run(spec, runs=runs, device="cpu", report=False)
    monkeypatch.undo()
    monkeypatch.chdir(here)
    monkeypatch.setenv("HACORE_CACHE", str(tmp_path / "cache"))
    (half,) = [folder for folder in (runs / "moved").iterdir() if folder != whole.path]
    (here / "data").rename(tmp_path / "elsewhere")
    assert load_tensors(half / "checkpoints" / "last.safetensors")[1]["step"] == 2
    status, _, errors = hacore("run", "--resume", half, f"data.root={tmp_path / 'elsewhere'}", "--no-report")
    assert status == 0, errors
    for name in ("last", "best"):
        ours, theirs = (
            load_tensors(path / "checkpoints" / f"{name}.safetensors") for path in (half, whole.path)
        )
        assert ours[0].keys() == theirs[0].keys()
        assert all(torch.equal(ours[0][key], theirs[0][key]) for key in ours[0] if "model" in key)
        assert ours[1]["step"] == theirs[1]["step"]


def test_other_data_are_not_trained_on(here, run, hacore, tmp_path, names):
    other = write_v2(tmp_path / "other")
    file = other / "v2_mscoco_train2014_annotations.json"
    file.write_text(file.read_text().replace('"yellow"', '"gold"'))
    (run / "result.json").unlink()
    checkpoint = (run / "checkpoints" / "last.safetensors").read_bytes()
    for _ in range(2):
        line = refused(hacore, "run", "--resume", run, f"data.root={other}", "--no-report")
        names(line, str(run), "other data", "--set data.", "afresh")
        (run / "checkpoints" / "best.safetensors").unlink(missing_ok=True)
    assert (run / "checkpoints" / "last.safetensors").read_bytes() == checkpoint
    line = refused(hacore, "run", "--resume", run, "train.lr=0.5", "--no-report")
    names(line, str(run), "another spec", "lr = 0.5")


def test_words_and_answers_of_other_data_are_matched_by_name(here, run, hacore, tmp_path, names):
    own = measured(hacore, run)
    predictions = RunFolder(run).predictions_file("val").read_bytes()
    other = write_v2(tmp_path / "other")
    for file in other.glob("*.json"):  # other words come first in the vocabulary, and an answer is unknown
        text = file.read_text().replace("What", "Aardvark what").replace('"yellow"', '"amber"')
        file.write_text(text)
    there = f"data.root={other}"
    result = measured(hacore, run, there)
    assert RunFolder(run).predictions_file("val").read_bytes() == predictions
    assert result["predictions"] != own["predictions"]
    assert result["data"]["fingerprint"] != own["data"]["fingerprint"]
    lines = [json.loads(line) for line in Path(result["predictions"]).read_text().splitlines()]
    before = [json.loads(line) for line in predictions.splitlines()]
    amber = [line for line in lines if line["answer"] is None]
    assert amber
    assert all(line["score"] == 0 for line in amber)
    assert result["accuracy"] == pytest.approx(sum(line["score"] for line in lines) / len(lines))
    same = [(new, old) for new, old in zip(lines, before, strict=True) if new["answer"] is not None]
    assert same
    assert all(new["answer"] == old["answer"] for new, old in same)
    _, out, _ = hacore("eval", run, there, "--device", "cpu")
    (line,) = [line for line in out.splitlines() if line.startswith("data: ")]
    names(line, "others than it was trained on", "1 of", "unknown to the model", "count as wrong")


def test_images_of_another_size_are_refused(run, hacore, names):
    line = refused(hacore, "eval", run, "data.size=[40,40]")
    names(line, "3x40x40", "3x32x32", "data.size=[32,32]")

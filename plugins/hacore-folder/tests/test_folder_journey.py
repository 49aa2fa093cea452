"""From a folder to what one does with a model: train, measure, features, sweep, ask, export, serve."""

import json

import pytest

import hacore

SPEC = """
name = "mine"
data = { use = "folder", root = "mine", size = [24, 32] }
image_encoder = { use = "small-cnn", channels = [8, 16], strides = [2, 4] }
question_encoder = { use = "lstm", embedding = 8, hidden = 16 }
fuser = { use = "multiply", width = 16 }
selector = { use = "l2-topk", k = 4 }
aggregator = { use = "sum-pool" }
head = { hidden = [16] }
train = { steps = 4, batch_images = 8, threads = 1, warmup_steps = 0, precision = "float32" }
eval = { baseline_steps = 2 }
"""

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def here(tmp_path, make_folder, monkeypatch):
    """A working folder with the data and a spec."""
    make_folder(tmp_path / "mine")
    (tmp_path / "spec.toml").write_text(SPEC)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(here, cli):
    """run(*words): a training from the command line; gives the run folder and the result."""

    def train(*words):
        ran = cli("run", "spec.toml", *words, "--device", "cpu", "--json")
        assert ran.status == 0, ran.err
        result = json.loads(ran.out)
        return here / result["run"], result

    return train


def test_a_run_its_page_and_what_is_asked(run, cli, here):
    folder, result = run()
    assert set(result["by_type"]) == {"is", "what"}
    assert (folder / "report" / "index.html").is_file()
    assert cli("report", folder).status == 0
    for words in (("--split", "val"), ("data.split_seed=4",), ("selector.k=2", "--split", "train")):
        ran = cli("eval", folder, *words, "--device", "cpu", "--json")
        assert ran.status == 0, ran.err
    ran = cli("ask", folder, here / "mine" / "003.png", "what color is it?", "--no-picture", "--json")
    assert ran.status == 0, ran.err
    (reply,) = json.loads(ran.out)["replies"]
    assert reply["unknown_words"] == []
    table = cli("table", folder)
    assert table.status == 0, table.err


def test_several_answers_train_and_score(run, here):
    lines = (here / "mine" / "questions.csv").read_text().splitlines()
    several = [f"{line}|{line.rpartition(',')[2]}ish" for line in lines[1:]]
    (here / "mine" / "questions.csv").write_text("\n".join([lines[0], *several]) + "\n")
    folder, result = run()
    predictions = (folder / "predictions" / "test.jsonl").read_text().splitlines()
    scores = [json.loads(line)["score"] for line in predictions]
    assert sum(scores) / len(scores) == pytest.approx(result["accuracy"], abs=1e-6)
    assert hacore.load(folder).dataset.questions("test").accepted.shape == (4, 2)


def test_features_are_made_once_for_all_splits(run, cli, here):
    pytest.importorskip("hacore_resnet")
    encoder = "image_encoder={ use = 'resnet', depth = 18, stage = 1 }"
    words = (encoder, "data.size=[32, 32]")
    ran = cli("features", "spec.toml", *words, "--output", "store", "--device", "cpu", "--json")
    assert ran.status == 0, ran.err
    # Splits by shares are of one array, whose pictures are encoded once.
    assert json.loads(ran.out)["images"] == 20
    _, result = run(*words, "features.root=store")
    assert result["data"]["features"] is not None


@pytest.mark.slow
def test_a_sweep_over_splits_packs_once(cli, here):
    (here / "sweep.toml").write_text(SPEC + "[sweep]\ndata.split_seed = [0, 1]\n")
    ran = cli("sweep", "sweep.toml", "--device", "cpu", "--jobs", "1")
    assert ran.status == 0, ran.err
    assert len(list((here / "cache" / "folder").glob("*/pack.json"))) == 1
    assert cli("table", "sweeps/mine", "--columns", "data.split_seed").status == 0


def test_an_exported_model_splits_words_as_here(run, cli, here):
    pytest.importorskip("onnxruntime")
    folder, _ = run("--no-report")
    ran = cli("export", folder, "--json")
    assert ran.status == 0, ran.err
    description = json.loads(next((folder / "export").glob("*.json")).read_text())
    assert description["word_rule"]["pattern"]
    assert description["answers"] == list(hacore.load(folder).dataset.answers)


def test_a_served_page_begins_with_questions_of_the_folder(run):
    examples = pytest.importorskip("hacore_serve.examples")
    folder, _ = run("--no-report")
    shown = examples.examples_of(hacore.load(folder), 2)
    answers = dict(question for example in shown for question in example.questions)
    assert set(answers) == {"what color is it?", "is it on the left?"}
    assert answers["is it on the left?"] in ("yes", "no")


def test_the_data_may_move(run, cli, here):
    folder, result = run("--no-report")
    (here / "mine").rename(here / "moved")
    ran = cli("eval", folder, "data.root=moved", "--device", "cpu", "--json")
    assert ran.status == 0, ran.err
    assert json.loads(ran.out)["accuracy"] == result["accuracy"]

"""From official files to official numbers: prepare, train, evaluate, results file, score; by commands."""

import json
import tomllib
from pathlib import Path

import pytest
import toml

SPEC = """
name = "mini"
seed = 0
image_encoder = {{ use = "small-cnn", channels = [8, 8, 8] }}
question_encoder = {{ use = "lstm", embedding = {embedding}, hidden = 16 }}
fuser = {{ use = "multiply", width = 16 }}
selector = {{ use = "l2-topk", k = 4 }}
aggregator = {{ use = "sum-pool" }}
[data]
use = "{use}"
root = "{root}"
images = "{images}"
size = [32, 48]
{more}
[head]
hidden = [16]
[train]
steps = 6
batch_images = 4
threads = 1
precision = "float32"
[eval]
split = "val"
final_split = "{final}"
baseline_steps = 2
"""


@pytest.fixture
def journey(hacore, tmp_path):
    """Prepares and runs; gives the run folder and its result."""

    def go(use, root, images, final="val", embedding=8, more=""):
        prepared = hacore("data", "prepare", use, root, "--images", images, "--size", 32, 48, "--subset")
        assert prepared[0] == 0, prepared
        spec = tmp_path / "spec.toml"
        table = {"use": use, "root": root, "images": images, "final": final}
        spec.write_text(SPEC.format(**table, embedding=embedding, more=more))
        status, _, err = hacore("run", spec, "--runs", tmp_path / "runs", "--device", "cpu")
        assert status == 0, err
        (folder,) = (tmp_path / "runs" / "mini").iterdir()
        return folder, json.loads((folder / "result.json").read_text())

    return go


@pytest.fixture
def official(hacore):
    """The official numbers of a results file."""

    def score(questions, annotations, results):
        status, out, err = hacore(
            *("score", "vqa", "--questions", questions, "--annotations", annotations),
            *("--results", results, "--json"),
        )
        assert status == 0, err
        return json.loads(out)

    return score


@pytest.mark.parametrize("more", ["", 'targets = "soft"\nloss = "binary"', 'targets = "soft"\nanswers = 4'])
def test_v2(journey, official, hacore, v2, more):
    folder, result = journey("vqa-v2", v2, v2, more=more)
    scores = official(
        v2 / "v2_OpenEnded_mscoco_val2014_questions.json",
        v2 / "v2_mscoco_val2014_annotations.json",
        folder / "predictions" / "val.submission",
    )
    assert 100 * result["accuracy"] == pytest.approx(scores["overall"], abs=0.0051)
    for group, value in scores["perAnswerType"].items():
        assert 100 * result["by_group"][group]["accuracy"] == pytest.approx(value, abs=0.0051)
    assert result["baselines"]["majority"]["accuracy"] > 0
    lines = [json.loads(line) for line in (folder / "predictions" / "val.jsonl").read_text().splitlines()]
    assert len(lines) == 24
    assert sum(record["score"] for record in lines) / 24 == pytest.approx(result["accuracy"], abs=1e-6)


def test_ids_of_any_size(journey, official, hacore, v2, change):
    """Every id is another: past 64 bits, negative, and as pandas writes them."""

    def enlarge(number):
        return {0: number + 2**63, 1: -number, 2: float(number)}[number % 3] + 10**30 * (number % 9 == 0)

    def rename(content):
        for record in content.get("questions", content.get("annotations")):
            record["question_id"] = enlarge(record["question_id"])

    for path in v2.glob("*.json"):
        change(path, rename)
    folder, result = journey("vqa-v2", v2, v2)
    questions = v2 / "v2_OpenEnded_mscoco_val2014_questions.json"
    asked = [int(record["question_id"]) for record in json.loads(questions.read_text())["questions"]]
    submission = folder / "predictions" / "val.submission"
    assert [record["question_id"] for record in json.loads(submission.read_text())] == asked
    lines = [json.loads(line) for line in (folder / "predictions" / "val.jsonl").read_text().splitlines()]
    assert [line["id"] for line in lines] == asked
    scores = official(questions, v2 / "v2_mscoco_val2014_annotations.json", submission)
    assert 100 * result["accuracy"] == pytest.approx(scores["overall"], abs=0.0051)
    status, out, err = hacore("compare", folder, "--against", folder, "--json")
    assert status == 0, err
    assert json.loads(out)["difference"] == 0


@pytest.mark.parametrize("value", ["12", 1.5, 1e30, True, None, [1], {}, ""])
def test_ids_that_are_no_whole_numbers_are_named_once(hacore, v2, tmp_path, names, change, value):
    questions = v2 / "v2_OpenEnded_mscoco_val2014_questions.json"
    annotations = v2 / "v2_mscoco_val2014_annotations.json"
    results = tmp_path / "results.json"
    records = json.loads(annotations.read_text())["annotations"]
    results.write_text(json.dumps([{"question_id": one["question_id"], "answer": "1"} for one in records]))

    def spoil(content):
        records = content if isinstance(content, list) else content.get("questions") or content["annotations"]
        records[4]["question_id"] = str(records[4]["question_id"]) if value == "12" else value

    for path in (questions, annotations, results):
        before = path.read_bytes()
        change(path, spoil)
        given = ("--questions", questions, "--annotations", annotations, "--results", results)
        commands = [("score", "vqa", *given)]
        commands += [("data", "prepare", "vqa-v2", v2, "--output", tmp_path / "pack")] * (path != results)
        for command in commands:
            status, out, err = hacore(*command)
            assert (status, out) == (1, "")
            (line,) = [line for line in err if line.startswith(f"hacore: {v2.parent}")]
            names(line, f"{path}: question", "question_id", "must be a whole number")
        path.write_bytes(before)


@pytest.mark.parametrize("value", [-1, 10**18, 2**63, 10**30])
def test_ids_of_images_that_name_no_file(hacore, v2, tmp_path, names, change, value):
    path = v2 / "v2_OpenEnded_mscoco_val2014_questions.json"
    change(path, lambda content: content["questions"][0].update(image_id=value))
    status, _, err = hacore("data", "prepare", "vqa-v2", v2, "--output", tmp_path / "pack", "--subset")
    assert status == 1
    (line,) = [line for line in err if "image_id" in line]
    names(line, f"{path}: question 101000:", f"image_id is {value}", "from 0 to")


def test_test_split_is_predicted_and_not_scored(journey, hacore, v2):
    folder, result = journey("vqa-v2", v2, v2, final="test")
    assert result["accuracy"] is None
    written = json.loads((folder / "predictions" / "test.submission").read_text())
    asked = json.loads((v2 / "v2_OpenEnded_mscoco_test2015_questions.json").read_text())["questions"]
    assert [record["question_id"] for record in written] == [record["question_id"] for record in asked]
    assert all(set(record) == {"question_id", "answer"} for record in written)
    line = json.loads((folder / "predictions" / "test.jsonl").read_text().splitlines()[0])
    assert line["score"] is None
    assert hacore("eval", folder, "--split", "test-dev", "--device", "cpu")[0] == 0
    assert len(json.loads((folder / "predictions" / "test-dev.submission").read_text())) == 5


def test_cp(journey, official, v2, cp):
    folder, result = journey("vqa-cp-v2", cp, v2, final="test", more="validation = 0.3")
    scores = official(
        cp / "vqacp_v2_test_questions.json",
        cp / "vqacp_v2_test_annotations.json",
        folder / "predictions" / "test.submission",
    )
    assert 100 * result["accuracy"] == pytest.approx(scores["overall"], abs=0.0051)


def test_cp_on_stored_features(journey, official, hacore, v2, cp, tmp_path):
    pytest.importorskip("hacore_resnet")
    # The files are prepared and a spec is written by a first run, on images.
    journey("vqa-cp-v2", cp, v2, final="test", more="validation = 0.3")
    spec, root = tmp_path / "spec.toml", tmp_path / "features"
    table = tomllib.loads(spec.read_text())
    table["image_encoder"] = {"use": "resnet", "depth": 18, "stage": 2}
    table["features"] = {"pool": [3, 4]}
    spec.write_text(toml.dumps(table))
    status, out, err = hacore("features", spec, "--output", root, "--device", "cpu", "--json")
    assert status == 0, err
    store = json.loads(out)
    # The validation questions are about training images, which are encoded once.
    assert store["description"]["splits"] == {"train": "train", "val": "train", "test": "test"}
    assert store["images"] == sum(store["description"]["images"].values())
    stored = ("--set", f"features.root={root}")
    status, out, err = hacore(
        "run", spec, *stored, "--runs", tmp_path / "stored", "--device", "cpu", "--json"
    )
    assert status == 0, err
    result = json.loads(out)
    scores = official(
        cp / "vqacp_v2_test_questions.json",
        cp / "vqacp_v2_test_annotations.json",
        Path(result["run"]) / "predictions" / "test.submission",
    )
    assert 100 * result["accuracy"] == pytest.approx(scores["overall"], abs=0.0051)
    # Options about answers change the data's fingerprint, but no image.
    assert hacore("check", spec, *stored, "--set", "data.answers=4")[0] == 0


def test_word_vectors_start_the_embedding(journey, hacore, names, v2, tmp_path):
    path = tmp_path / "vectors.txt"
    path.write_text("discs 1 2 3 4\nthe 4 3 2 1\n")
    more = f'word_vectors = "{path}"'
    journey("vqa-v2", v2, v2, embedding=4, more=more)
    spec = tmp_path / "spec.toml"
    status, _, err = hacore("check", spec, "--set", "question_encoder.embedding=8")
    assert status == 1
    names(err[-1], "word vectors", "4 channels", "embedding = 8", "set embedding = 4")

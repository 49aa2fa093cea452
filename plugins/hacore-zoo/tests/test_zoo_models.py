"""Every model that comes along loads, is small, answers as recorded, and is not written into."""

import hashlib
import json
import shlex
from pathlib import Path

import hacore_zoo
import pytest
from hacore_clevr import GenerateConfig
from hacore_clevr.generate.command import generate
from hacore_zoo.shelf import names, read_model

import hacore
from hacore.data_tools import Silent
from hacore.machine.files import load_tensors
from hacore.runs import RunFolder

pytestmark = pytest.mark.usefixtures("one_thread")

ROOT = Path(__file__).parents[3]
MODELS = [name for name in names() if read_model(name).distribution == "hacore-zoo"]
# Of what the data sets come with, a few images.
SORT_OF_CLEVR = ("data.images=20", "data.held_out=5", "data.validation=5")
FEW = {
    "adahan_rn": SORT_OF_CLEVR,
    "easy_vqa": ("data.validation=5", "--split", "val"),
    "han_rn": SORT_OF_CLEVR,
}

each_model = pytest.mark.parametrize("name", MODELS)


@pytest.fixture
def few(tmp_path_factory):
    """Arguments of ``hacore eval`` for a few images of a model's data."""

    def arguments(name):
        if name != "clevr":
            return FEW[name]
        folder = tmp_path_factory.mktemp("clevr") / "data"
        config = GenerateConfig(
            images=8,
            val_images=1,
            test_images=6,
            packed=True,
            workers=1,
            device="cpu",
            seed=5,
            output=str(folder),
        )
        assert not generate(config, Silent()).problems
        return f"data.root={folder}", "features.root=none"

    return arguments


def content():
    """What is in the package, by path."""
    folder = Path(hacore_zoo.__file__).parent
    files = [path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(autouse=True)
def working_folder(tmp_path, monkeypatch):
    """A folder of one's own to work in; the package is the same afterwards."""
    before = content()
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    assert content() == before


def test_every_folder_of_the_package_is_a_model():
    folders = Path(hacore_zoo.__file__).parent.glob("*/origin.json")
    assert MODELS
    assert {path.parent.name for path in folders} == {*MODELS}


@each_model
def test_a_model_is_small_and_has_only_weights(name):
    model = read_model(name)
    assert model.bytes < 5_000_000
    tensors, state = load_tensors(RunFolder(model.folder).best)
    assert {*tensors} == {
        f"model.{key}" for key in hacore.load(f"zoo/{name}", device="cpu").model.state_dict()
    }
    assert state["step"] == model.result.checkpoint["step"]


@each_model
def test_where_a_model_is_from_is_beside_it_and_names_no_machine(name):
    model = read_model(name)
    spec = hacore.load_spec(ROOT / model.spec, model.overrides)
    assert RunFolder(model.folder).spec() == spec
    assert model.result.accuracy > model.result.baselines["question_only"].accuracy + 0.3
    assert model.environment["libraries"]["torch"]
    for path in model.folder.rglob("*.json"):
        assert not {"/tmp", "/home", "/root", "/work"} & {*path.read_text(encoding="utf-8").split('"')}
        for start in ("/tmp/", "/home/", "/root/", "/work/"):
            assert start not in path.read_text(encoding="utf-8")


@each_model
def test_a_model_answers_its_pictures_as_recorded(name):
    trained, model = hacore.load(f"zoo/{name}", device="cpu"), read_model(name)
    assert len(model.examples) >= 6
    assert len({example.picture for example in model.examples}) == 3
    replies = trained.ask_many([(example.picture, example.question) for example in model.examples])
    assert [reply.answer for reply in replies] == [example.answer for example in model.examples]
    assert not any(reply.unknown for reply in replies)


@each_model
def test_eval_measures_a_model_and_writes_in_the_working_folder(name, cli, working_folder, few):
    ran = cli("eval", f"zoo/{name}", *few(name), "--json", "--device", "cpu")
    assert ran.status == 0, ran.err
    measured = json.loads(ran.out)
    assert measured["accuracy"] > 0.8
    assert measured["run"] == f"zoo/{name}"
    (written,) = working_folder.glob(f"zoo/{name}/predictions/*.jsonl")
    assert len(written.read_text(encoding="utf-8").splitlines()) == measured["questions"]
    # A folder that only holds what was written about a model does not hide it.
    assert hacore.load(f"zoo/{name}", device="cpu").step == measured["step"]


@each_model
def test_the_commands_that_are_shown_can_be_pasted(name, cli):
    ran = cli("zoo", name)
    assert ran.status == 0, ran.err
    commands = [line.strip() for line in ran.out.splitlines() if line.strip().startswith("hacore ask")]
    assert len(commands) == len(read_model(name).examples)
    asked = cli(*shlex.split(commands[0])[1:], "--json", "--device", "cpu")
    assert asked.status == 0, asked.err
    record = json.loads(asked.out)
    (reply,) = record["replies"]
    assert record["run"] == f"zoo/{name}"
    assert reply["answers"][0]["answer"] == read_model(name).examples[0].answer
    assert Path(reply["picture"]).is_file()


def test_export_predict_and_serve_take_a_model(cli, working_folder):
    example = read_model("easy_vqa").examples[0]
    (working_folder / "asked.csv").write_text(f"image,question\n{example.picture.name},{example.question}\n")
    images = ["--images", example.picture.parent]
    ran = cli("predict", "zoo/easy_vqa", "asked.csv", *images, "--output", "answers.csv", "--device", "cpu")
    assert ran.status == 0, ran.err
    assert f",{example.answer}," in (working_folder / "answers.csv").read_text(encoding="utf-8")
    pytest.importorskip("hacore_serve")
    from hacore_serve.serving import load_runs

    assert [trained.spec.name for trained in load_runs(("zoo/easy_vqa",), "cpu")] == ["easy_vqa_han_sum"]
    pytest.importorskip("onnxscript")
    ran = cli("export", "zoo/easy_vqa", "--format", "torch")
    assert ran.status == 0, ran.err
    assert (working_folder / "zoo" / "easy_vqa" / "export" / "model.pt2").is_file()


def test_bench_takes_a_model():
    pytest.importorskip("hacore_bench")
    from hacore_bench.subject import open_subject

    subject = open_subject("zoo/easy_vqa", ["data.validation=5"], device="cpu", all_cells=False)
    assert subject.step == read_model("easy_vqa").result.checkpoint["step"]


def test_a_training_can_start_from_a_model(tmp_path):
    model = read_model("easy_vqa")
    few = [
        "train.steps=1",
        "train.warmup_steps=0",
        "train.lr=1e-6",
        "data.validation=20",
        "eval.final_split=val",
    ]
    more = ["train.init=zoo/easy_vqa", "eval.baseline_steps=0"]
    spec = hacore.load_spec(ROOT / model.spec, [*model.overrides, *few, *more])
    _, result = hacore.run(spec, runs=tmp_path, device="cpu", report=False)
    assert result.accuracy > 0.9

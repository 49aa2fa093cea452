"""What ``zoo/NAME`` stands for, what is said where it stands for nothing, and how a model is made."""

import importlib.util
import json
import shutil
from pathlib import Path

import pytest

import hacore
from hacore.errors import PluginError, RunError
from hacore.machine.files import load_tensors
from hacore.runs import RunFolder
from hacore.spec import resolve

MAKE = Path(__file__).parents[1] / "make.py"


@pytest.fixture(scope="module")
def make():
    """The program that makes models."""
    spec = importlib.util.spec_from_file_location("make_a_model", MAKE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def run(tmp_path_factory, small_table):
    """A run of a second."""
    table = small_table("mine", head={"hidden": [8]})
    table["train"] = {"steps": 2, "batch_images": 4, "threads": 1, "warmup_steps": 0}
    table["eval"] = {"baseline_steps": 2}
    return hacore.run(resolve(table), runs=tmp_path_factory.mktemp("runs"), device="cpu", report=False)[0]


def test_an_unknown_model_is_answered_with_those_there_are(cli, names):
    names(cli("ask", "zoo/nope", "picture.png", "what?").error, "'nope'", "easy-vqa")
    names(cli("zoo", "easy_vqq").error, "'easy-vqq'", "did you mean 'easy-vqa'")


def test_without_the_package_its_name_is_said(uninstall, cli, names):
    uninstall("hacore-zoo")
    names(cli("eval", "zoo/easy_vqa").error, "'easy-vqa'", "not installed", "plugins/hacore-zoo")


def test_a_run_folder_of_that_name_wins(run, tmp_path, monkeypatch):
    shutil.copytree(run.path, tmp_path / "zoo" / "easy_vqa")
    monkeypatch.chdir(tmp_path)
    assert RunFolder.open("zoo/easy_vqa").spec().name == "mine"


@pytest.mark.parametrize("path", ["zoo", "zoo/a/b", "my/zoo/easy_vqa", "/zoo/easy_vqa"])
def test_other_paths_are_folders(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RunError, match="no such run folder"):
        RunFolder.open(path)


def test_another_package_brings_a_model(run, install, tmp_path, monkeypatch, cli):
    install(
        "fake_mine",
        "from pathlib import Path\n"
        "from hacore.plugin import Component, hookimpl\n"
        f"HERE = Path({str(run.path)!r})\n"
        "@hookimpl\n"
        "def hacore_declare():\n"
        "    return [Component(kind='model', name='mine', target='fake_mine:HERE', summary='a small one')]\n",
    )
    monkeypatch.chdir(tmp_path)
    assert hacore.load("zoo/mine", device="cpu").spec.name == "mine"
    with pytest.raises(PluginError, match=r"easy-vqa.* mine"):
        RunFolder.open("zoo/nope")
    ran = cli("plugins", "model")
    assert "a small one" in ran.out


def test_a_model_is_made_of_a_finished_run(make, run, tmp_path):
    target = tmp_path / "mine"
    make.write_model(run, make.Recipe(spec="experiments/mine.toml", licence="easy-vqa"), "mine", target)
    tensors, _ = load_tensors(RunFolder(target).best)
    assert {name.partition(".")[0] for name in tensors} == {"model"}
    assert not RunFolder(target).last.exists()
    environment = json.loads((target / "environment.json").read_text(encoding="utf-8"))
    assert environment["command"][-1] == "mine"
    origin = json.loads((target / "origin.json").read_text(encoding="utf-8"))
    assert origin["spec"] == "experiments/mine.toml"
    assert "MIT License" in (target / "examples" / "LICENSE").read_text(encoding="utf-8")
    # Pictures and model are those of the run.
    before, after = hacore.load(run, device="cpu"), hacore.load(target, device="cpu")
    question = "what is the shape of the red object?"
    replies = [trained.ask(target / "examples" / "1.png", question) for trained in (before, after)]
    assert replies[0].answers == replies[1].answers
    assert len(list(target.glob("examples/*.png"))) == 3


def test_no_model_is_made_of_an_unfinished_run(make, run, tmp_path, names):
    shutil.copytree(run.path, tmp_path / "run")
    (tmp_path / "run" / "result.json").unlink()
    target = tmp_path / "mine"
    with pytest.raises(RunError) as error:
        make.write_model(RunFolder(tmp_path / "run"), make.Recipe(spec="mine.toml"), "mine", target)
    names(str(error.value), "result.json", "missing", "hacore run --resume")
    assert not target.exists()

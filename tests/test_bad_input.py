"""Bad input of every kind, each with its own line: where, what was found, and what to do next."""

import json
import os
import re
import resource
import shutil
from pathlib import Path

import pytest
import safetensors.torch
import torch

PLUGINS = Path(__file__).parents[1] / "plugins"


@pytest.fixture
def spec(tmp_path, request, monkeypatch):
    """A good spec in the folder of the test, which is where commands run."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(request.config.rootpath / "experiments" / "han_rn.toml", tmp_path / "spec.toml")
    return "spec.toml"


@pytest.fixture(scope="module")
def finished(tmp_path_factory, request):
    """A whole run, made once."""
    from hacore.runs import RunFolder
    from hacore.spec import load_spec
    from hacore.workflow import run

    base = tmp_path_factory.mktemp("finished")
    overrides = [
        "data.images=40", "data.held_out=5", "data.validation=5", "image_encoder.channels=[4, 8]",
        "image_encoder.strides=[4]", "train.steps=3", "train.batch_images=4", "train.threads=1",
        "train.processes=1", "eval.baseline_steps=0",
    ]  # fmt: skip
    spec = load_spec(request.config.rootpath / "experiments" / "han_rn.toml", overrides)
    folder, _ = run(spec, runs=base, device="cpu")
    assert isinstance(folder, RunFolder)
    return folder.path


@pytest.fixture
def ran(finished, spec, tmp_path):
    """A copy of a whole run, to be damaged, called ``run`` in the folder of the test."""
    shutil.copytree(finished, tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture
def check_error(cli, spec, flags):
    """check_error(old, new, *flags): the line of ``hacore check`` after a replacement in the spec."""

    def run(old="", new="", *more):
        with open(spec) as file:
            text = file.read()
        assert old in text
        with open(spec, "w") as file:
            file.write(text.replace(old, new, 1) if old else text + new)
        return cli("check", spec, *flags, *more).error

    return run


# Specs


def test_no_such_file(cli, names, spec):
    names(cli("run", "spek.toml").error, "spek.toml:", "no such spec file", "'spec.toml'")


def test_a_folder_as_spec(cli, names, tmp_path):
    names(cli("run", tmp_path).error, f"{tmp_path}:", "folder", ".toml file")


def test_broken_toml(cli, names, tmp_path):
    path = tmp_path / "x.toml"
    path.write_text('name = "x\nseed = 0\n')
    names(cli("run", path).error, f"{path}:", "TOML", "line 1, column 10")


def test_a_file_that_is_no_text(cli, names, tmp_path):
    path = tmp_path / "x.toml"
    path.write_bytes('name = "x"'.encode("utf-16"))
    names(cli("run", path).error, f"{path}:", "UTF-16", "UTF-8")
    path.write_bytes('seed = 0\nname = "café"'.encode("latin-1"))
    names(cli("run", path).error, f"{path}:2:", "0xe9", "UTF-8")


def test_an_unknown_key(check_error, names):
    message = check_error("[selector]\n", "[selector]\nkk = 3\n")
    names(message, "spec.toml:", "selector.kk", "unknown", "'k'", "k, fraction")


def test_a_wrong_type(check_error, names):
    message = check_error("", "", "--set", 'train.lr="fast"')
    names(message, '--set train.lr="fast":', '"fast"', "number")


def test_an_unknown_component(check_error, names):
    message = check_error('use = "l2-topk"', 'use = "l2-topkk"')
    names(message, "spec.toml:", "selector.use", "'l2-topkk'", "'l2-topk'")


def test_a_component_that_is_not_installed(check_error, names, uninstall):
    uninstall("hacore-rn")
    names(check_error(), "spec.toml:", "aggregator.use", "'rn'", f"pip install -e {PLUGINS / 'hacore-rn'}")


def test_several_components_that_are_not_installed_have_one_command(cli, spec, uninstall):
    for package in ("hacore-rn", "hacore-lstm", "hacore-sort-of-clevr"):
        uninstall(package)
    ran = cli("check", spec)
    assert (ran.status, ran.out) == (1, "")
    *problems, way_out = ran.err.splitlines()
    assert [re.search(r": (\w+)\.use: .* is not installed$", line)[1] for line in problems] == [
        "data",
        "question_encoder",
        "aggregator",
    ]
    words = ("packing", "sort-of-clevr", "lstm", "rn")
    command = " ".join(["pip install", *(f"-e {PLUGINS}/hacore-{word}" for word in words)])
    assert way_out.startswith("hacore: install what is missing")
    assert way_out.endswith(f": {command}")


def test_k_out_of_range(check_error, names):
    names(check_error("", "", "--set", "selector.k=0"), "--set selector.k=0:", "0", "at least 1")


def test_more_cells_than_the_grid_has(check_error, names):
    message = check_error("", "", "--set", "selector.k=26")
    names(message, "selector 'l2-topk'", "5x5", "k = 26", "25 cells", "lower k or use fraction")


def test_an_encoder_that_is_too_deep_for_the_images(check_error, names):
    message = check_error("", "", "--set", "image_encoder.channels=[4,4,4,4,4]")
    names(message, "image encoder 'small-cnn'", "3x75x75", "dataset 'sort-of-clevr'")


def test_data_options_that_make_no_sense(check_error, names):
    message = check_error("", "", "--set", "data.held_out=35")
    names(message, "spec.toml:", "data", "images = 40", "held_out = 35", "validation = 5", "more than")


def test_a_split_that_does_not_exist(cli, check_error, names, spec, flags, tmp_path):
    parts = "dataset 'sort-of-clevr'", "'dev'", "train, val, test"
    names(check_error("", "", "--set", "eval.split=dev"), "eval.split:", *parts)
    bad = cli("run", spec, *flags, "--set", "eval.final_split=dev")
    names(bad.error, "eval.final_split:", *parts)
    assert not (tmp_path / "runs").exists()


# Plugins


def test_a_plugin_that_raises_when_it_is_loaded(check_error, names, install):
    source = (
        "import attrs\nfrom hacore.plugin import Component, hookimpl\n"
        "@attrs.frozen(kw_only=True)\nclass Config:\n    'None.'\n"
        "@hookimpl\ndef hacore_declare():\n"
        "    return [Component(kind='selector', name='mine', target='fake_mine_part:It', config=Config,\n"
        "                      summary='for a test')]\n"
    )
    install("fake_mine", source, fake_mine_part="raise RuntimeError('no luck')\n")
    message = check_error("", "", "--set", 'selector={use="mine"}')
    names(message, "selector 'mine'", "fake-mine 1.0", "fake_mine_part:It", "RuntimeError: no luck")
    names(message, "install it again from where it came")


def test_a_broken_plugin_stops_only_the_specs_that_need_it(cli, names, spec, flags, install):
    install("fake_mine", "raise RuntimeError('no luck')\n")
    assert cli("check", spec, *flags).status == 0
    message = cli("check", spec, *flags, "--set", 'selector={use="mine"}').error
    names(message, "'mine'", "plugin 'fake-mine'", "does not load", "RuntimeError: no luck")


# Devices


@pytest.mark.parametrize("device", ["banana", "cuda:x", "meta", ""])
def test_an_unknown_device(cli, names, spec, flags, device):
    message = cli("run", spec, *flags, "--device", device).error
    names(message, f"device '{device}'", "auto, cpu, cuda, cuda:INDEX or mps")


@pytest.mark.parametrize("device", ["cuda:97", "mps"])
def test_a_device_that_is_not_there(cli, names, spec, flags, device):
    if device == "mps" and torch.backends.mps.is_available():
        pytest.skip("it is there")
    message = cli("run", spec, *flags, "--device", device).error
    names(message, f"device '{device}'", "cannot be used", "auto, cpu, cuda, cuda:INDEX or mps")


# Data


@pytest.fixture
def damaged(cli, names, spec, flags, tmp_path):
    """damaged(damage): the line after the files of the data were damaged."""

    def run(damage):
        flag = ["--set", f"data.root={tmp_path / 'data'}"]
        assert cli("check", spec, *flags, *flag).status == 0
        (folder,) = (tmp_path / "data").glob("[!.]*")
        damage(folder)
        message = cli("run", spec, *flags, *flag).error
        names(message, f"delete the folder {folder}", "run again")
        assert not (tmp_path / "runs").exists()
        return message.replace(str(folder), "DATA")

    return run


def test_a_flipped_byte_in_the_data(damaged, names):
    def damage(folder):
        content = bytearray((folder / "images.npy").read_bytes())
        content[5000] ^= 1
        (folder / "images.npy").write_bytes(content)

    names(damaged(damage), "DATA/images.npy:", "damaged", "SHA-256")


def test_data_that_was_cut(damaged, names):
    message = damaged(lambda folder: os.truncate(folder / "questions.npy", 100))
    names(message, "DATA/questions.npy:", "100 bytes")


def test_data_that_is_gone(damaged, names):
    names(damaged(lambda folder: (folder / "scenes.npy").unlink()), "DATA/scenes.npy:", "missing")


# Run folders and checkpoints


def test_no_run_folder(cli, names, tmp_path):
    parts = f"{tmp_path / 'none'}:", "no such run folder", "'hacore run SPEC'"
    names(cli("eval", tmp_path / "none").error, *parts)
    names(cli("run", "--resume", tmp_path / "none").error, *parts)
    names(cli("eval", tmp_path).error, f"{tmp_path}:", "not a run folder", "spec.toml")


def test_a_run_of_another_spec(cli, names, spec, ran, flags):
    message = cli("run", spec, *flags, "--set", "selector.k=3", "--resume", "run").error
    names(message, "run:", "another spec", "resume without a spec", "run the given one afresh")


@pytest.mark.parametrize("words", [["--set", "selector.k=3"], ["selector.k=3"]])
def test_a_run_is_resumed_as_it_began(cli, names, ran, words):
    (ran / "result.json").unlink()
    names(cli("run", "--resume", "run", *words).error, "run:", "another spec", "[selector]", "'k = 3'")


def test_a_run_without_a_checkpoint(cli, names, ran):
    shutil.rmtree(ran / "checkpoints")
    names(cli("eval", "run").error, "run:", "no checkpoint", "hacore run --resume run")


def test_a_split_that_the_data_do_not_have(cli, names, ran):
    message = cli("eval", "run", "--split", "dev").error
    names(message, "run:", "dataset 'sort-of-clevr'", "'dev'", "train, val, test")


def test_a_damaged_spec_in_the_run_folder(cli, names, ran):
    (ran / "spec.toml").write_text("name = ")
    names(cli("eval", "run").error, "run/spec.toml:", "TOML", "end of document")


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda content: content[:-9], "damaged checkpoint"),
        (lambda content: b"", "damaged checkpoint"),
        (lambda content: content[:-1] + bytes([content[-1] ^ 1]), "checksum"),
        (lambda content: b"not safetensors at all", "damaged checkpoint"),
        (lambda content: safetensors.torch.save({"x": torch.ones(2)}), "not a checkpoint of hacore"),
    ],
    ids=["cut", "empty", "flipped", "other", "no state"],
)
def test_a_damaged_checkpoint(cli, names, ran, damage, problem):
    (ran / "result.json").unlink()  # or the run is finished, and there is nothing to resume
    for name, command in (("best", ["eval", "run"]), ("last", ["run", "--resume", "run"])):
        path = ran / "checkpoints" / f"{name}.safetensors"
        path.write_bytes(damage(path.read_bytes()))
        message = cli(*command, "--device", "cpu").error
        names(message, f"run/checkpoints/{name}.safetensors:", problem)
        names(message, "use the other checkpoint", "run the spec again")


def test_a_checkpoint_of_another_model(cli, names, ran):
    text = (ran / "spec.toml").read_text()
    (ran / "spec.toml").write_text(text.replace("channels = [ 4, 8,]", "channels = [ 4, 9,]"))
    assert (ran / "spec.toml").read_text() != text
    message = cli("eval", "run", "--device", "cpu").error
    names(message, "run/checkpoints/best.safetensors:", "does not fit", "spec.toml", "environment.json")


# Disks


def test_a_file_in_place_of_the_runs_folder(cli, names, spec, flags, tmp_path):
    (tmp_path / "runs").write_text("a file")
    message = cli("run", spec, *flags).error
    names(message, "runs/han_rn/", "cannot be made", "Not a directory", "--runs")


def test_a_disk_without_room_for_the_checkpoint(cli, names, spec, flags, tmp_path):
    # A limit on the size of files stands for the full disk, which a test cannot make without rights.
    assert cli("check", spec, *flags).status == 0  # the data are there, and are no part of this
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
    try:
        outcome = cli("run", spec, *flags, "--device", "cpu")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    (folder,) = (tmp_path / "runs" / "han_rn").iterdir()
    path = folder.relative_to(tmp_path) / "checkpoints" / "best.safetensors"
    names(outcome.error, f"{path}:", "cannot be written", "File too large", "make room", "--runs")
    # Nothing half-written stays, and what was written can be read.
    assert list((folder / "checkpoints").iterdir()) == []
    assert [json.loads(line)["kind"] for line in (folder / "metrics.jsonl").read_text().splitlines()]
    # With room again the run goes on, from its beginning.
    assert cli("run", "--resume", folder, "--device", "cpu").status == 0


def test_a_disk_without_room_for_the_data(cli, names, spec, flags, tmp_path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
    try:
        outcome = cli("run", spec, *flags, "--set", f"data.root={tmp_path / 'data'}")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    names(outcome.error, "cannot write", "File too large", "1 MB", "make room")
    assert list((tmp_path / "data").glob("[!.]*")) == []
    assert not (tmp_path / "runs").exists()

"""Bad input of every kind, each with its own line: where, what was found, and what to do next."""

import json
import os
import resource
import shutil

import pytest
import safetensors.torch
import torch


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


def test_no_such_file(cli, spec):
    assert cli("run", "spek.toml").error == "spek.toml: no such spec file; did you mean 'spec.toml'?"


def test_a_folder_as_spec(cli, tmp_path):
    assert cli("run", tmp_path).error == f"{tmp_path}: is a folder; name a .toml file in it"


def test_broken_toml(cli, tmp_path):
    path = tmp_path / "x.toml"
    path.write_text('name = "x\nseed = 0\n')
    assert (
        cli("run", path).error == f"{path}: is not valid TOML: Illegal character '\\n' (at line 1, column 10)"
    )


def test_a_file_that_is_no_text(cli, tmp_path):
    path = tmp_path / "x.toml"
    path.write_bytes('name = "x"'.encode("utf-16"))
    assert cli("run", path).error == (
        f"{path}:1: found the byte 0xff, which is not UTF-8; save the file as UTF-8"
    )


def test_an_unknown_key(check_error):
    assert check_error("[selector]\n", "[selector]\nkk = 3\n").endswith(
        ": selector.kk: unknown key; did you mean 'k'?; allowed here: k, fraction"
    )


def test_a_wrong_type(check_error):
    assert check_error("", "", "--set", 'train.lr="fast"') == (
        '--set train.lr="fast": found "fast"; must be a number'
    )


def test_an_unknown_component(check_error):
    assert check_error('use = "l2-topk"', 'use = "l2-topkk"').startswith("spec.toml:")


def test_a_component_that_is_not_installed(check_error, uninstall):
    uninstall("hacore-rn")
    assert check_error().endswith(
        ": aggregator.use: aggregator 'rn' is not installed; run 'pip install hacore-rn'"
    )


def test_k_out_of_range(check_error):
    assert check_error("", "", "--set", "selector.k=0") == (
        "--set selector.k=0: 0 is out of range; it must be at least 1"
    )


def test_more_cells_than_the_grid_has(check_error):
    message = check_error("", "", "--set", "selector.k=26")
    assert message.startswith("selector 'l2-topk' cannot take the 5x5 cells of ")
    assert message.endswith("k = 26 is more than the 25 cells of a 5x5 grid; lower k or use fraction")


def test_an_encoder_that_is_too_deep_for_the_images(check_error):
    message = check_error("", "", "--set", "image_encoder.channels=[4,4,4,4,4]")
    assert message.startswith(
        "image encoder 'small-cnn' cannot take the 3x75x75 images of dataset 'sort-of-clevr':"
    )


def test_data_options_that_make_no_sense(check_error):
    message = check_error("", "", "--set", "data.held_out=35")
    assert message.startswith("spec.toml:")
    assert message.endswith(
        ": data: images = 40 leaves nothing to train on after held_out = 35 and validation = 5; "
        "images must be more than their sum"
    )


def test_a_split_that_does_not_exist(cli, check_error, spec, flags, tmp_path):
    problem = "dataset 'sort-of-clevr' has no split 'dev'; it has train, val, test"
    assert check_error("", "", "--set", "eval.split=dev") == f"eval.split: {problem}"
    bad = cli("run", spec, *flags, "--set", "eval.final_split=dev")
    assert bad.error == f"eval.final_split: {problem}"
    assert not (tmp_path / "runs").exists()


# Plugins


def test_a_plugin_that_raises_when_it_is_loaded(check_error, install):
    source = (
        "import attrs\nfrom hacore.plugin import Component, hookimpl\n"
        "@attrs.frozen(kw_only=True)\nclass Config:\n    'None.'\n"
        "@hookimpl\ndef hacore_declare():\n"
        "    return [Component(kind='selector', name='mine', target='fake_mine_part:It', config=Config,\n"
        "                      summary='for a test')]\n"
    )
    install("fake_mine", source, fake_mine_part="raise RuntimeError('no luck')\n")
    message = check_error("", "", "--set", 'selector={use="mine"}')
    assert message == (
        "selector 'mine' of fake-mine 1.0: cannot load fake_mine_part:It: RuntimeError: no luck; "
        "try 'pip install --force-reinstall fake-mine'"
    )


def test_a_broken_plugin_stops_only_the_specs_that_need_it(cli, spec, flags, install):
    install("fake_mine", "raise RuntimeError('no luck')\n")
    assert cli("check", spec, *flags).status == 0
    assert cli("check", spec, *flags, "--set", 'selector={use="mine"}').error.endswith(
        "; plugin 'fake-mine' of fake-mine does not load: RuntimeError: no luck"
    )


# Devices


@pytest.mark.parametrize("device", ["banana", "cuda:x", "meta", ""])
def test_an_unknown_device(cli, spec, flags, device):
    assert cli("run", spec, *flags, "--device", device).error == (
        f"no device '{device}'; choose auto, cpu, cuda, cuda:INDEX or mps"
    )


@pytest.mark.parametrize("device", ["cuda:97", "mps"])
def test_a_device_that_is_not_there(cli, spec, flags, device):
    if device == "mps" and torch.backends.mps.is_available():
        pytest.skip("it is there")
    message = cli("run", spec, *flags, "--device", device).error
    assert message.startswith(f"device '{device}' cannot be used: ")
    assert message.endswith("; choose auto, cpu, cuda, cuda:INDEX or mps")


# Data


@pytest.fixture
def damaged(cli, spec, flags, tmp_path):
    """damaged(damage): the line after the files of the data were damaged."""

    def run(damage):
        flag = ["--set", f"data.root={tmp_path / 'data'}"]
        assert cli("check", spec, *flags, *flag).status == 0
        (folder,) = (tmp_path / "data").glob("[!.]*")
        damage(folder)
        message = cli("run", spec, *flags, *flag).error
        assert message.endswith(f"; delete the folder {folder} and run again to generate it anew")
        assert not (tmp_path / "runs").exists()
        return message.replace(str(folder), "DATA").split("; delete")[0]

    return run


def test_a_flipped_byte_in_the_data(damaged):
    def damage(folder):
        content = bytearray((folder / "images.npy").read_bytes())
        content[5000] ^= 1
        (folder / "images.npy").write_bytes(content)

    assert damaged(damage).startswith("DATA/images.npy: the content is damaged, SHA-256 ")


def test_data_that_was_cut(damaged):
    message = damaged(lambda folder: os.truncate(folder / "questions.npy", 100))
    assert message.startswith("DATA/questions.npy: 100 bytes found, ")


def test_data_that_is_gone(damaged):
    assert damaged(lambda folder: (folder / "scenes.npy").unlink()) == "DATA/scenes.npy: the file is missing"


# Run folders and checkpoints


def test_no_run_folder(cli, tmp_path):
    way_out = "no such run folder; 'hacore run SPEC' makes one and names it"
    assert cli("eval", tmp_path / "none").error == f"{tmp_path / 'none'}: {way_out}"
    assert cli("run", "--resume", tmp_path / "none").error == f"{tmp_path / 'none'}: {way_out}"
    assert cli("eval", tmp_path).error == f"{tmp_path}: is not a run folder: it has no spec.toml"


def test_a_run_of_another_spec(cli, spec, ran, flags):
    message = cli("run", spec, *flags, "--set", "selector.k=3", "--resume", "run").error
    assert message.startswith("run: is a run of another spec: ")
    assert message.endswith("; resume without a spec, or run the given one afresh")


def test_overrides_without_the_spec_they_change(cli, ran):
    outcome = cli("run", "--resume", "run", "--set", "selector.k=3")
    assert outcome.status == 2
    assert "--set with --resume needs the SPEC it changes; a run resumes as it began" in outcome.err


def test_a_run_without_a_checkpoint(cli, ran):
    shutil.rmtree(ran / "checkpoints")
    assert cli("eval", "run").error == (
        "run: has no checkpoint yet; continue it with 'hacore run --resume run'"
    )


def test_a_split_that_the_data_do_not_have(cli, ran):
    assert cli("eval", "run", "--split", "dev").error == (
        "run: dataset 'sort-of-clevr' has no split 'dev'; it has train, val, test"
    )


def test_a_damaged_spec_in_the_run_folder(cli, ran):
    (ran / "spec.toml").write_text("name = ")
    assert cli("eval", "run").error.startswith("run/spec.toml: is not valid TOML: Invalid value")


WAY_OUT = "; use the other checkpoint of the folder, or run the spec again"


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda content: content[:-9], "damaged checkpoint: Error while deserializing header: "),
        (lambda content: b"", "damaged checkpoint: Error while deserializing header: header too small"),
        (
            lambda content: content[:-1] + bytes([content[-1] ^ 1]),
            "damaged checkpoint: its content does not match its checksum",
        ),
        (lambda content: b"not safetensors at all", "damaged checkpoint: Error while deserializing header: "),
        (
            lambda content: safetensors.torch.save({"x": torch.ones(2)}),
            "is a safetensors file, but not a checkpoint of hacore",
        ),
    ],
    ids=["cut", "empty", "flipped", "other", "no state"],
)
def test_a_damaged_checkpoint(cli, ran, damage, problem):
    (ran / "result.json").unlink()  # or the run is finished, and there is nothing to resume
    for name, command in (("best", ["eval", "run"]), ("last", ["run", "--resume", "run"])):
        path = ran / "checkpoints" / f"{name}.safetensors"
        path.write_bytes(damage(path.read_bytes()))
        message = cli(*command, "--device", "cpu").error
        assert message.startswith(f"run/checkpoints/{name}.safetensors: {problem}")
        assert message.endswith(WAY_OUT)


def test_a_checkpoint_of_another_model(cli, ran):
    text = (ran / "spec.toml").read_text()
    (ran / "spec.toml").write_text(text.replace("channels = [ 4, 8,]", "channels = [ 4, 9,]"))
    assert (ran / "spec.toml").read_text() != text
    message = cli("eval", "run", "--device", "cpu").error
    assert message.startswith("run/checkpoints/best.safetensors: does not fit the model of the spec: ")
    assert message.endswith("; use the spec.toml beside it and the plugin versions in environment.json")


# Disks


def test_a_file_in_place_of_the_runs_folder(cli, spec, flags, tmp_path):
    (tmp_path / "runs").write_text("a file")
    message = cli("run", spec, *flags).error
    assert message.startswith("runs/han_rn/")
    assert message.endswith(": cannot be made: Not a directory; give another folder with --runs")


def test_a_disk_without_room_for_the_checkpoint(cli, spec, flags, tmp_path):
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
    assert outcome.error == (
        f"{path}: cannot be written: File too large; make room or give another folder with --runs"
    )
    # Nothing half-written stays, and what was written can be read.
    assert list((folder / "checkpoints").iterdir()) == []
    assert [json.loads(line)["kind"] for line in (folder / "metrics.jsonl").read_text().splitlines()]
    # With room again the run goes on, from its beginning.
    assert cli("run", "--resume", folder, "--device", "cpu").status == 0


def test_a_disk_without_room_for_the_data(cli, spec, flags, tmp_path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
    try:
        outcome = cli("run", spec, *flags, "--set", f"data.root={tmp_path / 'data'}")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "cannot write the generated data (File too large); it takes 1 MB: make room, or" in outcome.error
    assert list((tmp_path / "data").glob("[!.]*")) == []
    assert not (tmp_path / "runs").exists()

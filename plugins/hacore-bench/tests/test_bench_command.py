"""``hacore bench`` on specs and runs: what it prints and how it fails."""

import json

import attrs
import pytest
import torch
import torchvision
from hacore_bench import bench
from hacore_bench.record import Bench, Machine, Matrix, Model, Row
from hacore_bench.table import show
from hacore_features.make import make_features

import hacore
from hacore.measure.cost import mean_multiply_adds
from hacore.registry import catalogue

pytestmark = pytest.mark.usefixtures("one_thread")
SHORT = ("--repeats", "3", "--seconds", "0", "--no-memory", "--device", "cpu")
STAGES = ["image_encoder", "question_encoder", "fuser", "selector", "aggregator", "head"]


@pytest.fixture
def experiment(request):
    return lambda name: request.config.rootpath / "experiments" / f"{name}.toml"


@pytest.fixture
def run(experiment, tiny, tmp_path):
    spec = hacore.load_spec(experiment("adahan_rn"), tiny)
    return hacore.run(spec, runs=tmp_path, device="cpu", report=False)


def names(cls):
    return {field.name for field in attrs.fields(cls)}


def test_the_json_is_as_documented(cli, experiment, flags, request):
    ran = cli("bench", experiment("han_rn"), *flags, "--batch", "2", "--batch", "1", *SHORT, "--json")
    assert ran.status == 0
    printed = json.loads(ran.out)
    assert Bench.from_dict(printed, "printed", "").as_dict() == printed
    page = (request.config.rootpath / "docs" / "bench.md").read_text(encoding="utf-8")
    for cls in (Bench, Machine, Matrix, Model, Row):
        assert [name for name in names(cls) if f"`{name}`" not in page] == []
    assert printed["machine"]["precision"] in ("float32", "bfloat16")
    assert printed["machine"]["threads"] == 1
    assert [(model["name"], model["kept"]) for model in printed["models"]] == [
        ("own", 10),
        ("all-cells", 25),
    ]
    places = {(row["model"], row["questions"], row["part"], row["work"]) for row in printed["rows"]}
    works = {(part, work) for part in [*STAGES, "loss"] for work in ("forward", "backward")}
    works |= {("whole", "forward"), ("whole", "step")}
    assert places == {
        (model, questions, *work) for model in ("own", "all-cells") for questions in (1, 2) for work in works
    }
    assert len(printed["rows"]) == len(places)
    for row in printed["rows"]:
        assert 0 < row["lower"] <= row["milliseconds"] <= row["upper"]
        assert row["repeats"] == 3
        assert (row["multiply_adds"] is None) == (row["work"] != "forward" or row["part"] == "loss")


@pytest.mark.parametrize("selector", [*catalogue()["selector"]])
def test_every_selector_is_measured(cli, experiment, flags, selector):
    ran = cli(
        *("bench", experiment("han_rn"), *flags, f"selector={{ use = '{selector}' }}"),
        *("--batch", "3", *SHORT, "--json"),
    )
    assert ran.status == 0, ran.err
    printed = json.loads(ran.out)
    assert printed["models"][0]["selector"]["use"] == selector
    assert {model["name"] for model in printed["models"]} == (
        {"own"} if selector == "all-cells" else {"own", "all-cells"}
    )
    assert len(printed["notes"]) == (selector == "all-cells")


def test_multiply_adds_are_those_of_the_core(experiment, tiny, moved):
    result = bench(
        *(experiment("han_rn"), tiny),
        batch=[1],
        seconds=0,
        repeats=3,
        memory=False,
        all_cells=False,
        device="cpu",
        clock=lambda device: moved(1.0),
    )
    spec = hacore.load_spec(experiment("han_rn"), tiny)
    dataset = hacore.open_dataset(spec.data)
    counts = mean_multiply_adds(hacore.compose(spec, dataset.sizes()), dataset, "val", questions=8)
    assert {stage: result.row("own", 1, stage, "forward").multiply_adds for stage in STAGES} == counts
    assert counts["image_encoder"] > 0
    # Every piece of work takes a second of this clock, and so does the product.
    whole = result.row("own", 1, "whole", "forward")
    assert whole.milliseconds == 1000
    assert whole.questions_per_second == 1
    assert whole.multiply_adds == sum(counts.values())
    assert result.matrix.multiply_adds_per_second == result.matrix.side**3
    assert whole.matrix_share == pytest.approx(sum(counts.values()) / result.matrix.side**3)


def test_a_run_has_its_trained_weights_and_says_what_they_keep(cli, run):
    folder, result = run
    ran = cli("bench", folder.path, "data.images=40", "--batch", "20", *SHORT, "--json")
    assert ran.status == 0, ran.err
    printed = json.loads(ran.out)
    assert printed["step"] == result.checkpoint["step"]
    own, all_cells = printed["models"]
    assert own["kept"] < all_cells["kept"] == 25
    trained = hacore.load(folder, device="cpu")
    assert own["parameters"] == sum(parameter.numel() for parameter in trained.model.parameters())
    for precision in ("bfloat16", "float32"):
        changes = ("selector.threshold=1e9", f"train.precision={precision}")
        ran = cli("bench", folder.path, *changes, "--batch", "4", *SHORT)
        assert ran.status == 0, ran.err
        assert precision in ran.out


def test_compiled_models_follow_each_other(cli, experiment, flags, monkeypatch, names):
    made = []

    def compiled(part):
        made.append(part)
        return part

    monkeypatch.setattr(torch, "compile", compiled)
    words = ["train.compile=true", "--batch", "2", *SHORT, "--json"]
    ran = cli("bench", experiment("han_rn"), *flags, *words)
    printed = json.loads(ran.out)
    assert printed["machine"]["compile"] is True
    assert [model["name"] for model in printed["models"]] == ["own", "all-cells"]
    assert len(made) == 2 * (2 + 5)

    def fails(part):
        def run(*_):
            raise torch._dynamo.exc.TorchDynamoException("no\ncompiler")

        run.grid = part.grid if hasattr(part, "grid") else None
        return run

    monkeypatch.setattr(torch, "compile", fails)
    failed = cli("bench", experiment("han_rn"), *flags, *words)
    assert failed.status == 1
    names(json.loads(failed.out)["problems"][0]["message"], "train.compile", "no compiler")


def test_tables_show_both_models_and_their_ratio(capsys):
    def row(model, part, work, milliseconds, **more):
        return Row(
            model=model, questions=4, images=2, part=part, work=work, milliseconds=milliseconds, lower=1.0,
            upper=9.0, repeats=5, questions_per_second=4000 / milliseconds, **more,
        )  # fmt: skip

    def model(name):
        return Model(name=name, selector={"use": name}, kept=3.0, cells=9, parameters=7)

    rows = [
        row("own", "selector", "forward", 2.0, multiply_adds=1234, matrix_share=0.5),
        row("all-cells", "selector", "forward", 8.0, multiply_adds=99, matrix_share=0.1),
        row("own", "whole", "forward", 2.0, peak_bytes=2_000_000),
        row("all-cells", "whole", "forward", 30.0, peak_bytes=7_000_000),
    ]
    machine = Machine(
        device="cpu", device_name="a machine", platform="p", python="3", torch="2", hacore="0", threads=1,
        precision="float32", compile=False,
    )  # fmt: skip
    show(
        Bench(
            name="n", target="t.toml", spec_sha256="", step=None, dataset="d", fingerprint="f", split="val",
            machine=machine, matrix=Matrix(side=512, milliseconds=1.0, multiply_adds_per_second=1e9),
            models=[model("own"), model("all-cells")], rows=rows, notes=["a note"],
        )
    )  # fmt: skip
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["selector", "1,234", "50.0", "2.000", "8.000", "4.00", "-", "-", "-"] in lines
    assert ["forward,", "ms", "2.000", "30.000", "15.00"] in lines
    assert ["forward,", "questions", "a", "second", "2,000", "133"] in lines
    assert ["forward,", "peak", "MB", "2.0", "7.0", "3.50"] in lines
    assert ["a", "note"] in lines


def test_stored_features_have_no_image_encoder(cli, experiment, flags, tiny, tmp_path):
    weights, store = tmp_path / "resnet.pth", tmp_path / "store"
    torch.save(torchvision.models.resnet18(weights=None).state_dict(), weights)
    encoder = f"image_encoder={{ use = 'resnet', depth = 18, stage = 2, weights = '{weights}' }}"
    others = [word for word in tiny if not word.startswith("image_encoder")]
    make_features(hacore.load_spec(experiment("han_sum"), [*others, encoder]), store, device="cpu")
    words = [*others, encoder, f"features.root={store}"]
    ran = cli("bench", experiment("han_sum"), *words, "--batch", "2", *SHORT, "--json")
    assert ran.status == 0, ran.err
    printed = json.loads(ran.out)
    parts = {row["part"] for row in printed["rows"]}
    assert "fuser" in parts
    assert "image_encoder" not in parts
    ran = cli("bench", experiment("han_sum"), *words, "--batch", "2", *SHORT)
    assert "image_encoder" not in ran.out


def test_what_cannot_be_compared_is_said(cli, experiment, flags, uninstall, names):
    uninstall("hacore-all-cells")
    ran = cli("bench", experiment("han_rn"), *flags, "--batch", "2", *SHORT, "--json")
    assert ran.status == 0, ran.err
    printed = json.loads(ran.out)
    assert [model["name"] for model in printed["models"]] == ["own"]
    (note,) = printed["notes"]
    names(note, "all cells", "all-cells", "hacore-all-cells")
    ran = cli("bench", experiment("han_rn"), *flags, "--batch", "2", *SHORT, "--no-all-cells", "--json")
    assert json.loads(ran.out)["notes"] == []


def test_mistakes_are_one_line(cli, experiment, flags, run, tmp_path, names):
    names(cli("bench", tmp_path / "none.toml", *SHORT).error, "none.toml")
    names(cli("bench", tmp_path, *SHORT).error, str(tmp_path), "run folder")
    error = cli("bench", experiment("han_rn"), *flags, "--batch", "5000", *SHORT).error
    names(error, "--batch 5000", "val", "100")
    names(cli("bench", experiment("han_rn"), *flags, "selector.kk=5", *SHORT).error, "selector.kk", "k")
    names(cli("bench", run[0].path, "head.dropout=0.5", *SHORT).error, "head.dropout", "selector")
    names(cli("bench", run[0].path, "train.threads=0", *SHORT).error, "train.threads")
    assert cli("bench", experiment("han_rn"), "--batch", "0").status == 2

"""Commands work in, and on, folders whose names mean something to a URL, a shell, a pattern or a page."""

import json
import sqlite3
from pathlib import Path

import pytest

Image = pytest.importorskip("PIL.Image")

EVERYTHING = "a?b#c%20d [e]* ;f&g 'h' \"i\" größe 红 :x: $HOME {j} ^~\\k | <b>l"
NAMES = [
    "a?b",
    "a#b",
    "a%20b",
    "[ab]",
    "**",
    "a;b&c",
    'it\'s "a"',
    "größe 红",
    "-x",
    "a\\b",
    "$x",
    "[red]",
    "{a}",
    "<b>",
]
NAMES += ["a\nb", "%s%(x)s", ":x:", "~", "100%"]
slow = [pytest.param(name, marks=pytest.mark.slow) for name in NAMES]


@pytest.fixture(params=[EVERYTHING, *slow], ids=ascii)
def folder(request, tmp_path, monkeypatch):
    """The folder that commands run in."""
    path = tmp_path / request.param
    path.mkdir()
    monkeypatch.chdir(path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return path


@pytest.fixture
def spec(folder, request, tiny):
    """A spec there, of a second."""
    from hacore.spec import dump_spec, load_spec

    small = load_spec(request.config.rootpath / "experiments" / "han_rn.toml", tiny)
    Path("spec.toml").write_text(dump_spec(small), encoding="utf-8")
    Image.new("RGB", (75, 75), "red").save("scene.png")
    return Path("spec.toml")


@pytest.fixture
def works(cli):
    """works(ARGUMENTS...): what a command that succeeds prints."""

    def run(*arguments):
        ran = cli(*arguments)
        assert ran.status == 0, ran.err
        return ran.out

    return run


def path_of(folder):
    """A run folder as a user gives it who knows of options."""
    return f"./{folder}" if str(folder).startswith("-") else str(folder)


@pytest.mark.parametrize("absolute", [False, True], ids=["relative", "absolute"])
def test_a_run_and_what_one_does_with_it(folder, spec, works, absolute):
    place = folder if absolute else Path()
    loggers = ["--log", "tensorboard", "--log", "mlflow", "--log-with", "mlflow.pictures=1"]
    loggers += ["--log-with", f"mlflow.folder={json.dumps(str(place / 'ml'))}"]
    printed = json.loads(works("run", place / spec, "--runs", place / "runs", *loggers, "--json"))
    run = Path(printed["run"])
    assert run.resolve().parents[1] == folder / "runs"
    assert (run / "report" / "index.html").is_file()
    assert list((run / "tensorboard").iterdir())
    # MLflow's database and files are in the folder that was asked for, and not elsewhere.
    assert sqlite3.connect("ml/mlflow.db").execute("select count(*) from runs").fetchone() == (1,)
    assert len(list(Path("ml/artifacts").rglob("spec.toml"))) == 1
    assert sorted(path.name for path in folder.parent.iterdir()) == [folder.name]
    assert sorted(path.name for path in folder.iterdir()) == ["ml", "runs", "scene.png", "spec.toml"]

    assert Path(works("report", run).removeprefix("wrote ").rstrip("\n")).samefile(run / "report/index.html")
    works("eval", run, "selector.k=4")
    for form in ("text", "markdown", "csv", "latex"):
        works("table", place / "runs", "--choices", "--format", form)
    works("plot", run, "--choices", "--output", place / "plot.svg")
    works("compare", run, "--against", run)
    works("report", run, run, "--output", place / "both.html")
    picture = json.loads(works("ask", run, place / "scene.png", "red?", "--output", place, "--json"))
    assert Path(picture["replies"][0]["picture"]).is_file()
    works("export", run, "--format", "torch", "--output", place / "model.pt2")


def test_a_sweep_of_data_there(folder, spec, works):
    miniature = pytest.importorskip("hacore_vqa.miniature")
    miniature.write_v2(Path("data"))
    root = json.dumps(str(folder / "data"), ensure_ascii=False)
    data = f'{{ use = "vqa-v2", root = {root}, size = [32, 32] }}'
    works("data", "prepare", "vqa-v2", folder / "data", "--size", "32", "32")
    flags = ["--set", f"data={data}", "--set", "eval.final_split=val", "--set", "sweep.selector.k=[2]"]
    for output in ("-out", folder / "whole"):
        works(
            "sweep", spec, *flags, "--output", output, "--jobs", "1", "--device", "cpu", "--without", "report"
        )
        works("table", path_of(output))
        works("sweep", path_of(output))

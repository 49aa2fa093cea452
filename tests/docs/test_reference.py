"""What the documentation lists is current and complete: generated parts, tables by hand, the picture."""

import importlib.util
import inspect
import json
import os
import re
import subprocess
import sys
import tomllib
import typing
from pathlib import Path

import attrs
import pytest
from hacore_sweep import Status, SweepFolder

import hacore
from hacore import interfaces
from hacore.cli import cli
from hacore.data import Dataset
from hacore.plugin import KINDS, SECTIONS, Hooks
from hacore.registry import catalogue
from hacore.spec import load_spec, load_sweep

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


def program(path):
    """A Python file of the docs as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def finished(tiny, tmp_path_factory):
    """The folder of a run of the first experiment, small."""
    spec = load_spec(ROOT / "experiments" / "han_rn.toml", tiny)
    folder, _ = hacore.run(spec, runs=tmp_path_factory.mktemp("runs"), device="cpu")
    return folder


# Generated parts


def test_generated_parts_are_current(capsys):
    stale = program(DOCS / "generate.py").main(["--check"])
    assert not stale, capsys.readouterr().out


def test_a_changed_part_is_noticed_and_mended():
    generate = program(DOCS / "generate.py").generate
    text = (DOCS / "specs.md").read_text(encoding="utf-8")
    changed = text.replace("| `weight_decay` |", "| `decay` |")
    assert changed != text
    assert generate(changed) == text


@pytest.mark.parametrize("command", ["", *cli.list_commands(None)])
def test_help_is_documented_as_printed(command):
    ran = subprocess.run(
        [sys.executable, "-m", "hacore", *command.split(), "--help"],
        env={**os.environ, "COLUMNS": "80"},
        capture_output=True,
        text=True,
        check=True,
    )
    page = (DOCS / "cli.md").read_text(encoding="utf-8")
    _, heading, rest = page.partition(f"\n## `{f'hacore {command}'.strip()}`\n")
    assert heading
    assert f"```text\n{ran.stdout.rstrip()}\n```" in rest.split("\n## ")[0]


def test_every_published_component_is_documented():
    specs = (DOCS / "specs.md").read_text(encoding="utf-8")
    plugins = (DOCS / "plugins.md").read_text(encoding="utf-8")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for kind in SECTIONS.values():
        for name, distribution in catalogue()[kind].items():
            assert f"\n### `{name}`\n" in specs
            assert f"| `{name}` | `{distribution}` |" in plugins
            assert re.search(rf"\[[^\]]*`{name}`[^\]]*\]\(plugins/{distribution}\)", readme), name


# References by hand


def test_every_name_of_the_package_is_documented():
    page = (DOCS / "api.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(\w+)(?:\((.*?)\))?` \|", page, re.MULTILINE))
    assert set(rows) == set(dir(hacore)) - {"__version__"}
    for name, arguments in rows.items():
        if arguments:
            given = arguments.split(", ")
            assert list(inspect.signature(getattr(hacore, name)).parameters)[: len(given)] == given


def test_contracts_are_documented():
    page = (DOCS / "plugins.md").read_text(encoding="utf-8")
    for name, hook in vars(Hooks).items():
        if name.startswith("hacore_"):
            signature = ", ".join(list(inspect.signature(hook).parameters)[1:])
            assert f"`{name}({signature})`" in page
    for kind in KINDS:
        assert f"| `{kind}` | `{KINDS[kind].place}` |" in page
    for kind in SECTIONS.values():
        assert f"| `{kind}` | `{kind.title().replace('_', '')}` |" in page
    for container in (interfaces.Cells, interfaces.Question, interfaces.Selection):
        for field in attrs.fields(container):
            assert f"`{field.name}`" in page
    for name in Dataset.__abstractmethods__:
        signature = ", ".join(list(inspect.signature(getattr(Dataset, name)).parameters)[1:])
        assert f"`{name}({signature})`" in page
    for name in set(Dataset.__annotations__) - {"config"}:
        assert f"`{name}`" in page


def table(page, heading):
    """The cells of each row of the table under a heading, without its head."""
    _, start, rest = page.partition(f"\n## {heading}\n")
    assert start, heading
    rows = re.findall(r"^\| (.*) \|$", rest.split("\n## ")[0], re.MULTILINE)
    return [row.split(" | ") for row in rows[2:]]


def test_the_way_of_a_run_has_at_most_twelve_stops():
    stops = table((DOCS / "design.md").read_text(encoding="utf-8"), "From a spec to a result")
    assert [number for number, _, _ in stops] == [str(number + 1) for number in range(len(stops))]
    assert 0 < len(stops) <= 12
    for _, module, _ in stops:
        assert (ROOT / "hacore" / module.strip("`")).is_file(), module


def test_modules_that_the_design_names_exist():
    page = (DOCS / "design.md").read_text(encoding="utf-8")
    for module in re.findall(r"`((?:\w+/)*\w+\.py)`", page):
        assert (ROOT / "hacore" / module).is_file(), module


def rooms():
    """The doors and rooms of the core in the order of the design, the lowest first."""
    rows = table((DOCS / "design.md").read_text(encoding="utf-8"), "The core")
    return {name.strip("`"): kind for name, kind, _ in rows}


def test_every_door_and_room_of_the_core_is_documented():
    for path in (ROOT / "hacore").iterdir():
        if path.suffix == ".py" and not path.name.startswith("_"):
            assert rooms()[path.stem] == "door"
        elif (path / "__init__.py").is_file():
            assert rooms()[path.name] == "room"


def test_rooms_are_documented_in_the_order_that_lint_checks():
    linter = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    (layers,) = [contract["layers"] for contract in linter["contracts"] if contract["type"] == "layers"]
    level = {
        name: number for number, layer in enumerate(reversed(layers)) for name in re.findall(r"\w+", layer)
    }
    del level["__main__"]
    documented = [name for name in rooms() if name != "testing"]
    assert set(documented) == set(level)
    assert documented == sorted(documented, key=lambda name: level[name])


def documented(file):
    """The fields of a file of the run folder that the page lists."""
    page = (DOCS / "training.md").read_text(encoding="utf-8")
    _, heading, rest = page.partition(f"\n### `{file}`\n")
    assert heading, file
    rows = re.findall(r"^\| (`.*?) \|", re.split(r"\n###? ", rest)[0], re.MULTILINE)
    return {name for row in rows for name in re.findall(r"`(\w+)`", row)}


def test_files_of_the_sweep_folder_are_documented(tmp_path):
    sweep = load_sweep(ROOT / "experiments" / "tables" / "table1.toml")
    folder = SweepFolder(tmp_path)
    folder.write(sweep, folder.outcomes_of(sweep)[0])
    page = (DOCS / "sweeps.md").read_text(encoding="utf-8")
    for path in tmp_path.iterdir():
        assert f"| `{path.name}` |" in page
    index = folder.index()
    (row,) = re.findall(r"^\| `sweep.json` \| (.*?) \|", page, re.MULTILINE)
    assert {*index, *index["runs"][0]} == set(re.findall(r"`(\w+)`", row))
    (statuses,) = re.findall(r"^A status is (.*)\.$", page, re.MULTILINE)
    assert re.findall(r"`(\w+)`", statuses) == list(typing.get_args(Status))


def records(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_fields_of_the_run_folder_are_documented(finished):
    metrics = records(finished.metrics_file)
    assert {line["kind"] for line in metrics} == {"train", "eval"}
    assert {key for line in metrics for key in line} == documented("metrics.jsonl")
    asked = records(finished.predictions_file("test"))
    # Selectors without weights record none.
    assert {"weights", *(key for line in asked for key in line)} == documented("predictions/SPLIT.jsonl")
    assert set(json.loads(finished.environment_file.read_text())) == documented("environment.json")
    assert set(finished.result()) == documented("result.json")
    assert set(hacore.evaluate_run(finished, device="cpu")) == documented("predictions/SPLIT.json")


def test_files_of_the_run_folder_are_documented(finished):
    page = (DOCS / "training.md").read_text(encoding="utf-8")
    for path in finished.path.rglob("*"):
        if path.is_file():
            assert path.name.replace("test.json", "SPLIT.json") in page, path


# The picture


def test_a_picture_of_a_run(finished, tmp_path, capsys):
    image = pytest.importorskip("PIL.Image")
    picture = program(DOCS / "images" / "kept_cells.py")
    trained = hacore.load(finished, device="cpu")
    asked = trained.dataset.questions("test")
    rows = picture.choose(trained, asked, 12, seed=0)
    assert len(set(rows.tolist())) == 12
    assert sorted(asked.type[rows].tolist()) == sorted([*range(6)] * 2)
    picture.main([str(finished.path), "--output", str(tmp_path / "kept.png"), "--columns", "4"])
    with image.open(tmp_path / "kept.png") as sheet:
        assert sheet.width == 4 * (180 + picture.MARGIN) + picture.MARGIN
        assert sheet.height > 3 * 180
    assert "12 questions of han_rn" in capsys.readouterr().out

"""What the documentation says is true: generated parts are current, examples work, nothing is left out.

A comment before a block takes it out of these tests: ``<!-- test: skip, REASON -->``. docs/tutorial.md
has tests of its own.
"""

import importlib.util
import inspect
import itertools
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
import typing
from html.parser import HTMLParser
from pathlib import Path

import attrs
import pytest
import toml

import hacore
from hacore import interfaces
from hacore.cli import cli
from hacore.data import Dataset
from hacore.plugin import KINDS, SECTIONS, Component, Hooks
from hacore.registry import catalogue
from hacore.spec import load_spec, load_sweep, resolve, set_values
from hacore.sweeps import Status, SweepFolder

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
SPEC = ROOT / "experiments" / "han_rn.toml"
PAGES = [
    *sorted(page for page in DOCS.glob("*.md") if page.name != "tutorial.md"),
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
]
PLUGIN_PAGES = sorted(ROOT.glob("plugins/*/README.md"))
WITH_PYTHON = {
    "README.md",
    "docs/api.md",
    "docs/features.md",
    "docs/logging.md",
    "docs/plugins.md",
    "docs/sweeps.md",
}
# Settings of any experiment on Sort-of-CLEVR with which it takes a second.
SMALL = (
    *("data.images=40", "data.held_out=5", "data.validation=5", "train.steps=2", "train.batch_images=4"),
    *("train.log_steps=1", "train.threads=1", "eval.baseline_steps=2"),
)

_BLOCK = re.compile(
    r"(?:<!-- test: (?P<note>[^\n]*?) -->\n)?"
    r"^```(?P<language>\w+)(?: title=\"[^\"]+\")?\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


def blocks(page, language):
    """The texts of a page's blocks in a language, but those to skip."""
    for match in _BLOCK.finditer(page.read_text(encoding="utf-8")):
        if match["language"] == language and not (match["note"] or "").startswith("skip"):
            yield match["text"]


def label(page):
    return str(page.relative_to(ROOT))


def program(path):
    """A Python file of the docs as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    """A folder with small copies of the experiments under their names."""
    folder = tmp_path_factory.mktemp("work")
    (folder / "experiments").mkdir()
    table = tomllib.loads(SPEC.read_text(encoding="utf-8"))
    set_values(table, SMALL)
    (folder / "experiments" / SPEC.name).write_text(toml.dumps(table))
    return folder


@pytest.fixture(scope="module")
def finished(workplace):
    """The folder of a run of the first experiment, small."""
    folder, _ = hacore.run(
        load_spec(workplace / "experiments" / SPEC.name), runs=workplace / "made", device="cpu"
    )
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


# The site


class _Fetched(HTMLParser):
    """Addresses that a browser loads by itself."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        if tag in ("script", "img", "iframe"):
            self.found.append(values.get("src") or "")
        if tag == "link" and values.get("rel") in ("stylesheet", "preconnect", "preload", "icon"):
            self.found.append(values.get("href") or "")


def test_the_site_builds_and_needs_no_network(tmp_path):
    pytest.importorskip("material", reason="the site is built with mkdocs-material")
    ran = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    pages = list((tmp_path / "site").rglob("*.html"))
    assert len(pages) > len(list(DOCS.glob("*.md")))
    for page in pages:
        reader = _Fetched()
        reader.feed(page.read_text(encoding="utf-8"))
        assert reader.found
        foreign = [address for address in reader.found if "//" in address and not address.startswith("data:")]
        assert foreign == [], page.name
    assert not list((tmp_path / "site").rglob("*.py"))


@pytest.mark.parametrize("page", [*PAGES, *PLUGIN_PAGES], ids=label)
def test_links_lead_somewhere(page):
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        path = target.partition("#")[0]
        if path and not re.match(r"https?://", path):
            assert (page.parent / path).exists(), target


# Examples


@pytest.mark.parametrize("page", [*PAGES, *PLUGIN_PAGES], ids=label)
def test_specs_are_valid(page, tmp_path):
    for text in blocks(page, "toml"):
        table = tomllib.loads(text)
        base = "" if "name" in table else SPEC.read_text(encoding="utf-8")  # a part of a spec
        if "sweep" in table:
            (tmp_path / "spec.toml").write_text(f"{base}\n{text}")
            load_sweep(tmp_path / "spec.toml")
        else:
            resolve({**tomllib.loads(base), **table})


def test_every_component_shows_how_it_is_used():
    packages = {package for kind in SECTIONS.values() for package in catalogue()[kind].values()}
    for package in packages:
        assert list(blocks(ROOT / "plugins" / package / "README.md", "toml")), package


@pytest.mark.parametrize("page", sorted(WITH_PYTHON))
def test_python_runs(page, workplace, monkeypatch, capsys):
    if page == "docs/sweeps.md":
        pytest.importorskip("matplotlib")
        (text,) = [block for block in blocks(ROOT / page, "toml") if "name" in tomllib.loads(block)]
        table = tomllib.loads(text)
        set_values(table, SMALL)
        (workplace / "cells.toml").write_text(toml.dumps(table))
    if page == "docs/features.md":
        (text,) = [block for block in blocks(ROOT / page, "toml") if "name" in tomllib.loads(block)]
        table = tomllib.loads(text)
        set_values(table, (*SMALL, "image_encoder.weights=none"))  # nothing is fetched by a test
        (workplace / "frozen.toml").write_text(toml.dumps(table))
    monkeypatch.chdir(workplace)
    names = {"__name__": "example"}
    texts = list(blocks(ROOT / page, "python"))
    assert texts
    for text in texts:
        exec(compile(text, page, "exec"), names)
    if page == "docs/plugins.md":
        (component,) = names["hacore_declare"]()
        assert isinstance(component, Component)


def test_no_python_goes_untested():
    for page in PAGES:
        assert label(page) in WITH_PYTHON or not list(blocks(page, "python")), page


def command_lines():
    for page in PAGES:
        for text in (*blocks(page, "bash"), *blocks(page, "sh")):
            for line in text.splitlines():
                if line.strip():
                    yield pytest.param(line, id=f"{label(page)}: {line[:60]}")


@pytest.mark.parametrize("line", list(command_lines()))
def test_commands_exist_with_their_options(line):
    words = shlex.split(line, comments=True)
    words = words[: words.index(">")] if ">" in words else words
    if "-m" in words and words[words.index("-m") + 1] == "hacore":
        words = words[words.index("-m") + 1 :]
    if words[0] == "make":
        targets = re.findall(r"^(\w[\w-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
        assert {word for word in words[1:] if "=" not in word} <= set(targets)
    elif words[0] == "python":
        assert (ROOT / words[1]).is_file()
    elif words[0] == "hacore":
        command = cli.get_command(None, words[1])
        assert command is not None, words[1]
        given = command.make_context(words[1], words[2:]).params
        # A selector that the reader writes is not installed here; sweep folders and a page's own spec are
        # not there.
        absent = given.get("spec", "").startswith(("sweeps/", "frozen"))
        if given.get("spec") and "cosine-topk" not in line and not absent:
            load = load_sweep if words[1] == "sweep" else load_spec
            load(ROOT / given["spec"], given.get("overrides", ()))
    else:
        assert words[0] in ("pip", "pytest", ".venv/bin/pre-commit"), line


@pytest.mark.parametrize("page", [*PAGES, DOCS / "tutorial.md"], ids=label)
def test_packages_of_ours_are_never_installed_by_name(page):
    """No index has them, so pip would take whatever somebody registered under the name."""
    text = re.sub(r"<!-- generated: .*?<!-- end of generated -->", "", page.read_text(), flags=re.DOTALL)
    for command in re.findall(r"pip install ([^`\n]*)", text):
        words = shlex.split(command, comments=True)
        for before, word in itertools.pairwise(["", *words]):
            # A folder that is installed editable, such as the tutorial's, is not looked up.
            assert before == "-e" or not re.match(r"hacore\b", word), f"pip install {command}"


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
    folder.write(sweep, folder.found(sweep)[0])
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


def test_files_of_the_run_folder_are_documented(finished):
    page = (DOCS / "training.md").read_text(encoding="utf-8")
    for path in finished.path.rglob("*"):
        if path.is_file():
            assert path.name.replace("test.jsonl", "SPLIT.jsonl") in page, path


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

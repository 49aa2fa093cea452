"""The site builds, links lead somewhere, and the examples of the documentation work.

A comment before a block takes it out of these tests: ``<!-- test: skip, REASON -->``. docs/tutorial.md and
docs/own_data.md have tests of their own, and so has what the pages list: test_reference.py.
"""

import itertools
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from html.parser import HTMLParser
from pathlib import Path

import hacore_export
import hacore_features
import hacore_report
import hacore_sweep
import hacore_testing
import pytest
import toml

import hacore
from hacore.cli import cli
from hacore.plugin import SECTIONS, Component
from hacore.registry import catalogue
from hacore.spec import load_spec, load_sweep, resolve, set_values

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
    "docs/pruning.md",
    "docs/sweeps.md",
}
TESTED_APART = {"docs/own_data.md"}
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


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    """A folder with small copies of the experiments under their names."""
    folder = tmp_path_factory.mktemp("work")
    (folder / "experiments").mkdir()
    table = tomllib.loads(SPEC.read_text(encoding="utf-8"))
    set_values(table, SMALL)
    (folder / "experiments" / SPEC.name).write_text(toml.dumps(table))
    return folder


# The site


class _Fetched(HTMLParser):
    """Addresses that a browser loads by itself."""

    def __init__(self):
        super().__init__()
        self.addresses = []

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        if tag in ("script", "img", "iframe"):
            self.addresses.append(values.get("src") or "")
        if tag == "link" and values.get("rel") in ("stylesheet", "preconnect", "preload", "icon"):
            self.addresses.append(values.get("href") or "")


def test_the_site_builds_and_needs_no_network(tmp_path):
    pytest.importorskip("material", reason="the site is built with mkdocs-material")
    pytest.importorskip("mkdocstrings", reason="the reference is made by mkdocstrings")
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
        assert reader.addresses
        foreign = [
            address for address in reader.addresses if "//" in address and not address.startswith("data:")
        ]
        assert foreign == [], page.name
    assert not list((tmp_path / "site").rglob("*.py"))

    reference = (tmp_path / "site" / "reference" / "index.html").read_text(encoding="utf-8")
    headings = set(re.findall(r'<h\d id="([\w.]+)"', reference))
    modules = re.findall(
        r"`(hacore\.\w+)`", (DOCS / "contracts.md").read_text().partition("A plugin states")[0]
    )
    assert {*modules} - {"hacore.testing"} <= headings
    names = [f"hacore.{name}" for name in hacore.__all__ if name != "__version__"]
    for package in (hacore_export, hacore_features, hacore_report, hacore_sweep, hacore_testing):
        names += [f"{package.__name__}.{name}" for name in package.__all__]
    assert {*names} <= headings


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
        if "extends" in table:
            shutil.copytree(SPEC.parent, tmp_path, dirs_exist_ok=True)
            (tmp_path / "spec.toml").write_text(text)
            load_spec(tmp_path / "spec.toml")
        elif "sweep" in table:
            (tmp_path / "spec.toml").write_text(f"{base}\n{text}")
            load_sweep(tmp_path / "spec.toml")
        else:
            resolve({**tomllib.loads(base), **table})


def test_the_spec_in_the_readme_is_the_file_that_it_names():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (shown,) = re.finditer(r'```toml title="(experiments/[^"]+)"\n(.*?)```', text, re.DOTALL)
    lines = (ROOT / shown[1]).read_text(encoding="utf-8").splitlines(keepends=True)
    assert shown[2] == "".join(line for line in lines if not line.startswith("#"))
    assert tomllib.loads(shown[2])["name"] in shown[1]


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
    if page == "docs/pruning.md":
        pytest.importorskip("timm")
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
        assert label(page) in WITH_PYTHON | TESTED_APART or not list(blocks(page, "python")), page


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
        # A selector that the reader writes is not installed here; sweep folders, runs and a page's own spec
        # are not there.
        absent = given.get("resume") or (given.get("spec") or "").startswith(("sweeps/", "frozen", "mine"))
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

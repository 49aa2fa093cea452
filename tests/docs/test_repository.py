"""The files around the code: Makefile, CI, hooks."""

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def fresh(tmp_path):
    """What make looks at, as in a clone where nothing is installed."""
    for path in (ROOT / "Makefile", *ROOT.glob("pyproject.toml"), *ROOT.glob("plugins/*/pyproject.toml")):
        copy = tmp_path / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    return tmp_path


def planned(folder, *targets):
    """The commands that make would run."""
    if shutil.which("make") is None:
        pytest.skip("needs make")
    # As typed: what an outer make hands on (these tests run under one) would add lines of its own.
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))
    }
    ran = subprocess.run(
        ["make", "-n", *targets], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_make_installs_every_plugin_before_anything_else(fresh):
    plan = planned(fresh, "test")
    for project in fresh.glob("plugins/*/pyproject.toml"):
        assert f" -e {project.parent.relative_to(fresh)}" in plan
    steps = [
        "-m venv",
        "pip install",
        "-e '.[dev]'",
        "ruff check",
        "ruff format --check",
        "bin/mypy",
        "bin/pytest",
    ]
    places = [plan.index(step) for step in steps]
    assert places == sorted(places)


def test_make_installs_once_and_again_when_a_project_changes(fresh):
    installed = fresh / ".venv" / ".installed"
    installed.parent.mkdir()
    installed.touch()
    assert "pip" not in planned(fresh, "run")
    changed = next(iter(fresh.glob("plugins/*/pyproject.toml")))
    later = installed.stat().st_mtime + 10
    os.utime(changed, (later, later))
    assert "pip install" in planned(fresh, "run")


def test_make_run_installs_what_its_spec_needs_and_says_so_first(fresh):
    plan = planned(fresh, "run", "SPEC=mine.toml")
    steps = [
        "make: installing the core and what mine.toml needs",
        "-m venv",
        "-e .",
        "hacore needs mine.toml",
    ]
    steps += ["hacore-report hacore-serve hacore-zoo hacore-baselines", "hacore run mine.toml"]
    places = [plan.index(step) for step in steps]
    assert places == sorted(places)
    for other in ("hacore-ray", "hacore-lstm", "[dev]"):
        assert other not in plan
    assert "hacore-report" not in planned(fresh, "install", "SPEC=mine.toml")
    assert "[dev]" in planned(fresh, "install")


def test_make_test_completes_what_make_run_began(fresh):
    (fresh / ".venv").mkdir()
    for name in (".tools", ".core"):
        (fresh / ".venv" / name).touch()
    plan = planned(fresh, "run")
    assert "-m venv" not in plan
    assert "hacore needs" in plan
    plan = planned(fresh, "test")
    assert "-m venv" not in plan
    assert "-e '.[dev]'" in plan


def test_make_wheels_needs_no_torch(fresh):
    plan = planned(fresh, "wheels")
    assert "-e ." not in plan
    for project in fresh.glob("plugins/*/pyproject.toml"):
        assert f" ./{project.parent.relative_to(fresh)}" in plan


def test_ci_runs_make_test_and_fails_with_it(tmp_path):
    make = tmp_path / "make"
    make.write_text('#!/bin/sh\necho "$PWD $*"\nexit 3\n')
    make.chmod(0o755)
    ran = subprocess.run(
        [ROOT / ".ci" / "run"],
        cwd=tmp_path,
        env={**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
    )
    assert ran.stdout == f"{ROOT.resolve()} test\n"
    assert ran.returncode == 3


@pytest.mark.parametrize("status", [0, 100])
@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root installs packages")
def test_ci_installs_a_browser_where_it_can_and_goes_on_where_it_cannot(tmp_path, status):
    for name in ("bash", "dirname", "id", "timeout", "env"):
        (tmp_path / name).symlink_to(shutil.which(name))
    for name, line in (("make", "echo made"), ("apt-get", f'echo "apt-get $*" >&2; exit {status}')):
        (tmp_path / name).write_text(f"#!{shutil.which('bash')}\n{line}\n")
        (tmp_path / name).chmod(0o755)
    ran = subprocess.run(
        [ROOT / ".ci" / "run"], env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=True
    )
    assert ran.stdout == "made\n"
    assert "apt-get update" in ran.stderr
    assert ("apt-get install -qq --no-install-recommends chromium" in ran.stderr) == (status == 0)
    assert ("tests of the web page in a browser are skipped" in ran.stderr) == (status != 0)


def test_hooks_fetch_nothing():
    yaml = pytest.importorskip("yaml")
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    assert [repository["repo"] for repository in config["repos"]] == ["local"]
    for hook in config["repos"][0]["hooks"]:
        assert hook["language"] == "system"
        assert hook["entry"].startswith(".venv/bin/")


def test_extras_are_quoted_where_they_are_installed():
    """zsh takes brackets that are not quoted for a pattern, and finds no file."""
    texts = [path for pattern in ("*.md", "*.py", "*.tmpl", "*.ipynb") for path in ROOT.rglob(pattern)]
    texts = [path for path in texts if ".venv" not in path.parts and path.name != Path(__file__).name]
    assert len(texts) > 300
    bare = re.compile(r"pip install[^\n`]*\s[\w./-]+\[\w")
    assert [path for path in texts if bare.search(path.read_text(encoding="utf-8"))] == []


def test_the_citation_names_this_version_and_the_paper():
    yaml = pytest.importorskip("yaml")
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert {name: cited[name] for name in ("title", "version", "license", "abstract")} == {
        "title": project["name"],
        "version": project["version"],
        "license": project["license"],
        "abstract": f"{project['description']}.",
    }
    assert {"cff-version", "message", "authors"} <= set(cited)
    (paper,) = cited["references"]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert paper["title"] in readme
    assert all(author["family-names"] in readme for author in paper["authors"])
    assert paper["url"] in readme

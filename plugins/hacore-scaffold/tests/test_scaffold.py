"""What ``hacore new`` writes installs, passes its own tests and is clean."""

import ast
import os
import re
import subprocess
import sys
import tomllib

import pytest
from hacore_scaffold import package
from hacore_scaffold.package import new_plugin

from hacore.errors import HacoreError
from hacore.plugin import SECTIONS


def installed(folder):
    """Put an entry point beside the package, as an editable install does; sys.path finds both."""
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    info = folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    points = project["entry-points"]["hacore"]
    lines = ["[hacore]", *(f"{name} = {module}" for name, module in points.items())]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    return folder


def python(folders, *arguments):
    """Run Python in the first folder with all of them importable."""
    path = os.pathsep.join([*map(str, folders), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folders[0],
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )


def test_new_plugins_pass_their_tests(tmp_path):
    # All kinds in one process, because importing torch takes longer than the tests.
    folders = [
        installed(new_plugin(kind, f"new-{kind.replace('_', '-')}", tmp_path)) for kind in SECTIONS.values()
    ]
    assert folders[1] == tmp_path / "hacore-new-image-encoder"
    flags = ("-q", "-p", "no:cacheprovider", "-W", "error::DeprecationWarning")
    ran = python(folders, "-m", "pytest", *flags, *map(str, folders))
    assert ran.returncode == 0, ran.stdout + ran.stderr
    passed = int(re.search(r"(\d+) passed", ran.stdout).group(1))
    assert passed > 20 * len(SECTIONS), ran.stdout


@pytest.mark.parametrize("name", ["x", "spread-topk", "3d", "cells", "a-name-of-quite-some-length"])
def test_files_are_clean(name, tmp_path):
    module = name.replace("-", "_")
    for kind in SECTIONS.values():
        folder = new_plugin(kind, name, tmp_path / kind)
        texts = {
            str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()
        }
        assert texts.keys() == {
            "README.md",
            "pyproject.toml",
            f"hacore_{module}/__init__.py",
            f"hacore_{module}/{kind}.py",
            f"tests/test_{module}.py",
        }
        for path, text in texts.items():
            assert "$" not in text
            assert text.endswith("\n")
            if path.endswith(".py"):
                ast.parse(text)
        pytest.importorskip("ruff")
        for arguments in (["check"], ["format", "--check", "--diff"]):
            ran = python([folder], "-m", "ruff", *arguments, "--isolated", ".")
            assert ran.returncode == 0, ran.stdout + ran.stderr


def test_declaration_and_readme_agree(tmp_path):
    folder = installed(new_plugin("selector", "spread-topk", tmp_path))
    code = (
        "from hacore.registry import registry; it = registry().find('selector', 'spread-topk'); "
        "print(it.distribution, it.version, it.declared.target)"
    )
    ran = python([folder], "-c", code)
    assert ran.stdout == "hacore-spread-topk 0.1.0 hacore_spread_topk.selector:SpreadTopk\n"
    readme = (folder / "README.md").read_text()
    assert 'selector = { use = "spread-topk", k = 16 }' in readme


@pytest.mark.parametrize("kind", [*SECTIONS.values()])
def test_the_toml_of_the_readme_is_right(kind, tmp_path):
    folder = new_plugin(kind, "brand-new-thing", tmp_path)
    (text,) = re.findall(r"```toml\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
    ((section, table),) = tomllib.loads(text).items()
    assert section == ("data" if kind == "dataset" else kind)
    assert table.pop("use") == "brand-new-thing"
    code = (
        f"from hacore_brand_new_thing import Config; from hacore.spec import structure_config; "
        f"structure_config(Config, {table!r})"
    )
    ran = python([folder], "-c", code)
    assert ran.returncode == 0, ran.stderr


def test_an_existing_folder_is_left_alone(tmp_path):
    (tmp_path / "hacore-mine").mkdir()
    with pytest.raises(HacoreError, match="hacore-mine exists already; choose another name"):
        new_plugin("selector", "mine", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["hacore-mine"]
    assert not list((tmp_path / "hacore-mine").iterdir())


@pytest.mark.parametrize(
    ("kind", "name", "words"),
    [
        (
            "selectors",
            "mine",
            "unknown kind 'selectors'; did you mean 'selector'?; allowed: dataset, image_encoder",
        ),
        (
            "selector",
            "My_Selector",
            "must be lower-case words joined by '-', as in 'l2-topk'; try 'my-selector'",
        ),
        ("selector", "SpreadTopK", "try 'spread-top-k'"),
        ("selector", "../evil", "try 'evil'"),
        ("selector", "", "must be lower-case words"),
        ("selector", "hacore-mine", "must not begin with 'hacore-', which the package adds; try 'mine'"),
        ("selector", "l2-topk", "selector 'l2-topk' exists already, in hacore-l2-topk; choose another name"),
        ("selector", "fuse", "a package hacore-fuse exists already"),
    ],
)
def test_what_cannot_be_made(kind, name, words, tmp_path):
    with pytest.raises(HacoreError) as caught:
        new_plugin(kind, name, tmp_path)
    assert words in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_name_of_another_kind_is_free(tmp_path):
    assert new_plugin("aggregator", "l2-topk-sum", tmp_path).is_dir()


def test_output_is_made_when_missing(tmp_path):
    assert new_plugin("fuser", "mine", tmp_path / "a" / "b").parent == tmp_path / "a" / "b"


def test_output_that_is_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(HacoreError, match=r"cannot write .*hacore-mine"):
        new_plugin("fuser", "mine", tmp_path / "file")


def test_nothing_is_left_when_writing_fails(tmp_path, monkeypatch):
    right = package._render
    monkeypatch.setattr(
        package, "_render", lambda *given: {**right(*given), "README.md/no": "a file is in the way"}
    )
    with pytest.raises(HacoreError, match="cannot write"):
        new_plugin("fuser", "mine", tmp_path)
    assert not list(tmp_path.iterdir())


def test_importing_imports_no_torch():
    code = "import sys, hacore_scaffold.package; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)

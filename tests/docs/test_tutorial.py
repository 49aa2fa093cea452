"""Runs docs/tutorial.md from top to bottom, as a reader would.

A block with a title is written to that file; a ``bash`` block is run line by line. A comment before a
block tells the test what a reader does not do: ``<!-- test: skip, REASON -->``, or
``<!-- test: ARGUMENTS -->``, which are added to each command of the block, so that it is short.
"""

import os
import re
import shlex
import site
import subprocess
import sys
import venv
from pathlib import Path

import attrs
import pytest

pytest.importorskip("pip")
pytest.importorskip("editables", reason="an editable install needs hatchling and editables")
pytest.importorskip("hatchling")

TUTORIAL = Path(__file__).parents[2] / "docs" / "tutorial.md"
NEEDED = ("sort-of-clevr", "small-cnn", "lstm", "fuse", "l2-topk", "sum-pool")

_BLOCK = re.compile(
    r"(?:<!-- test: (?P<note>[^\n]*?) -->\n)?"
    r"^```(?P<language>\w+)(?: title=\"(?P<title>[^\"]+)\")?\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


@attrs.frozen
class Block:
    language: str
    title: str
    text: str
    note: str


def blocks():
    all_blocks = []
    for match in _BLOCK.finditer(TUTORIAL.read_text(encoding="utf-8")):
        parts = {name: part or "" for name, part in match.groupdict().items()}
        all_blocks.append(Block(**parts))
    return all_blocks


@pytest.fixture
def shell(tmp_path):
    """Runs a command in a folder and an environment that sees what is installed here, and adds to it."""
    venv_folder = tmp_path / "venv"
    venv.create(venv_folder, with_pip=False)
    (packages,) = (venv_folder / "lib").glob("python*/site-packages")
    # addsitedir also reads the .pth files of editable installs, which a path alone does not.
    parents = [path for path in (*site.getsitepackages(), *sys.path) if path.endswith("site-packages")]
    lines = [f"import site; site.addsitedir({path!r})" for path in dict.fromkeys(parents)]
    (packages / "parents.pth").write_text("\n".join(lines) + "\n")
    for module in ("hacore", "pip", "pytest"):
        script = venv_folder / "bin" / module
        script.write_text(f'#!/bin/sh\nexec "{venv_folder}/bin/python" -m {module} "$@"\n')
        script.chmod(0o755)
    work = tmp_path / "work"
    work.mkdir()
    environment = {
        **os.environ,
        "PATH": f"{venv_folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "HACORE_CACHE": str(tmp_path / "cache"),
        "OMP_NUM_THREADS": "1",
        # Offline, with the build backend that is installed.
        "PIP_NO_INDEX": "1",
        "PIP_NO_DEPS": "1",
        "PIP_NO_BUILD_ISOLATION": "0",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }
    environment.pop("PYTHONPATH", None)

    def run(command):
        ran = subprocess.run(
            shlex.split(command), cwd=work, env=environment, capture_output=True, text=True, timeout=300
        )
        assert ran.returncode == 0, f"$ {command}\n{ran.stdout}\n{ran.stderr}"
        return ran.stdout

    run.work = work
    return run


def test_the_tutorial_works(shell):
    installed = shell("hacore plugins")
    missing = [name for name in NEEDED if f"hacore-{name} " not in installed]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    printed = {}
    for block in blocks():
        if block.title:
            path = shell.work / block.title
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text)
        elif block.language == "bash" and not block.note.startswith("skip"):
            for command in block.text.strip().splitlines():
                assert command not in printed or command.startswith("pytest")
                printed[command] = shell(f"{command} {block.note}".strip())
    assert "cells to keep" in printed["hacore plugins selector cosine-topk"]
    assert "cosine-topk" in printed["hacore check cosine.toml"]
    lines = printed["python compare.py"].splitlines()
    assert [line.split()[0] for line in lines] == ["han", "cosine"]
    assert all(re.search(r"all \d+\.\d%", line) for line in lines)


def test_the_plugin_is_as_short_as_promised():
    files = {block.title: block.text for block in blocks() if "/hacore_cosine_topk/" in block.title}
    assert len(files) == 2
    lines = sum(len(text.splitlines()) for text in files.values())
    (promised,) = re.findall(r"at most (\d+) lines", TUTORIAL.read_text(encoding="utf-8"))
    assert lines <= int(promised), lines


def test_every_block_is_used():
    for block in blocks():
        assert block.title or block.language == "bash", f"nothing runs this block:\n{block.text}"
    fences = TUTORIAL.read_text(encoding="utf-8").count("\n```")
    assert fences == 2 * len(blocks())


def test_code_is_clean(tmp_path):
    pytest.importorskip("ruff")
    for block in blocks():
        if block.language == "python":
            path = tmp_path / block.title
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text)
    for arguments in (["check"], ["format", "--check", "--diff"]):
        for folder in (tmp_path / "hacore-cosine-topk", tmp_path):
            # Each package by itself, as its author sees it.
            flags = ["--isolated", "--exclude", "hacore-*"] if folder == tmp_path else ["--isolated"]
            command = [sys.executable, "-m", "ruff", *arguments, *flags, "."]
            ran = subprocess.run(command, cwd=folder, capture_output=True, text=True)
            assert ran.returncode == 0, ran.stdout + ran.stderr

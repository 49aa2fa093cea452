"""The miniature of VQA v2 and VQA-CP v2, and the command line."""

import json

import pytest
from hacore_vqa.miniature import write_cp, write_v2

from hacore.cli import main


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """No test reads or writes the user's cache."""
    monkeypatch.setenv("HACORE_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="session")
def make_v2():
    """Writes VQA v2 into a folder."""
    return write_v2


@pytest.fixture(scope="session")
def make_cp():
    """Writes VQA-CP v2 into a folder, made of a folder of VQA v2."""
    return write_cp


@pytest.fixture
def v2(tmp_path):
    """12 training, 8 validation and 4 test images, three questions about each."""
    return write_v2(tmp_path / "vqa2")


@pytest.fixture
def cp(v2, tmp_path):
    """The questions of ``v2`` split again; the images stay where they are."""
    return write_cp(v2, tmp_path / "vqacp")


@pytest.fixture
def hacore(capsys):
    """Runs a command line; gives (exit status, standard output, lines of standard error)."""

    def run(*words):
        try:
            main([str(word) for word in words])
            status = 0
        except SystemExit as left:
            status = left.code or 0
        captured = capsys.readouterr()
        return status, captured.out, captured.err.splitlines()

    return run


@pytest.fixture
def change():
    """Changes the content of a JSON file in place."""

    def apply(path, how):
        content = json.loads(path.read_text())
        changed = how(content)
        path.write_text(json.dumps(content if changed is None else changed))

    return apply

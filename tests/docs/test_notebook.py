"""The notebook runs, and what is committed of it is what it shows."""

import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import hacore
from hacore.spec import load_spec

nbformat = pytest.importorskip("nbformat")
pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")
pytest.importorskip("matplotlib")

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "docs" / "notebook.ipynb"


@pytest.fixture(scope="module")
def program():
    spec = importlib.util.spec_from_file_location("notebook", ROOT / "docs" / "notebook.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def notebook():
    return nbformat.read(NOTEBOOK, 4)


def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def shown(notebook):
    """All text that the cells printed."""
    outputs = [output for cell in code(notebook) for output in cell.outputs]
    return "".join(output.get("text", "") for output in outputs)


def test_it_runs_on_the_runs_that_are_named(notebook, program, tiny, tmp_path):
    folders = []
    for selector in ('{use="l2-topk", k=7}', '{use="adahan"}'):
        spec = load_spec(ROOT / "experiments" / "han_rn.toml", [*tiny, f"selector={selector}"])
        folder, _ = hacore.run(spec, runs=tmp_path / "runs", device="cpu", report=False)
        folders.append(str(folder.path))
    program.execute(notebook, folders, str(tmp_path))
    assert all(cell.execution_count for cell in code(notebook))
    assert not [output for cell in code(notebook) for output in cell.outputs if output.output_type == "error"]
    text = shown(notebook)
    assert "han_rn: l2-topk, k = 7, rn" in text
    assert "unknown: there, a, zebra, behind, thing" in text
    assert re.search(r"^adahan +- ", text, re.MULTILINE)
    pictures = [
        output for cell in code(notebook) for output in cell.outputs if "image/png" in output.get("data", {})
    ]
    assert len(pictures) == 4


@pytest.mark.slow
def test_it_trains_models_of_its_own(notebook, program, tmp_path):
    program.execute(notebook, [], str(tmp_path))
    assert "notebook-l2-topk: l2-topk, k = 8, sum-pool" in shown(notebook)
    assert len(list((tmp_path / "runs").iterdir())) == 3


def test_what_is_committed_is_of_its_code(notebook, program):
    assert notebook.metadata["executed"] == program.digest(notebook), "run docs/notebook.py"
    assert [cell.execution_count for cell in code(notebook)] == list(range(1, len(code(notebook)) + 1))
    assert not [output for cell in code(notebook) for output in cell.outputs if output.output_type == "error"]
    assert NOTEBOOK.stat().st_size < 400_000


def test_it_names_no_place_on_a_machine(notebook):
    texts = [cell.source for cell in notebook.cells] + [shown(notebook)]
    texts += [
        str(output["data"].get(kind, ""))
        for cell in code(notebook)
        for output in cell.outputs
        if "data" in output
        for kind in ("text/plain", "text/html")
    ]
    for text in texts:
        text = re.sub(r"data:image/[^\"]*", "", text)
        assert not re.search(r"(?<![\w./])/\w+/|[A-Z]:\\|~/", text), text
    assert not [
        output for cell in code(notebook) for output in cell.outputs if output.get("name") == "stderr"
    ]


def test_its_code_is_clean():
    if not (ruff := shutil.which("ruff", path=str(Path(sys.executable).parent)) or shutil.which("ruff")):
        pytest.skip("needs ruff")
    for arguments in (["check"], ["format", "--check"]):
        ran = subprocess.run([ruff, *arguments, str(NOTEBOOK)], cwd=ROOT, capture_output=True, text=True)
        assert ran.returncode == 0, ran.stdout

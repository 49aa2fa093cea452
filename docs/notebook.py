"""Execute docs/notebook.ipynb again and keep its outputs.

    python docs/notebook.py [RUN...]

The first run is asked, all are compared; without a run the notebook trains its own. It keeps a digest of the
code that made its outputs, so that a test notices code that was changed and not executed.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).with_name("notebook.ipynb")


def digest(notebook: nbformat.NotebookNode) -> str:
    """A digest of the code, as a change of it makes the outputs stale."""
    code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    return hashlib.sha256("\0".join(code).encode()).hexdigest()


def execute(notebook: nbformat.NotebookNode, runs: list[str], folder: str) -> None:
    """Run all cells in a folder; raises nbclient's CellExecutionError when one fails."""
    previous = os.environ.get("HACORE_RUN")
    os.environ["HACORE_RUN"] = os.pathsep.join(runs)
    try:
        client = NotebookClient(
            notebook, timeout=600, record_timing=False, resources={"metadata": {"path": folder}}
        )
        client.execute()
    finally:
        os.environ.pop("HACORE_RUN")
        if previous is not None:
            os.environ["HACORE_RUN"] = previous
    notebook.metadata["language_info"] = {"name": "python"}  # and not the version that happened to run
    notebook.metadata["executed"] = digest(notebook)


if __name__ == "__main__":
    notebook = nbformat.read(NOTEBOOK, 4)
    with tempfile.TemporaryDirectory() as empty:
        execute(notebook, [str(Path(run).resolve()) for run in sys.argv[1:]], empty)
    nbformat.write(notebook, NOTEBOOK)

"""Runs the observer of docs/plugins.md, as an installed plugin."""

import csv
import importlib
import json
import re
import sys
from pathlib import Path

import pytest

import hacore
from hacore.spec import load_spec

ROOT = Path(__file__).parents[2]
_BLOCK = re.compile(r'^```python title="(hacore_csv/\w+\.py)"\n(.*?)^```$', re.MULTILINE | re.DOTALL)


@pytest.fixture
def example(tmp_path, monkeypatch, fresh_registry):
    """Installs what stands in the page."""
    files = _BLOCK.findall((ROOT / "docs" / "plugins.md").read_text(encoding="utf-8"))
    assert [name for name, _ in files] == ["hacore_csv/__init__.py", "hacore_csv/observer.py"]
    info = tmp_path / "site" / "hacore_csv-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: hacore-csv\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[hacore]\ncsv = hacore_csv\n")
    for name, text in files:
        path = tmp_path / "site" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    monkeypatch.syspath_prepend(tmp_path / "site")
    importlib.invalidate_caches()
    fresh_registry.cache_clear()
    yield
    for name in ("hacore_csv", "hacore_csv.observer"):
        sys.modules.pop(name, None)


def test_the_example_logs_every_evaluation_once(example, tiny, tmp_path, cli):
    spec = load_spec(
        ROOT / "experiments" / "han_rn.toml", [*tiny, "eval.every_epochs=0.1", "train.log_steps=1"]
    )
    folder, _ = hacore.run(spec, runs=tmp_path, device="cpu", report=False, log=["csv"])
    evaluated = [json.loads(line) for line in folder.metrics_file.read_text().splitlines()]
    expected = [
        [str(line["step"]), line["split"], str(line["accuracy"]), "10.0"]
        for line in evaluated
        if "split" in line
    ]
    assert len(expected) == 3

    def rows():
        with (folder.path / "evaluations.csv").open(newline="") as file:
            return list(csv.reader(file))

    assert rows() == expected
    # As after a kill before the result was written: the last checkpoint is at the end.
    folder.result_file.unlink()
    hacore.run(spec, resume=folder, device="cpu", report=False, log={"csv": {}})
    assert rows() == expected
    assert "the evaluations as CSV" in cli("plugins", "observer").out

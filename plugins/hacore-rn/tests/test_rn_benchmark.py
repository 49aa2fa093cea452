import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).resolve().parents[3] / "benchmarks" / "rn.py"


@pytest.mark.skipif(not PROGRAM.exists(), reason="the benchmarks are not beside the plugins")
def test_the_benchmark_compares_both_and_writes_what_it_found(tmp_path: Path) -> None:
    output = tmp_path / "rn.json"
    done = subprocess.run(
        [sys.executable, PROGRAM, "--quick", "--output", output], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "largest deviation" in done.stdout
    report = json.loads(output.read_text())
    assert {row["implementation"] for row in report["rows"]} == {"plain", "hacore"}
    assert {row["kept"] for row in report["rows"]} == {4, 9}
    assert all(row["median"] > 0 for row in report["rows"])
    assert any(ratio.get("memory_equal_cells", 0) > 0 for ratio in report["ratios"])
    assert all(ratio["time_equal_cells_median"] > 0 for ratio in report["ratios"])
    assert report["torch"]
    assert report["threads"] == [1]

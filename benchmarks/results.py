"""Markdown rows for docs/results.md from finished run folders.

    python benchmarks/results.py runs/*/*

One row a spec: means over its runs (seeds) on the final split, in percent, with the spread between
the lowest and the highest where there are several; training time in seconds.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def cell(values: Sequence[float], digits: int = 1) -> str:
    """``95.2`` for one value, ``95.2 (94.8 to 95.6)`` for several."""
    mean = f"{sum(values) / len(values):.{digits}f}"
    if len(values) == 1:
        return mean
    return f"{mean} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def rows(results: Sequence[dict[str, Any]]) -> list[str]:
    """A Markdown table, one row per spec name in the order of first appearance."""
    by_name: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for result in results:
        by_name[result["name"]].append(result)
    groups = list(results[0]["by_group"])
    types = list(results[0]["by_type"])
    head = [
        "spec",
        "seeds",
        *groups,
        *types,
        "cells kept %",
        "best step",
        "training s",
        "processes",
        "precision",
    ]
    lines = ["| " + " | ".join(head) + " |", "| --- " * len(head) + "|"]
    for name, runs in by_name.items():
        cells = [name, ", ".join(str(seed) for seed in sorted(run["seed"] for run in runs))]
        for key, names in (("by_group", groups), ("by_type", types)):
            cells += [cell([100 * run[key][part]["accuracy"] for run in runs]) for part in names]
        cells.append(cell([100 * run["kept"] for run in runs]))
        cells.append(cell([run["checkpoint"]["step"] for run in runs], 0))
        cells.append(cell([run["training"]["seconds"] for run in runs], 0))
        cells.append(", ".join(sorted({str(run["training"]["processes"]) for run in runs})))
        # Records of earlier versions have none.
        cells.append(", ".join(sorted({run["training"].get("precision", "-") for run in runs})))
        lines.append("| " + " | ".join(cells) + " |")
    first = results[0]
    for baseline, scores in first["baselines"].items():
        parts = [100 * scores["by_group"][g] for g in groups] + [100 * scores["by_type"][t] for t in types]
        lines.append(
            "| "
            + " | ".join([baseline.replace("_", " "), "", *(f"{part:.1f}" for part in parts)])
            + " | | | | | |"
        )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "runs", nargs="+", type=Path, help="run folders; those without result.json are left out"
    )
    files = [run / "result.json" for run in parser.parse_args().runs]
    print("\n".join(rows([json.loads(file.read_text()) for file in files if file.is_file()])))


if __name__ == "__main__":
    main()

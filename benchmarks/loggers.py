"""What a run costs with a logger, against the same run without.

    python benchmarks/loggers.py                                   # TensorBoard, experiments/han_rn_base.toml
    python benchmarks/loggers.py --log tensorboard --epochs 1 --repeats 5
    python benchmarks/loggers.py --epochs 0.02 --repeats 1         # does the program work?

Both train from the same seed for ``--epochs``, evaluate once and measure the test split; they take turns,
and their metrics are compared. Times are the CPU's, of all threads of this process, so that other work on
the machine tells less; the report is left out. Ratios, of one run, are what to compare.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console

import hacore
from hacore.machine.device import device_name

SPEC = Path(__file__).parents[1] / "experiments" / "han_rn_base.toml"


def seconds(spec: hacore.Spec, runs: Path, log: list[str]) -> tuple[float, list[dict[str, Any]], int]:
    """CPU time of a run, its metrics without their times, and the bytes of its folder."""
    before = time.process_time()
    folder, _ = hacore.run(spec, runs=runs, device="cpu", report=False, log=log)
    spent = time.process_time() - before
    lines = [json.loads(line) for line in folder.metrics_file.read_text().splitlines()]
    size = sum(path.stat().st_size for path in folder.path.rglob("*") if path.is_file())
    return spent, [{key: value for key, value in line.items() if key != "seconds"} for line in lines], size


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--log", default="tensorboard", help="logger (default: %(default)s)")
    parser.add_argument("--epochs", type=float, default=0.25, help="of a run (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each (default: %(default)s)")
    chosen = parser.parse_args(sys.argv[1:] if arguments is None else arguments)
    import torch

    overrides = [
        f"train.epochs={chosen.epochs}",
        f"eval.every_epochs={chosen.epochs}",
        "eval.baseline_steps=0",
    ]
    spec = hacore.load_spec(SPEC, overrides)
    console = Console(highlight=False, soft_wrap=True)
    print(f"{device_name(torch.device('cpu'))}, torch {torch.__version__}, {os.cpu_count()} cores in all")
    spent: dict[bool, list[float]] = {False: [], True: []}
    sizes: dict[bool, int] = {}
    with tempfile.TemporaryDirectory() as folder:
        # The first run of a process is slower than those after it.
        seconds(hacore.load_spec(SPEC, [*overrides, "train.steps=5"]), Path(folder), [chosen.log])
        for turn in range(chosen.repeats):
            metrics = []
            for logged in (False, True) if turn % 2 == 0 else (True, False):
                cost, lines, sizes[logged] = seconds(spec, Path(folder), [chosen.log] if logged else [])
                spent[logged].append(cost)
                metrics.append(lines)
            if metrics[0] != metrics[1]:
                raise SystemExit("the metrics differ")
    plain, logged = (statistics.median(spent[with_log]) for with_log in (False, True))
    steps = metrics[0][-1]["step"]
    console.print(
        f"{steps} steps and an evaluation: {plain:.2f} s of CPU without, {logged:.2f} s with {chosen.log}"
    )
    console.print(
        f"without: {', '.join(f'{cost:.2f}' for cost in spent[False])} s; "
        f"with: {', '.join(f'{cost:.2f}' for cost in spent[True])} s"
    )
    console.print(f"ratio {logged / plain:.3f}; {(sizes[True] - sizes[False]) / 1024:.0f} KiB on the disk")
    return 0


if __name__ == "__main__":
    sys.exit(main())

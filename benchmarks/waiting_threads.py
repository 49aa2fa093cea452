"""What threads that spin while they wait cost, alone and beside another program that wants the cores.

    python benchmarks/waiting_threads.py                                    # some minutes
    python benchmarks/waiting_threads.py --repeats 5 --json spinning.json
    python benchmarks/waiting_threads.py --steps 2 --images 3 --repeats 1   # does the program work?

Two commands, each in a process of its own: ``hacore run`` of experiments/han_rn_base.toml on little data; it
trains ``--steps`` steps, and ``hacore data generate clevr --workers 1``, which draws ``--images`` pictures
of 320x480. Their threads spin, as libgomp has it by default (GOMP_SPINCOUNT=300000), or look briefly and
sleep, as hacore's command line has it (1000), or sleep at once (OMP_WAIT_POLICY=PASSIVE), or there is only
one (OMP_NUM_THREADS=1). The cases of a command take turns. "Busy" is a process that counts, for each that is
asked for. Compare ratios, of one run of this program; where the machine does other work, alone is not alone.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from hacore.cli.tables import print_table
from hacore.machine.device import device_name
from hacore.machine.threads import WAITING

SPEC = Path(__file__).parents[1] / "experiments" / "han_rn_base.toml"
LITTLE = (
    "data.images=60",
    "data.held_out=5",
    "data.validation=5",
    "eval.baseline_steps=0",
    "train.threads=none",
)
THREADS = {
    "spin": {"GOMP_SPINCOUNT": "300000"},
    "as hacore": {},
    "sleep at once": {"OMP_WAIT_POLICY": "PASSIVE"},
    "one thread": {"OMP_NUM_THREADS": "1"},
}
COUNTING = "while True: pass"


def hacore(folder: Path, variables: dict[str, str], *words: str) -> Any:
    """The JSON that the command prints; of variables that concern threads it gets these alone."""
    dropped = {*WAITING, "OMP_NUM_THREADS", "MKL_NUM_THREADS"}
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    cache = {"HACORE_CACHE": str(folder / "cache")}
    ran = subprocess.run(
        [sys.executable, "-m", "hacore", *words],
        cwd=folder,
        env={**kept, **cache, **variables},
        capture_output=True,
        text=True,
    )
    if ran.returncode:
        raise SystemExit(ran.stderr)
    return json.loads(ran.stdout)


def trained(folder: Path, variables: dict[str, str], steps: int) -> float:
    """Questions a second of a short training."""
    overrides = [word for override in (*LITTLE, f"train.steps={steps}") for word in ("--set", override)]
    words = ("run", str(SPEC), *overrides, "--device", "cpu", "--no-report", "--json")
    result = hacore(folder, variables, *words)
    return float(result["training"]["questions_per_second"])


def drawn(folder: Path, variables: dict[str, str], images: int) -> float:
    """Pictures a second, with their questions."""
    with tempfile.TemporaryDirectory(dir=folder) as output:
        words = ("--images", str(images), "--workers", "1", "--output", f"{output}/clevr", "--json")
        made = hacore(folder, variables, "data", "generate", "clevr", "--device", "cpu", *words)
    return float(images / made["summary"]["seconds"])


@contextmanager
def busy(processes: int) -> Iterator[None]:
    """So many processes count meanwhile."""
    counting = [subprocess.Popen([sys.executable, "-c", COUNTING]) for _ in range(processes)]
    try:
        yield
    finally:
        for process in counting:
            process.kill()
            process.wait()


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=20, help="of a training (default: %(default)s)")
    parser.add_argument("--images", type=int, default=20, help="that are drawn (default: %(default)s)")
    parser.add_argument("--busy", type=int, default=1, help="processes that count (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=3, help="of every case (default: %(default)s)")
    parser.add_argument("--json", type=Path, help="write every measurement to this file")
    chosen = parser.parse_args(sys.argv[1:] if arguments is None else arguments)
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    commands = {"questions/s": (trained, chosen.steps), "pictures/s": (drawn, chosen.images)}
    cases = list(product(commands, THREADS, (0, chosen.busy)))
    measured: dict[tuple[str, str, int], list[float]] = {case: [] for case in cases}
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        trained(folder, {}, 1)  # makes the data
        for turn in range(chosen.repeats):
            for case in cases if turn % 2 == 0 else reversed(cases):
                command, amount = commands[case[0]]
                with busy(case[2]):
                    measured[case].append(command(folder, THREADS[case[1]], amount))
                console.print(f"{case}: {measured[case][-1]:.4g}")
    device = f"{device_name(torch.device('cpu'))}, torch {torch.__version__}, load {load:.1f} before"
    rows = []
    for unit, beside in product(commands, (0, chosen.busy)):
        medians = {threads: statistics.median(measured[unit, threads, beside]) for threads in THREADS}
        ratio = medians["as hacore"] / medians["spin"]
        rows.append(
            [unit, f"{beside} busy", *(f"{median:.3g}" for median in medians.values()), f"{ratio:.2f}"]
        )
    print_table(device, ["", "beside", *THREADS, "as hacore / spin"], rows)
    if chosen.json:
        entries = [
            {"unit": unit, "threads": threads, "busy": beside, "measured": values}
            for (unit, threads, beside), values in measured.items()
        ]
        record = {"device": device, "command": f"python benchmarks/{Path(__file__).name}", "cases": entries}
        chosen.json.write_text(json.dumps(record, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

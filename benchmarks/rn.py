"""What hacore's Relation Network saves: time and peak memory against the plain one.

    python benchmarks/rn.py                  # CPU, 1 to all threads; minutes
    python benchmarks/rn.py --device cuda
    python benchmarks/rn.py --quick          # tiny sizes: does the program work?

The plain one is the paper's formula as it is usually written: expand both cells of every pair and the
question, concatenate, run the layers over all pairs, sum. Same weights, same inputs; before anything is
timed, results and gradients are compared (``compare``). Only the aggregator is measured, on cells
already selected.

Time: the alternatives take turns, so that what else the machine does falls on all of them; median and
minimum of the repeats; compare within one run only. Peak memory on a CPU: in a new process for each
case, after a small warm-up, the most resident memory during one step (the kernel's high-water mark)
less what was resident before it, threads' working memory included. On CUDA: the allocator's peak less
what was allocated before the step.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import attrs
import torch
from hacore_rn import Config
from hacore_rn.rn import RN
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn import functional as F

from hacore.interfaces import Question, Selection, Sizes, grid_positions

HERE = Path(__file__).resolve().parent
MODES = ("forward", "training")


@attrs.frozen(kw_only=True)
class Setting:
    """A model and a batch. The plain one must fit: its training holds about 6 KB a pair at width 256."""

    name: str
    width: int
    layers: int
    cell_channels: int
    question_channels: int
    questions: int
    side: int
    kept: int

    @property
    def cells(self) -> int:
        return self.side**2


def settings(quick: bool) -> list[Setting]:
    if quick:
        return [
            Setting(
                name="tiny",
                width=8,
                layers=3,
                cell_channels=4,
                question_channels=4,
                questions=3,
                side=3,
                kept=4,
            )
        ]
    paper = {"name": "RN paper", "width": 256, "layers": 4, "cell_channels": 24, "question_channels": 128}
    small = {"name": "small", "width": 64, "layers": 3, "cell_channels": 64, "question_channels": 64}
    return [
        Setting(**paper, questions=32, side=8, kept=16),
        Setting(**paper, questions=8, side=14, kept=16),
        Setting(**small, questions=64, side=8, kept=16),
        Setting(**small, questions=16, side=14, kept=16),
    ]


@attrs.frozen(kw_only=True)
class Case:
    """One module with its inputs."""

    module: RN
    selection: Selection
    question_QC: Tensor

    @classmethod
    def make(cls, setting: Setting, kept: int, device: str, dtype: torch.dtype = torch.float32) -> Case:
        generator = torch.Generator().manual_seed(0)
        torch.manual_seed(0)
        sizes = Sizes(
            image=(3, 8, 8), words=0, answers=0, grid=(setting.side, setting.side),
            cell_channels=setting.cell_channels, question_channels=setting.question_channels,
        )  # fmt: skip
        index_QK = torch.stack(
            [torch.randperm(setting.cells, generator=generator)[:kept] for _ in range(setting.questions)]
        )
        features_QKC = torch.randn(setting.questions, kept, setting.cell_channels, generator=generator)
        question_QC = torch.randn(setting.questions, setting.question_channels, generator=generator)
        return cls(
            module=RN(Config(width=setting.width, layers=setting.layers), sizes).to(device, dtype),
            selection=Selection(
                features_QKC=features_QKC.to(device, dtype).requires_grad_(),
                index_QK=index_QK.to(device),
                presence_QN=torch.zeros(setting.questions, setting.cells, device=device),
                positions_N2=grid_positions(sizes.grid).to(device, dtype),
                grid=sizes.grid,
            ),
            question_QC=question_QC.to(device, dtype).requires_grad_(),
        )

    def step(self, implementation: str, mode: str) -> list[Tensor]:
        """The result, in training also the gradients of the parameters and both inputs."""
        forward = IMPLEMENTATIONS[implementation]
        if mode == "forward":
            with torch.no_grad():
                return [forward(self.module, self.selection, self.question_QC)]
        out_QW = forward(self.module, self.selection, self.question_QC)
        inputs = [*self.module.parameters(), self.selection.features_QKC, self.question_QC]
        return [out_QW.detach(), *torch.autograd.grad(out_QW.square().mean(), inputs)]


def plain(module: RN, selection: Selection, question_QC: Tensor) -> Tensor:
    """Santoro et al. 2017, equation 1, by concatenation."""
    o_QKC = torch.cat([selection.features_QKC, selection.kept_positions_QK2], dim=2)
    questions, k, channels = o_QKC.shape
    pairs = torch.cat(
        [
            o_QKC.unsqueeze(2).expand(questions, k, k, channels),
            o_QKC.unsqueeze(1).expand(questions, k, k, channels),
            question_QC.view(questions, 1, 1, -1).expand(questions, k, k, question_QC.shape[1]),
        ],
        dim=3,
    )
    h = pairs.view(questions * k * k, -1)
    for layer in (module.first, *module.rest):
        h = F.relu(layer(h))
    return h.view(questions, k * k, -1).sum(1)


def hacore(module: RN, selection: Selection, question_QC: Tensor) -> Tensor:
    return module(selection, Question(question_QC))


IMPLEMENTATIONS: dict[str, Callable[[RN, Selection, Tensor], Tensor]] = {"plain": plain, "hacore": hacore}


def deviation(case: Case, mode: str) -> float:
    """Largest difference of the results, in training also of the gradients, as a share of the largest
    number of each tensor."""
    pairs = zip(case.step("plain", mode), case.step("hacore", mode), strict=True)
    return max(float((x - y).abs().max() / x.abs().max()) for x, y in pairs)


def compare(setting: Setting, case: Case, kept: int, device: str, console: Console) -> None:
    """Both must agree: results in float32, and with gradients in float64 for two of the questions.

    In float32 the sign of a number near zero that enters a ReLU depends on the order of a sum, which
    shows in the gradient of a single cell; the plain one is then as far from float64 as ours.
    """
    few = Case.make(attrs.evolve(setting, questions=2), kept, device, torch.float64)
    deviations = {"float32": deviation(case, "forward"), "float64 with gradients": deviation(few, "training")}
    figures = ", ".join(f"{value:.1e} in {what}" for what, value in deviations.items())
    console.print(f"{setting.name}, {kept} of {setting.cells} cells: largest deviation {figures}")
    if not (deviations["float32"] < 1e-5 and deviations["float64 with gradients"] < 1e-10):
        raise SystemExit("hacore differs from the plain formula; the times would mean nothing")


def timed(case: Case, implementation: str, mode: str, device: str) -> float:
    """Seconds of one step."""
    start = time.perf_counter()
    case.step(implementation, mode)
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def resident(field: str) -> int:
    """Bytes: VmRSS, now, or VmHWM, the most since it was reset."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def peak_of_this_process(setting: Setting, kept: int, implementation: str, mode: str) -> int:
    warm_up = attrs.evolve(setting, questions=2)
    Case.make(warm_up, 3, "cpu").step(implementation, mode)
    case = Case.make(setting, kept, "cpu")
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # resets VmHWM
        before = resident("VmRSS")
        case.step(implementation, mode)
        return resident("VmHWM") - before
    except OSError:
        # No such files here: the peak so far stands for what is resident, a few megabytes too much.
        unit = 1 if sys.platform == "darwin" else 1024
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        case.step(implementation, mode)
        return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * unit


def peak_memory(
    setting: Setting, kept: int, implementation: str, mode: str, device: str, threads: int
) -> int:
    """Bytes one step takes beyond its inputs and parameters."""
    if device == "cuda":
        case = Case.make(setting, kept, device)
        case.step(implementation, mode)
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        case.step(implementation, mode)
        return torch.cuda.max_memory_allocated() - before
    request = {
        "setting": attrs.asdict(setting), "kept": kept, "implementation": implementation, "mode": mode,
        "threads": threads,
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, __file__, "--peak-of", json.dumps(request)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return int(done.stdout)


def measure(setting: Setting, options: argparse.Namespace, console: Console) -> list[dict[str, Any]]:
    """Rows of (setting, kept, implementation, mode, threads) with seconds and bytes."""
    keeps = (setting.kept, setting.cells)
    cases = {kept: Case.make(setting, kept, options.device) for kept in keeps}
    for kept, case in cases.items():
        compare(setting, case, kept, options.device, console)
    rows = []
    for threads, mode in product(options.threads, MODES):
        torch.set_num_threads(threads)
        seconds: dict[tuple[int, str], list[float]] = {pair: [] for pair in product(keeps, IMPLEMENTATIONS)}
        for repeat in range(-1, options.repeats):
            for (kept, implementation), times in seconds.items():
                spent = timed(cases[kept], implementation, mode, options.device)
                if repeat >= 0:  # the first round warms up
                    times.append(spent)
        for (kept, implementation), times in seconds.items():
            which = {"kept": kept, "implementation": implementation, "mode": mode, "threads": threads}
            spent = {"seconds": times, "median": statistics.median(times), "min": min(times)}
            rows.append({**attrs.asdict(setting), "cells": setting.cells, **which, **spent})
    del cases
    for row in rows:
        few = options.quick and (row["mode"] == "forward" or row["kept"] != setting.cells)
        if row["threads"] == max(options.threads) and not few:
            row["peak_bytes"] = peak_memory(
                setting, row["kept"], row["implementation"], row["mode"], options.device, row["threads"]
            )
    return rows


def by_place(rows: list[dict[str, Any]]) -> dict[tuple[Any, ...], dict[str, Any]]:
    keys = ("name", "cells", "kept", "mode", "threads", "implementation")
    return {tuple(row[key] for key in keys): row for row in rows}


def ratios(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """For each case hacore's share: plain over hacore at equal cells, and plain with all cells over it."""
    places = by_place(rows)
    entries = []
    for (name, cells, kept, mode, threads, implementation), row in places.items():
        if implementation != "hacore":
            continue
        entry = {"name": name, "cells": cells, "kept": kept, "mode": mode, "threads": threads}
        for title, other_kept in (("equal_cells", kept), ("plain_all_cells", cells)):
            other = places[name, cells, other_kept, mode, threads, "plain"]
            entry[f"time_{title}_median"] = other["median"] / row["median"]
            entry[f"time_{title}_min"] = other["min"] / row["min"]
            if "peak_bytes" in row:
                # A step that fits in memory already resident adds nothing; a page is the least to tell.
                entry[f"memory_{title}"] = max(other["peak_bytes"], 4096) / max(row["peak_bytes"], 4096)
        entries.append(entry)
    return entries


def show(rows: list[dict[str, Any]], console: Console) -> None:
    table = Table(title="seconds a step (median, minimum) and peak memory; ratio: plain over hacore")
    for column in ("model", "kept", "mode", "threads", "plain", "hacore", "ratio", "all/this"):
        table.add_column(column, justify="left" if column in ("model", "mode") else "right")
    table.add_column("plain MB", justify="right")
    table.add_column("hacore MB", justify="right")
    places = by_place(rows)
    for ratio in ratios(rows):
        place = tuple(ratio[k] for k in ("name", "cells", "kept", "mode", "threads"))
        pair = [places[(*place, implementation)] for implementation in IMPLEMENTATIONS]
        table.add_row(
            f"{ratio['name']} {pair[0]['layers']}x{pair[0]['width']}, {pair[0]['questions']} questions",
            f"{ratio['kept']}/{ratio['cells']}",
            ratio["mode"],
            str(ratio["threads"]),
            *(f"{row['median']:.4f} {row['min']:.4f}" for row in pair),
            f"{ratio['time_equal_cells_median']:.2f}",
            f"{ratio['time_plain_all_cells_median']:.1f}",
            *(f"{row['peak_bytes'] / 1e6:.1f}" if "peak_bytes" in row else "" for row in pair),
        )
    console.print(table)


def device_name(device: str) -> str:
    if device == "cuda":
        return torch.cuda.get_device_name()
    cpu_info = Path("/proc/cpuinfo")
    lines = cpu_info.read_text(encoding="utf-8").splitlines() if cpu_info.exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{models[0] if models else platform.machine()}, {os.cpu_count()} cores"


def main() -> None:
    as_written = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=as_written)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--threads", type=int, nargs="+", help="CPU threads; default 1 to all cores")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", help="only the settings of this name: 'RN paper' or 'small'")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, one repeat, one thread")
    parser.add_argument("--output", type=Path, default=HERE / "results" / "rn.json")
    parser.add_argument("--peak-of", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peak_of:
        request = json.loads(options.peak_of)
        torch.set_num_threads(request.pop("threads"))
        print(peak_of_this_process(Setting(**request.pop("setting")), **request))
        return
    if options.quick:
        options.repeats, options.threads = 1, [1]
    elif not options.threads:
        cores = os.cpu_count() or 1
        options.threads = [torch.get_num_threads()] if options.device == "cuda" else range(1, cores + 1)
    console = Console(width=150)
    rows = []
    for setting in settings(options.quick):
        if options.only in (None, setting.name):
            rows += measure(setting, options, console)
    show(rows, console)
    report = {
        "what": "Relation Network aggregator, hacore against plain concatenation, float32",
        "device": device_name(options.device),
        "torch": torch.__version__,
        "threads": list(options.threads),
        "command": " ".join(["python", "benchmarks/rn.py", *sys.argv[1:]]),
        "ratios": ratios(rows),
        "rows": rows,
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()

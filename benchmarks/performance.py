"""How fast the parts of a training step are on this machine's processor, and what bounds them.

    python benchmarks/performance.py                       # all parts; about a quarter of an hour
    python benchmarks/performance.py --against REVISION    # the same of an earlier revision too, taking turns
    python benchmarks/performance.py --only rn --only lstm
    python benchmarks/performance.py --precision float32   # default: bfloat16 too where it is fast
    python benchmarks/performance.py --quick               # tiny sizes: does the program work?

Parts: ``products`` (matrix products alone, the limit), ``rn`` (Relation Network, forward and backward,
against the plain formula, ``torch.compile`` of it where there is a C++ compiler, and the products of its
layers alone), ``lstm`` (question encoder, forward and backward, against torch's LSTM over a packed sequence),
``attention`` (a non-local block over the kept cells, forward and backward) and ``steps`` (milliseconds of a
training step of some experiments on little data, evaluations left out).
Each part runs in processes of its own, ``--rounds`` times, the revisions by turns; a row's time is the median
over the rounds of the median of a process. Compare within one run only, and leave the machine alone.

REVISION is checked out into a temporary git worktree; its packages are put before the installed ones, whose
entry points must suffice. The inputs and the plain formula are those of benchmarks/rn.py.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
PARTS = ("products", "rn", "lstm", "attention", "steps")
PRECISIONS = ("float32", "bfloat16")


# What a process of one part does. torch is imported there only, after the environment is set.


def median_ms(step: Callable[[], object], repeats: int) -> float:
    """Milliseconds of a step, after two that warm up."""
    times = []
    for repeat in range(-2, repeats):
        start = time.perf_counter()
        step()
        if repeat >= 0:
            times.append(time.perf_counter() - start)
    return statistics.median(times) * 1e3


def autocast(precision: str) -> Any:
    import torch

    return torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16")


def products(quick: bool, repeats: int, precisions: list[str]) -> dict[str, float]:
    """GFLOP a second of single products, the output preallocated."""
    import torch

    rows = {}
    for precision in precisions:
        dtype = getattr(torch, precision)
        for shape in [(64, 8, 8)] if quick else [(4096, 256, 256), (4096, 64, 64), (2048, 2048, 2048)]:
            m, k, n = shape
            a, b, out = (
                torch.randn(m, k).to(dtype),
                torch.randn(k, n).to(dtype),
                torch.empty(m, n, dtype=dtype),
            )
            ms = median_ms(lambda a=a, b=b, out=out: torch.mm(a, b, out=out), 3 * repeats)
            rows[f"{m}x{k}x{n} {precision}"] = 2 * m * k * n / ms / 1e6
    return rows


def rn(quick: bool, repeats: int, precisions: list[str]) -> dict[str, float]:
    """Milliseconds of forward and backward."""
    import rn as program
    import torch

    paper = {"name": "RN paper", "width": 256, "layers": 4, "cell_channels": 24, "question_channels": 128}
    main = {"name": "han_rn", "width": 64, "layers": 3, "cell_channels": 64, "question_channels": 128}
    cases = [
        (program.Setting(**paper, questions=32, side=8, kept=64), 64),
        (program.Setting(**paper, questions=8, side=14, kept=196), 196),
        (program.Setting(**paper, questions=32, side=8, kept=16), 16),
        (program.Setting(**main, questions=320, side=10, kept=10), 10),
    ]
    if quick:
        cases = [(setting, setting.kept) for setting in program.settings(quick=True)]
    compiled = torch.compile(program.plain) if shutil.which("g++") else None
    rows = {}
    for setting, kept in cases:
        case = program.Case.make(setting, kept, "cpu")
        title = f"{setting.questions} questions, {kept} cells, {setting.layers}x{setting.width}"
        for precision in precisions:
            ways = {"hacore": program.hacore, "plain": program.plain}
            if compiled is not None and os.environ.get("HACORE_BENCHMARK_TREE") == "now":
                ways["compiled"] = compiled
            for way, forward in ways.items():
                if way != "hacore" and os.environ.get("HACORE_BENCHMARK_TREE") != "now":
                    continue

                def step(forward: Any = forward, case: Any = case, precision: str = precision) -> None:
                    with autocast(precision):
                        out = forward(case.module, case.selection, case.question_QC)
                    inputs = [*case.module.parameters(), case.selection.features_QKC, case.question_QC]
                    torch.autograd.grad(out.square().mean(), inputs)

                rows[f"{title} {precision} {way}"] = median_ms(step, repeats if way == "hacore" else 2)
            alone = layer_products(setting.questions * kept**2, setting.width, setting.layers - 1, precision)
            rows[f"{title} {precision} products"] = median_ms(alone, repeats)
    return rows


def layer_products(pairs: int, width: int, layers: int, precision: str) -> Callable[[], None]:
    """Of each layer after the first the product over all pairs and the two of its gradient, in blocks."""
    import torch

    dtype = getattr(torch, precision)
    block = min(pairs, 4096)
    h, g, out = (torch.randn(block, width).to(dtype) for _ in range(3))
    weight, gradient = (torch.randn(width, width).to(dtype) for _ in range(2))

    def step() -> None:
        for _ in range(-(-pairs // block) * layers):
            torch.mm(h, weight.t(), out=out)
            torch.mm(g, weight, out=out)
            torch.mm(g.t(), h, out=gradient)

    return step


def lstm(quick: bool, repeats: int, precisions: list[str]) -> dict[str, float]:
    """Milliseconds of forward and backward; of all questions, as no two are equal."""
    import torch
    from hacore_lstm import Config
    from hacore_lstm.encoder import LSTM
    from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

    from hacore.interfaces import Sizes, build

    sizes = Sizes(image=(3, 8, 8), words=80, answers=2)
    rows = {}
    for questions, longest, embedding, hidden in (
        [(3, 4, 4, 4)] if quick else [(320, 22, 64, 128), (40, 13, 32, 64)]
    ):
        torch.manual_seed(0)
        model = build(LSTM, Config(embedding=embedding, hidden=hidden, bidirectional=True), sizes)
        lengths_Q = torch.randint(3, longest + 1, (questions,))
        words_QT = torch.randint(1, 80, (questions, longest))

        def packed(model: Any = model, words_QT: Any = words_QT, lengths_Q: Any = lengths_Q) -> Any:
            sequence = pack_padded_sequence(
                model.embedding(words_QT), lengths_Q, batch_first=True, enforce_sorted=False
            )
            output, (state, _) = model.lstm(sequence)
            states_QTC, _ = pad_packed_sequence(output, batch_first=True)
            return torch.cat([state[-2], state[-1]], dim=1), states_QTC

        def encoded(model: Any = model, words_QT: Any = words_QT, lengths_Q: Any = lengths_Q) -> Any:
            question = model(words_QT, lengths_Q)
            return question.vector_QC, question.words_QTC

        title = f"{questions} questions of 3 to {longest} words, {embedding} to 2x{hidden}"
        for precision in precisions:
            for way, forward in {"hacore": encoded, "torch, packed": packed}.items():

                def step(forward: Any = forward, model: Any = model, precision: str = precision) -> None:
                    with autocast(precision):
                        vector_QC, states_QTC = forward()
                    loss = vector_QC.float().square().sum() + states_QTC.float().square().sum()
                    torch.autograd.grad(loss, list(model.parameters()))

                rows[f"{title} {precision} {way}"] = median_ms(step, repeats)
    return rows


def attention(quick: bool, repeats: int, precisions: list[str]) -> dict[str, float]:
    """Milliseconds of forward and backward of a non-local block: heads of few cells."""
    import rn as program
    import torch
    from hacore_non_local import Config
    from hacore_non_local.non_local import NonLocal

    from hacore.interfaces import Question, Sizes, build

    sizes = Sizes(image=(3, 8, 8), words=0, answers=0, grid=(10, 10), cell_channels=64, question_channels=8)
    rows = {}
    for questions, kept, heads in [(3, 4, 2)] if quick else [(320, 21, 4), (320, 10, 1)]:
        setting = program.Setting(
            name="", width=8, layers=2, cell_channels=64, question_channels=8,
            questions=questions, side=10, kept=kept,
        )  # fmt: skip
        case = program.Case.make(setting, kept, "cpu")
        block = build(NonLocal, Config(width=64, heads=heads, zero_init=False), sizes)
        for precision in precisions:

            def step(block: Any = block, case: Any = case, precision: str = precision) -> None:
                with autocast(precision):
                    out_QC = block(case.selection, Question(case.question_QC))
                inputs = [*block.parameters(), case.selection.features_QKC]
                torch.autograd.grad(out_QC.float().square().mean(), inputs)

            row = f"{questions * heads} heads of {kept}x{kept}, {64 // heads} channels {precision} hacore"
            rows[row] = median_ms(step, repeats)
    return rows


def steps(quick: bool, repeats: int, precisions: list[str]) -> dict[str, float]:
    """Milliseconds of a training step, from the times in metrics.jsonl; two processes: one thread each."""
    import hacore

    specs = ["han_rn"] if quick else ["han_rn", "han_sum", "adahan_rn", "clevr/small/han_rn"]
    little = ["data.images=60", "data.held_out=5", "data.validation=5"] if quick else ["data.images=1200"]
    ways = [("1 thread", 1, 1), ("2 threads", 2, 1), ("2 processes", 1, 2)]
    rows = {}
    for name in specs:
        for precision in precisions:
            for way, threads, processes in ways[:1] if quick else ways:
                if name.startswith("clevr"):
                    little = [f"data.root='{clevr()}'"]
                train = {
                    "precision": f"'{precision}'", "threads": threads, "processes": processes,
                    "epochs": 1000, "steps": 4 if quick else 20 * (1 + repeats),
                    "log_steps": 1 if quick else 20, "batch_images": 2 if quick else 16,
                }  # fmt: skip
                overrides = [f"train.{key}={value}" for key, value in train.items()]
                spec = hacore.load_spec(
                    ROOT / "experiments" / f"{name}.toml",
                    [*little, *overrides, "eval.every_epochs=1000", "eval.baseline_steps=0"],
                )
                with tempfile.TemporaryDirectory() as runs:
                    folder, _ = hacore.run(spec, runs=runs, device="cpu", report=False)
                    lines = map(json.loads, folder.metrics_file.read_text().splitlines())
                    times = [(line["step"], line["seconds"]) for line in lines if "lr" in line]
                spans = [
                    (later[1] - earlier[1]) / (later[0] - earlier[0]) * 1e3
                    for earlier, later in pairwise(times)
                ]
                rows[f"{name} {precision} {way}"] = statistics.median(spans)
    return rows


def clevr() -> Path:
    """A little generated CLEVR, drawn once a machine."""
    folder = Path(tempfile.gettempdir()) / "hacore-performance-clevr"
    if not folder.exists():
        words = [
            "--images",
            "160",
            "--val-images",
            "20",
            "--test-images",
            "20",
            "--questions-per-image",
            "12",
        ]
        words += ["--families", "zero_hop", "--max-objects", "6", "--packed", "--output", str(folder)]
        command = [sys.executable, "-m", "hacore", "data", "generate", "clevr", *words]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return folder


def child(options: argparse.Namespace) -> None:
    sys.path.insert(0, str(HERE))
    import torch

    from hacore.machine.device import use_device

    use_device(torch.device("cpu"))
    torch.set_num_threads(options.threads)
    part = {"products": products, "rn": rn, "lstm": lstm, "attention": attention, "steps": steps}[
        options.child
    ]
    print(json.dumps(part(options.quick, options.repeats, options.precision)))


# What the program itself does.


@contextlib.contextmanager
def trees(revision: str | None) -> Iterator[dict[str, Path]]:
    """The checkouts to measure, by name."""
    if revision is None:
        yield {"now": ROOT}
        return
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "before"
        subprocess.run(
            ["git", "worktree", "add", "--quiet", "--detach", place, revision], cwd=ROOT, check=True
        )
        try:
            yield {"before": place, "now": ROOT}
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", place], cwd=ROOT, check=True)


def run_part(part: str, name: str, tree: Path, threads: int, options: argparse.Namespace) -> dict[str, float]:
    packages = [str(tree), *map(str, sorted((tree / "plugins").iterdir()))]
    waiting = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "1000"}  # as the command line has it
    kept = {key: value for key, value in os.environ.items() if key != "OPENBLAS_CORETYPE"}
    words = ["--child", part, "--threads", str(threads), "--repeats", str(options.repeats)]
    words += [word for precision in options.precision for word in ("--precision", precision)]
    ran = subprocess.run(
        [sys.executable, __file__, *words, *(["--quick"] if options.quick else [])],
        env={**kept, **waiting, "PYTHONPATH": os.pathsep.join(packages), "HACORE_BENCHMARK_TREE": name},
        cwd=tempfile.gettempdir(),
        capture_output=True,
        text=True,
        check=False,
    )
    if ran.returncode:
        raise SystemExit(f"{part} of {name}: {ran.stderr}")
    measured: dict[str, float] = json.loads(ran.stdout.splitlines()[-1])
    return measured


def measure(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Rows of (part, threads, row, milliseconds of each tree)."""
    rows = []
    with trees(options.against) as places:
        for part in options.only or PARTS:
            for threads in [1] if part == "steps" or options.quick else [1, 2]:
                times: dict[str, dict[str, list[float]]] = {name: {} for name in places}
                for _ in range(options.rounds):
                    for name, tree in places.items():
                        for row, value in run_part(part, name, tree, threads, options).items():
                            times[name].setdefault(row, []).append(value)
                for row in times["now"]:
                    entry: dict[str, Any] = {"part": part, "threads": threads, "row": row}
                    for name in places:
                        if row in times[name]:
                            entry[name] = round(statistics.median(times[name][row]), 3)
                    if "before" in entry:
                        entry["before/now"] = round(entry["before"] / entry["now"], 3)
                    rows.append(entry)
                    print(json.dumps(entry), flush=True)
    return rows


def main() -> None:
    as_written = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=as_written)
    parser.add_argument("--against", metavar="REVISION", help="an earlier revision to measure too")
    parser.add_argument("--only", action="append", choices=PARTS)
    parser.add_argument("--precision", action="append", choices=PRECISIONS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--output", type=Path, default=HERE / "results" / "performance.json")
    parser.add_argument("--child", choices=PARTS, help=argparse.SUPPRESS)
    parser.add_argument("--threads", type=int, default=1, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options)
        return
    if options.quick:
        options.rounds, options.repeats = 1, 1
    import torch

    from hacore.machine.device import device_name, multiplies_bfloat16

    if not options.precision:
        options.precision = PRECISIONS if multiplies_bfloat16(torch.device("cpu")) else PRECISIONS[:1]
    rows = measure(options)
    report = {
        "what": "milliseconds (products: GFLOP a second); products, lstm, rn: forward and backward",
        "device": device_name(torch.device("cpu")),
        "torch": torch.__version__,
        "command": " ".join(["python", "benchmarks/performance.py", *sys.argv[1:]]),
        "rows": rows,
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()

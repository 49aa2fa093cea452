"""Questions a second of an exported model in onnxruntime and as a torch.export program, beside the model.

    python benchmarks/export.py                      # three experiments, random weights
    python benchmarks/export.py runs/han_rn/RUN      # a trained model
    python benchmarks/export.py --repeats 1          # does the program work?

Without a run the models have random weights and are asked random questions about random images, 20 an image;
AdaHAN then keeps as many cells as such a model does. The three take turns in one process with one thread,
which `taskset -c 0` keeps on one core. Seconds are of the processor, medians of the repeats. What was
exported is compared with the model before it is timed, as ``hacore export`` does.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from hacore_export import _formats as formats
from hacore_export._check import compare, random_inputs
from hacore_export._description import description_of
from hacore_export._graph import Graph, output_shapes, trace
from rich.console import Console
from rich.table import Table

import hacore
from hacore.runs.data_summary import DataSummary
from hacore.runs.trained import Trained

ROOT = Path(__file__).parents[1]
SPECS = ("han_rn", "adahan_rn", "san")
BATCHES = ((1, 1, 8), (1, 20, 12), (16, 320, 12))  # images, questions, words


def untrained(name: str) -> Trained:
    """The model of an experiment, as if it had been loaded."""
    spec = hacore.load_spec(ROOT / "experiments" / f"{name}.toml")
    inputs = DataSummary(
        vocabulary=tuple(f"word{number}" for number in range(40)),
        answers=tuple(f"answer{number}" for number in range(11)),
        image_size=(3, 75, 75),
        image_mean=(0.9, 0.9, 0.9),
        image_std=(0.2, 0.2, 0.2),
        word_vectors=0,
        fingerprint="none",
    )
    torch.manual_seed(0)
    return Trained(
        folder=hacore.RunFolder(name),
        spec=spec,
        summary=inputs,
        model=hacore.compose(spec, inputs.sizes()).eval(),
        device=torch.device("cpu"),
        step=0,
    )


def programs(trained: Trained) -> dict[str, Callable[..., object]]:
    """What is compared, each a function of arrays."""
    graph, sizes = Graph(trained.model), trained.summary.sizes()
    program = trace(graph, random_inputs(2, 3, 5, sizes), trained.spec)
    described = description_of(trained, "onnx", output_shapes(program))
    runs = {
        "torch.export": formats.open_torch(formats.torch_bytes(program, described)),
        "onnxruntime": formats.open_onnx(
            formats.onnx_bytes(formats.onnx_model(program, None, trained.spec), described)
        ),
    }
    for run in runs.values():
        compare(run, graph, sizes)

    @torch.no_grad()
    def model(*arrays: formats.Array) -> object:
        return trained.model(*map(torch.from_numpy, arrays))

    return {"model": model, **runs}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="*", help="run folders; default: experiments with random weights")
    parser.add_argument("--repeats", type=int, default=15, help="timings of each; default: 15")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    models = [hacore.load(run, device="cpu") for run in arguments.runs] or [untrained(spec) for spec in SPECS]
    table = Table(title="questions a second, one thread", box=None)
    for column in ("model", "images", "questions", "hacore", "torch.export", "onnxruntime", "cells kept"):
        table.add_column(column, justify="left" if column == "model" else "right")
    for trained in models:
        compared = programs(trained)
        for images, questions, words in BATCHES:
            arrays = [
                tensor.numpy() for tensor in random_inputs(images, questions, words, trained.summary.sizes())
            ]
            with torch.no_grad():
                counts_Q = trained.model(*map(torch.from_numpy, arrays)).selection.counts_Q.float()
            seconds: dict[str, list[float]] = {name: [] for name in compared}
            for turn in range(arguments.repeats + 2):
                for name, run in compared.items():
                    started = time.process_time()
                    run(*arrays)
                    if turn > 1:  # the first two of each make room and plans
                        seconds[name].append(time.process_time() - started)
            speeds = (f"{questions / statistics.median(times):,.0f}" for times in seconds.values())
            kept = f"{counts_Q.mean():.1f} (at most {counts_Q.max():.0f})"
            table.add_row(trained.spec.name, str(images), str(questions), *speeds, kept)
    Console(width=140).print(table)


if __name__ == "__main__":
    main()

"""What selectors cost: a training step and an answer of trained models, against one of them.

    python benchmarks/selectors.py sweeps/sum_10                       # every experiment, its first seed
    python benchmarks/selectors.py sweeps/sum_10 --against selector.use=all-cells --json costs.json
    python benchmarks/selectors.py runs/a/* runs/b/* --repeats 1       # does the program work?

The models are those of finished runs, as what adaptive selectors keep depends on their training. A step is
forward and backward of the questions of ``train.batch_images`` training images, the optimiser left out; an
answer is one question's share of a forward pass over ``eval.batch_images`` images of the final split. The
models take turns; times are the CPU's, of all threads of this process, so that other work on the machine
tells less, and medians over the turns. Ratios, of one run, are what to compare.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import torch
from hacore_report import read_runs
from hacore_report._table import distinguishing
from rich.console import Console
from rich.table import Table

import hacore
from hacore.data import Batch, make_batch
from hacore.machine.device import device_name
from hacore.measure.predict import batches, evaluating, predict
from hacore.runs.trained import Trained


@attrs.define
class Subject:
    """A trained model, the batches it is measured with, and the seconds it took."""

    name: str
    options: dict[str, Any]
    trained: Trained
    kept: float
    multiply_adds: int | None
    train: Batch
    test: Batch
    step_seconds: list[float] = attrs.Factory(list)
    answer_seconds: list[float] = attrs.Factory(list)

    def step(self) -> None:
        """Forward and backward of a training batch."""
        model = self.trained.model.train()
        model.zero_grad(set_to_none=True)
        output = predict(model, self.train, self.trained.precision)
        loss = self.trained.dataset.loss(output.logits_QA, self.train)
        if output.selection.loss is not None:
            loss = loss + output.selection.loss * len(self.train)
        (loss / len(self.train)).backward()

    def answer(self) -> None:
        """Forward of a batch of the final split."""
        with evaluating(self.trained.model):
            predict(self.trained.model, self.test, self.trained.precision)


def subjects(paths: list[str]) -> list[Subject]:
    """The experiments among finished runs, each with its lowest seed."""
    runs = sorted(read_runs(paths).runs, key=lambda run: run.seed)
    keys = distinguishing(runs)
    chosen = {json.dumps(run.options(), sort_keys=True): run for run in reversed(runs)}
    return [subject(run, keys) for run in reversed(chosen.values())]


def subject(run: Any, keys: tuple[str, ...]) -> Subject:
    """A run with its batches; the same for all runs of one data set and batch size."""
    trained = hacore.load(run.path, device="cpu")
    dataset, spec = trained.dataset, trained.spec
    objects = trained.model.oracle
    questions = dataset.questions("train")
    rows = np.flatnonzero(questions.image < spec.train.batch_images)
    train = make_batch(
        *(questions, dataset.inputs("train"), rows), dataset.objects("train") if objects else None
    )
    test = next(iter(batches(dataset, spec.eval.final_split, spec.eval.batch_images, oracle=objects)))
    options = {key: run.get(key) for key in keys if run.get(key) is not None}
    name = ", ".join(f"{key.rpartition('.')[2]} = {value}" for key, value in options.items())
    return Subject(
        name=name.replace("use = ", ""),
        options=options,
        trained=trained,
        kept=run.result.kept,
        multiply_adds=run.result.multiply_adds,
        train=train,
        test=test,
    )


def spent(work: Callable[[], None]) -> float:
    """Seconds of CPU."""
    before = time.process_time()
    work()
    return time.process_time() - before


def measure(every: list[Subject], repeats: int) -> None:
    """Fill in the seconds, turn by turn; the first turn warms up."""
    for turn in range(repeats + 1):
        for one in every if turn % 2 else reversed(every):
            seconds = spent(one.step), spent(one.answer)
            if turn:
                one.step_seconds.append(seconds[0])
                one.answer_seconds.append(seconds[1])


def rows_of(every: list[Subject], against: Subject) -> list[dict[str, Any]]:
    """The numbers of each subject, times as ratios to one of them."""

    def median(values: list[float]) -> float:
        return statistics.median(values)

    return [
        {
            "experiment": one.options,
            "kept": one.kept,
            "multiply_adds": one.multiply_adds,
            "step_ms": 1e3 * median(one.step_seconds),
            "answer_us": 1e6 * median(one.answer_seconds) / len(one.test),
            "step_ratio": median(one.step_seconds) / median(against.step_seconds),
            "answer_ratio": median(one.answer_seconds) / median(against.answer_seconds),
        }
        for one in every
    ]


def chosen_subject(every: list[Subject], condition: str | None) -> Subject:
    """The one that fulfils KEY=VALUE, the first without a condition."""
    if condition is None:
        return every[0]
    key, _, value = condition.partition("=")
    fitting = [one for one in every if str(one.options.get(key)) == value]
    if not fitting:
        known = sorted({f"{key}={one.options.get(key)}" for one in every})
        raise SystemExit(f"no experiment has {condition}; there are {', '.join(known)}")
    return fitting[0]


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("runs", nargs="+", help="run folders and sweep folders")
    parser.add_argument(
        "--against", metavar="KEY=VALUE", help="the experiment that is 1 (default: the first)"
    )
    parser.add_argument("--repeats", type=int, default=30, help="turns (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="of torch (default: %(default)s)")
    parser.add_argument("--json", metavar="FILE", help="write the numbers there, too")
    chosen = parser.parse_args(sys.argv[1:] if arguments is None else arguments)
    torch.set_num_threads(chosen.threads)
    every = subjects(chosen.runs)
    against = chosen_subject(every, chosen.against)
    measure(every, chosen.repeats)
    rows = rows_of(every, against)

    device = f"{device_name(torch.device('cpu'))}, torch {torch.__version__}, {chosen.threads} thread(s)"
    print(f"{device}, {os.cpu_count()} cores in all; ratios to {against.name}")
    table = Table(box=None, pad_edge=False)
    table.add_column("experiment")
    for head in ("kept %", "multiply-adds", "step ms", "ratio", "answer us", "ratio"):
        table.add_column(head, justify="right")
    for one, row in zip(every, rows, strict=True):
        table.add_row(
            one.name,
            f"{100 * row['kept']:.1f}",
            f"{row['multiply_adds'] or 0:,}",
            f"{row['step_ms']:.1f}",
            f"{row['step_ratio']:.2f}",
            f"{row['answer_us']:.0f}",
            f"{row['answer_ratio']:.2f}",
        )
    Console(highlight=False, soft_wrap=True).print(table)
    if chosen.json:
        record = {"what": "cost of selectors", "device": device, "against": against.options, "rows": rows}
        Path(chosen.json).write_text(json.dumps(record, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

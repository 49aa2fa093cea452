"""What selectors reach and what they cost: accuracy over seeds, a training step, an answer.

    python benchmarks/selector_costs.py sweeps/sum_10 --rows selector.use --rows features.pool
    python benchmarks/selector_costs.py sweeps/sum_10 --against all-cells --json costs.json
    python benchmarks/selector_costs.py runs/a/* runs/b/* --repeats 1       # does the program work?

Prints the table of ``hacore table`` in Markdown with two more columns. They are of the finished runs' models,
the lowest seed of each row, as what adaptive selectors keep depends on their training. A step is forward and
backward of the questions of ``train.batch_images`` training images, the optimiser left out; an answer is one
question's share of a forward pass over ``eval.batch_images`` images of the final split. The models take
turns; times are the CPU's, of all threads of this process, and medians over the turns. Ratios, of one run,
are what to compare.
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

import attrs
import numpy as np
import torch
from hacore_report import Table, mark_best, read_runs, tabulate, write_table

import hacore
from hacore.data import Batch, make_batch
from hacore.machine.device import device_name
from hacore.measure.predict import batches, evaluating, precision_name, predict
from hacore.runs.trained import Trained


@attrs.define
class Subject:
    """A trained model, the batches it is measured with, and the seconds it took."""

    trained: Trained
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


def subject(path: str) -> Subject:
    """A run's model with its batches; the same for all runs of one data set and batch size."""
    trained = hacore.load(path, device="cpu")
    dataset, spec = trained.dataset, trained.spec
    oracle = trained.model.oracle
    questions = dataset.questions("train")
    rows = np.flatnonzero(questions.image < spec.train.batch_images)
    train = make_batch(questions, dataset.inputs("train"), rows, dataset.objects("train") if oracle else None)
    test = next(iter(batches(dataset, spec.eval.final_split, spec.eval.batch_images, oracle=oracle)))
    return Subject(trained=trained, train=train, test=test)


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


def costs(every: list[Subject], against: Subject) -> list[dict[str, float]]:
    """The medians of each subject, and their ratios to those of one."""
    step, answer = (statistics.median(seconds) for seconds in (against.step_seconds, against.answer_seconds))
    return [
        {
            "step_ms": 1e3 * statistics.median(one.step_seconds),
            "answer_us": 1e6 * statistics.median(one.answer_seconds) / len(one.test),
            "step_ratio": statistics.median(one.step_seconds) / step,
            "answer_ratio": statistics.median(one.answer_seconds) / answer,
        }
        for one in every
    ]


def reference(table: Table, label: str | None) -> int:
    """The place of the row whose first key has this value; the first row without one."""
    labels = [str(row[0]) for row in table.rows]
    if label is None:
        return 0
    if label not in labels:
        raise SystemExit(f"no row begins with {label}; there are {', '.join(dict.fromkeys(labels))}")
    return labels.index(label)


def with_costs(markdown: str, measured: list[dict[str, float]]) -> str:
    """The table with two more columns; rows past those measured, the baselines, have none."""
    title, blank, head, rule, *rows = markdown.splitlines()
    cells = [f" {row['step_ratio']:.2f} | {row['answer_ratio']:.2f} |" for row in measured]
    cells += ["  |  |"] * (len(rows) - len(cells))
    head, rule = f"{head} training step | answer |", f"{rule} ---: | ---: |"
    lines = [row + more for row, more in zip(rows, cells, strict=True)]
    return "\n".join([title, blank, head, rule, *lines])


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("runs", nargs="+", help="run folders and sweep folders")
    parser.add_argument("--rows", action="append", metavar="KEY", help="as hacore table takes it")
    parser.add_argument(
        "--against", metavar="VALUE", help="the row that is 1, by its first key (the first row)"
    )
    parser.add_argument("--repeats", type=int, default=30, help="turns (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="of torch (default: %(default)s)")
    parser.add_argument("--json", metavar="FILE", help="write the numbers there, too")
    chosen = parser.parse_args(sys.argv[1:] if arguments is None else arguments)
    torch.set_num_threads(chosen.threads)
    runs = read_runs(chosen.runs)
    table = mark_best(tabulate(runs, rows=chosen.rows, values=("accuracy", "kept", "multiply_adds")), runs)
    (column,) = table.columns
    firsts = [table.cells[row, column, "accuracy"] for row in table.rows]
    every = [subject(min(zip(cell.seeds, cell.runs, strict=True))[1]) for cell in firsts]
    against = reference(table, chosen.against)
    measure(every, chosen.repeats)
    measured = costs(every, every[against])

    device = f"{device_name(torch.device('cpu'))}, torch {torch.__version__}, {chosen.threads} thread(s)"
    device += f", {' and '.join(sorted({precision_name(one.trained.precision) for one in every}))}"
    print(with_costs(write_table(table, "markdown"), measured))
    one = f"{measured[against]['step_ms']:.1f} ms a step, {measured[against]['answer_us']:.0f} us an answer"
    print(f"\n1 is {table.rows[against][0]}: {one}; {device}, {os.cpu_count()} cores in all.")
    if chosen.json:
        named = [
            {"row": dict(zip(table.row_keys, row, strict=True)), **numbers}
            for row, numbers in zip(table.rows, measured, strict=True)
        ]
        record = {"what": "cost of selectors", "device": device, "against": against, "rows": named}
        Path(chosen.json).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

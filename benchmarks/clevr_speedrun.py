"""From nothing to an accuracy on generated CLEVR: data, training and evaluation on one machine, timed.

    python benchmarks/clevr_speedrun.py                            # one GPU: 100,000 images of 128x128
    python benchmarks/clevr_speedrun.py --spec experiments/clevr/han_rn_plus_plus.toml
    python benchmarks/clevr_speedrun.py --images 400 --set train.epochs=1     # does the program work?
    python benchmarks/clevr_speedrun.py --minutes 5            # as far as that goes; call it again to go on

First it counts: the multiply-adds of a training step and the bytes that it moves at least, and what the
device would need for them at its peak. Then it makes the data (train, val, test as 70:15:15), trains, and
prints accuracy by group of questions against time, with the time at which each rung of validation accuracy
is reached. At the end the best checkpoint is measured on the test images, with its baselines, and the
time of a step is divided among its parts.

Stopped by Ctrl-C, SIGTERM or a kill, the same command goes on: with the data where it was, with the
training from its last checkpoint. Seconds are those of work, summed over all calls. The result is written
to FOLDER/speedrun.json. These are numbers on generated data, not on CLEVR v1.0.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from hacore_clevr import GenerateConfig
from hacore_clevr.generate.command import generate
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from hacore.data import Batch, Dataset, make_batch, resident
from hacore.machine.device import choose_device, device_name
from hacore.machine.files import write_json
from hacore.measure.metrics import Scores
from hacore.measure.predict import precision_name, precision_of, predict
from hacore.model.compose import compose
from hacore.model.opening import open_dataset
from hacore.runs import RunFolder
from hacore.runs.places import same_experiment
from hacore.spec import Spec, load_spec
from hacore.train.augment import augment
from hacore.train.reporting import Speed
from hacore.train.trainer import make_optimizer, make_sampler
from hacore.workflow import run

RUNGS = (0.936, 0.968, 0.988)
PEAKS = {"H200": (989e12, 4.8e12), "H100": (989e12, 3.35e12), "A100": (312e12, 2.0e12)}
"""Of GPUs, from their data sheets: dense bfloat16 operations and bytes of memory a second."""


class Tell:
    """Prints what the generator does, seldom."""

    def __init__(self, reporter: Report) -> None:
        self._reporter, self._said = reporter, time.monotonic()

    def message(self, text: str) -> None:
        self._reporter.message(text)

    def progress(self, what: str, done: int, total: int) -> None:
        if time.monotonic() - self._said >= 10:
            self._said = time.monotonic()
            self.message(f"{what}: {done:,} of {total:,}")


class Report:
    """Prints each evaluation: accuracy by group of questions, and how fast it goes."""

    def __init__(self, console: Console) -> None:
        self._console, self._per_epoch, self._rate = console, 1, 0.0

    def start(self, step: int, total_steps: int, steps_per_epoch: int) -> None:
        self._per_epoch = steps_per_epoch
        self.message(f"training from step {step:,} of {total_steps:,}, {steps_per_epoch:,} an epoch")

    def train(self, step: int, scores: Scores, speed: Speed) -> None:
        self._rate = speed.questions_per_second

    def evaluation(self, step: int, split: str, scores: Scores, best: bool) -> None:
        groups = "  ".join(f"{name} {100 * group['accuracy']:.1f}" for name, group in scores.by_group.items())
        epoch = f"epoch {step / self._per_epoch:.2f}"
        self.message(
            f"{epoch}  {split} {100 * scores.accuracy:.2f}%  {groups}  {self._rate:,.0f} questions/s"
        )

    def message(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def stop(self) -> None: ...


class ByteCounter(TorchDispatchMode):
    """Counts the bytes of what every operation reads and writes; views move nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        aliases = [output.alias_info for output in func._schema.returns]
        if not any(alias is not None and not alias.is_write for alias in aliases):
            for leaf in tree_leaves((args, kwargs, result)):
                if isinstance(leaf, Tensor):
                    self.bytes += leaf.numel() * leaf.element_size()
        return result


class Steps:
    """Training steps of a spec outside of the training loop, to count and time them."""

    def __init__(self, spec: Spec, dataset: Dataset[Any], device: torch.device) -> None:
        self._config, self._dataset, self._device = spec.train, dataset, device
        self._questions = dataset.questions("train")
        self._images = resident(dataset.images("train"), device)
        self._sampler = make_sampler(spec, self._questions)
        self.precision = precision_of(spec.train, device)
        torch.manual_seed(spec.seed)
        self.model = compose(spec, dataset.sizes()).to(device).train()
        self._optimizer = make_optimizer(self.model, spec.train)
        self._forward = torch.compile(self.model) if spec.train.compile else self.model

    def batch(self, step: int) -> Batch:
        rows = self._sampler.rows(step)
        batch = make_batch(self._questions, self._images, rows).to(self._device)
        return augment(batch, self._config.shift, self._config.rotation)

    def loss(self, batch: Batch) -> Tensor:
        output = predict(self._forward, batch, self.precision)
        return self._dataset.loss(output.logits_QA, batch) / len(batch)

    def update(self, loss: Tensor) -> None:
        self._optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), self._config.clip_norm or float("inf"))
        self._optimizer.step()

    def timed(self, count: int, work: Callable[[int], Any]) -> float:
        """Seconds of ``work(step)``, mean of ``count`` after three to warm up."""
        for step in range(3):
            work(step)
        self._wait()
        started = time.perf_counter()
        for step in range(3, 3 + count):
            work(step)
        self._wait()
        return (time.perf_counter() - started) / count

    def _wait(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize()


def count_step(steps: Steps) -> dict[str, Any]:
    """Operations and bytes of one step, counted while it runs; an LSTM as the products it is made of."""
    batch = steps.batch(0)
    with (
        torch.backends.mkldnn.flags(enabled=False, allow_tf32=None),
        torch.backends.cudnn.flags(enabled=False),
        FlopCounterMode(display=False) as operations,
        ByteCounter() as moved,
    ):
        steps.update(steps.loss(batch))
    return {
        "questions": len(batch),
        "operations": operations.get_total_flops(),
        "bytes": moved.bytes,
        "precision": precision_name(steps.precision),
    }


def time_step(steps: Steps, count: int) -> dict[str, float]:
    """Seconds of a step and of its parts, each measured by itself."""
    batch = steps.batch(0)

    def forward(step: int) -> None:
        with torch.no_grad():
            steps.loss(batch)

    return {
        "step": steps.timed(count, lambda step: steps.update(steps.loss(steps.batch(step)))),
        "batch": steps.timed(count, steps.batch),
        "forward": steps.timed(count, forward),
        "forward, backward and update": steps.timed(count, lambda step: steps.update(steps.loss(batch))),
    }


def print_step(reporter: Report, counted: dict[str, Any], timed: dict[str, float], device: str) -> None:
    per_step = f"{counted['operations'] / 1e9:,.1f} GFLOP and {counted['bytes'] / 1e9:.2f} GB"
    precision = counted.get("precision", "a precision not recorded")
    reporter.message(f"a step of {counted['questions']:,} questions, {precision}: {per_step}")
    peaks = next((peak for name, peak in PEAKS.items() if name in device), None)
    if peaks:
        arithmetic, memory = (
            1e3 * counted[kind] / peak for kind, peak in zip(("operations", "bytes"), peaks, strict=True)
        )
        reporter.message(f"at the peak of {device}: {arithmetic:.2f} ms and {memory:.2f} ms")
    for name, seconds in timed.items():
        rate = counted["questions"] / seconds
        reporter.message(f"  {name}: {1e3 * seconds:.2f} ms, {rate:,.0f} questions/s")


def print_result(console: Console, result: dict[str, Any]) -> None:
    table = Table("questions", "accuracy", *result["baselines"], title="on test, accuracy in percent")

    baselines = list(result["baselines"].values())
    for name, scores in result["by_group"].items():
        others = (baseline["by_group"][name] for baseline in baselines)
        table.add_row(name, *(f"{100 * accuracy:.1f}" for accuracy in (scores["accuracy"], *others)))
    table.add_row("all", *(f"{100 * entry['accuracy']:.1f}" for entry in (result, *baselines)))
    console.print(table)


def make_data(options: argparse.Namespace, reporter: Report, state: dict[str, Any], save: Any) -> Path:
    """The packed data set, made or resumed; its seconds are added to the state."""
    folder: Path = options.folder / f"data-{options.images}-{options.size}-{options.seed}"
    config = GenerateConfig(
        images=options.images,
        seed=options.seed,
        output=str(folder),
        packed=True,
        size=(options.size, options.size),
        device="cpu" if options.device == "cpu" else "auto",
    )
    started = time.monotonic()
    try:
        outcome = generate(config, Tell(reporter))
    finally:
        state["data_seconds"] = state.get("data_seconds", 0.0) + time.monotonic() - started
        save()
    assert not outcome.problems
    return folder


def rungs(folder: RunFolder, data_seconds: float) -> dict[str, float | None]:
    """Seconds at which each rung of validation accuracy was reached, data included; None: it was not."""
    lines = [json.loads(line) for line in folder.metrics_file.read_text().splitlines()]
    reached: dict[str, float | None] = {}
    for rung in RUNGS:
        times = [
            record["seconds"] for record in lines if record["kind"] == "eval" and record["accuracy"] >= rung
        ]
        reached[f"{100 * rung:.1f}"] = round(data_seconds + times[0], 1) if times else None
    return reached


def progress(folder: RunFolder) -> dict[str, Any]:
    """How far the training came: its last lines, and the best accuracy on val."""
    lines = [json.loads(line) for line in folder.metrics_file.read_text().splitlines()]
    trained = [record for record in lines if record["kind"] == "train"][-1:]
    accuracies = [record["accuracy"] for record in lines if record["kind"] == "eval"]
    steps = {key: trained[0][key] for key in ("step", "epoch", "seconds", "loss")} if trained else {}
    return {**steps, "best_val_accuracy": max(accuracies, default=None)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--spec", type=Path, default=Path("experiments/clevr/han_rn_plus.toml"))
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides")
    parser.add_argument("--images", type=int, default=100_000, help="of train, val and test together")
    parser.add_argument("--seed", type=int, default=0, help="of the data")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--folder", type=Path, default=Path("runs/clevr_speedrun"))
    parser.add_argument("--steps", type=int, default=30, help="steps that are timed before the training")
    parser.add_argument(
        "--minutes", type=float, help="stop after so long, as Ctrl-C would; default: at the end"
    )
    options = parser.parse_args()

    console = Console()
    time_is_up = threading.Event()

    def stop() -> None:
        time_is_up.set()
        os.kill(os.getpid(), signal.SIGINT)

    timer = threading.Timer(60 * (options.minutes or 0), stop)
    timer.daemon = True
    if options.minutes:
        timer.start()
    try:
        speedrun(options, console, Report(console))
    except KeyboardInterrupt:
        console.print(f"{'time is up' if time_is_up.is_set() else 'interrupted'}; the same command goes on")
        raise SystemExit(0 if time_is_up.is_set() else 130) from None
    finally:
        timer.cancel()


def speedrun(options: argparse.Namespace, console: Console, reporter: Report) -> None:
    options.size = load_spec(options.spec, options.overrides).data.options.size[0]
    options.folder.mkdir(parents=True, exist_ok=True)
    path = options.folder / "speedrun.json"
    state: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}

    def save() -> None:
        write_json(path, state)

    data = make_data(options, reporter, state, save)
    # The checkpoint is chosen by val, which the rungs are about; test is looked at once, at the end.
    ours = ["data.dev_images=0", "eval.split=val", "eval.final_split=test", f"data.root={data.resolve()}"]
    spec = load_spec(options.spec, [*ours, *options.overrides])
    device = choose_device(options.device)
    state["device"] = device_name(device)
    if "step" not in state:
        steps = Steps(spec, open_dataset(spec.data), device)
        state["step"] = {**count_step(steps), "seconds": time_step(steps, options.steps)}
        del steps
        save()
    print_step(reporter, state["step"], state["step"]["seconds"], state["device"])

    def created(folder: RunFolder) -> None:
        state["run"] = str(folder.path)
        save()

    resume = RunFolder.open(state["run"]) if "run" in state else None
    if resume is not None:
        same_experiment(resume, spec)
    folder, result = run(
        spec, runs=options.folder, resume=resume, device=options.device, reporter=reporter, created=created
    )
    state["rungs"], state["progress"] = rungs(folder, state["data_seconds"]), progress(folder)
    state["result"] = None if result is None else result.as_dict()
    save()
    for rung, seconds in state["rungs"].items():
        when = "not reached" if seconds is None else f"after {seconds:,.0f} s"
        reporter.message(f"{rung}% on val: {when}; data took {state['data_seconds']:,.0f} s of it")
    if result is None:
        raise KeyboardInterrupt
    print_result(console, result)
    reporter.message(f"written: {path}")


if __name__ == "__main__":
    main()

"""From nothing to an accuracy on generated CLEVR: data, training and evaluation on one machine, timed.

    python benchmarks/clevr_speedrun.py    # a GPU, or one core: 85,000 images of 128x128
    python benchmarks/clevr_speedrun.py --set train.processes=2      # two cores
    python benchmarks/clevr_speedrun.py --spec experiments/clevr/han_rn_plus_plus.toml    # from pixels; a GPU
    python benchmarks/clevr_speedrun.py --images 400 --set train.epochs=1     # does the program work?
    python benchmarks/clevr_speedrun.py --minutes 5            # as far as that goes; call it again to go on

It makes the data (85% to train, of which up to 1,000 images are dev, and 15% test), trains, and prints
accuracy by group of questions, with the time at which each rung of accuracy on dev is reached, data
included. At the end the checkpoint that is best on dev is measured on test, with its baselines. Without
--spec it trains in stages: an image encoder on attributes of objects, its features, short programs, all
programs with few cells, all programs.

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
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
from hacore_clevr import GenerateConfig
from hacore_clevr.generate.command import generate
from hacore_features import make_features
from rich.console import Console
from rich.table import Table

from hacore.machine.device import choose_device, device_name
from hacore.machine.files import write_json
from hacore.measure.scores import Scores
from hacore.runs import RunFolder
from hacore.runs.places import same_experiment
from hacore.runs.result import Result
from hacore.spec import Spec, load_spec
from hacore.train.reporting import Speed
from hacore.workflow import run

RUNGS = (0.936, 0.968, 0.988)


@attrs.frozen
class Stage:
    """A training of the speed run. overrides: of its spec."""

    name: str
    spec: Path
    overrides: tuple[str, ...] = ()


_PASSING = ("eval.final_split=dev", "eval.baseline_steps=0")
"""What ends a stage that others follow."""

_MAC = Path("experiments/clevr/han_mac.toml")
_CONSTANT = ("train.schedule=constant", "train.average=0.99", "aggregator.memory_dropout=0", *_PASSING)

STAGES = (
    Stage(
        "attributes",
        Path("experiments/clevr/attributes.toml"),
        ("train.epochs=1.25", "train.batch_images=16", "train.shift=0", "train.rotation=0", *_PASSING),
    ),
    Stage(
        "short programs, 24 cells",
        _MAC,
        (
            "data.train_steps=8",
            "train.epochs=2",
            "selector.k=24",
            "aggregator.tally=false",
            *_CONSTANT,
        ),
    ),
    Stage("all programs, 32 cells", _MAC, ("train.epochs=1.5", "selector.k=32", *_CONSTANT)),
    Stage("all programs, 64 cells", _MAC, ("train.epochs=2", "train.hold=0.2")),
)
"""Each begins with the weights of the one before; the first is the image encoder of the others."""


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


def print_result(console: Console, result: Result) -> None:
    table = Table("questions", "accuracy", *result["baselines"], title="on test, accuracy in percent")

    baselines = list(result["baselines"].values())
    for name, scores in result["by_group"].items():
        others = (baseline["by_group"][name] for baseline in baselines)
        table.add_row(name, *(f"{100 * accuracy:.1f}" for accuracy in (scores["accuracy"], *others)))
    table.add_row("all", *(f"{100 * entry['accuracy']:.1f}" for entry in (result, *baselines)))
    console.print(table)


def make_data(options: argparse.Namespace, reporter: Report) -> Path:
    """The packed data set, made, or resumed."""
    folder: Path = options.folder / f"data-{options.images}-{options.size}-{options.seed}"
    config = GenerateConfig(
        images=options.images,
        val_images=1,
        seed=options.seed,
        output=str(folder),
        packed=True,
        size=(options.size, options.size),
        device="cpu" if options.device == "cpu" else "auto",
    )
    outcome = generate(config, Tell(reporter))
    assert not outcome.problems
    return folder


def _percent(rung: float) -> str:
    return f"{100 * rung:.1f}"


def rungs(folder: RunFolder, before: float) -> dict[str, float | None]:
    """Seconds at which each rung of accuracy on dev was reached, with those before; None: it was not."""
    lines = [json.loads(line) for line in folder.metrics_file.read_text().splitlines()]
    reached: dict[str, float | None] = {}
    for rung in RUNGS:
        times = [
            record["seconds"] for record in lines if record["kind"] == "eval" and record["accuracy"] >= rung
        ]
        reached[_percent(rung)] = round(before + times[0], 1) if times else None
    return reached


def progress(folder: RunFolder) -> dict[str, Any]:
    """How far the training came: its last lines, and the best accuracy on dev."""
    lines = [json.loads(line) for line in folder.metrics_file.read_text().splitlines()]
    trained = [record for record in lines if record["kind"] == "train"][-1:]
    accuracies = [record["accuracy"] for record in lines if record["kind"] == "eval"]
    steps = {key: trained[0][key] for key in ("step", "epoch", "seconds", "loss")} if trained else {}
    return {**steps, "best_dev_accuracy": max(accuracies, default=None)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--spec", type=Path, help="train this alone; default: the stages of docs/clevr.md")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides")
    parser.add_argument("--images", type=int, default=85_000, help="of all splits together")
    parser.add_argument("--seed", type=int, default=0, help="of the data")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--folder", type=Path, default=Path("runs/clevr_speedrun"))
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
        SpeedRun(options, console).go()
    except KeyboardInterrupt:
        console.print(f"{'time is up' if time_is_up.is_set() else 'interrupted'}; the same command goes on")
        raise SystemExit(0 if time_is_up.is_set() else 130) from None
    finally:
        timer.cancel()


class SpeedRun:
    """What ``main`` does, with a state that is kept in a file."""

    def __init__(self, options: argparse.Namespace, console: Console) -> None:
        self.options, self.console, self.reporter = options, console, Report(console)
        self.stages = [Stage(options.spec.stem, options.spec)] if options.spec else list(STAGES)
        self.device = choose_device(options.device)
        options.size = load_spec(self.stages[-1].spec, options.overrides).data.options.size[0]
        options.folder.mkdir(parents=True, exist_ok=True)
        self.path = options.folder / "speedrun.json"
        self.state: dict[str, Any] = json.loads(self.path.read_text()) if self.path.is_file() else {}
        self.state["device"] = device_name(self.device)
        self.runs: dict[str, str] = self.state.setdefault("runs", {})
        self.clocks: dict[str, float] = self.state.setdefault("stage_seconds", {})

    def save(self) -> None:
        write_json(self.path, self.state)

    def go(self) -> None:
        with self._timed(self.state, "data_seconds"):
            data = make_data(self.options, self.reporter)
        elapsed, reached = self.state["data_seconds"], dict.fromkeys(map(_percent, RUNGS))
        for number, stage in enumerate(self.stages):
            spec = self._spec(number, data)
            if len(self.stages) > 1:
                self.reporter.message(f"stage {number + 1} of {len(self.stages)}: {stage.name}")
            if spec.features.root is not None:
                elapsed += self._features(stage, spec)
            folder, result = self._train(stage, spec)
            if getattr(spec.data.options, "about", "scenes") == "scenes":
                reached |= {name: time for name, time in rungs(folder, elapsed).items() if not reached[name]}
            self.state["rungs"], self.state["progress"] = reached, progress(folder)
            self.state["result"] = None if result is None else result.as_dict()
            # A killed process leaves no other clock than that of the training.
            elapsed += max(self.clocks[stage.name], self.state["progress"].get("seconds", 0))
            self.state["seconds"] = elapsed
            self.save()
            if result is None:
                break
        for name, seconds in reached.items():
            when = "not reached" if seconds is None else f"after {seconds:,.0f} s"
            self.reporter.message(
                f"{name}% on dev: {when}; data took {self.state['data_seconds']:,.0f} s of it"
            )
        if result is None:
            raise KeyboardInterrupt
        print_result(self.console, result)
        self.reporter.message(f"written: {self.path}")

    def _spec(self, number: int, data: Path) -> Spec:
        stage = self.stages[number]
        # The checkpoint is chosen by dev, which the rungs are about; test is looked at once, at the end.
        dev = f"data.dev_images={min(1000, self.options.images // 20)}"
        ours = [dev, "eval.split=dev", "eval.final_split=test", f"data.root={data.resolve()}"]
        if number:
            ours.append(f"image_encoder.weights={self.runs[self.stages[0].name]}")
            ours.append(f"features.root={(self.options.folder / 'features').resolve()}")
        if number > 1:
            ours.append(f"train.init={self.runs[self.stages[number - 1].name]}")
        return load_spec(stage.spec, [*ours, *stage.overrides, *self.options.overrides])

    def _features(self, stage: Stage, spec: Spec) -> float:
        """Makes what is missing of the store; seconds spent on it, in all calls."""
        assert spec.features.root is not None
        clock = f"features of {stage.name}"
        with self._timed(self.clocks, clock):
            make_features(spec, spec.features.root, device=self.options.device)
        return self.clocks[clock]

    def _train(self, stage: Stage, spec: Spec) -> tuple[RunFolder, Result | None]:
        def created(folder: RunFolder) -> None:
            self.runs[stage.name] = str(folder.path.resolve())
            self.save()

        resume = RunFolder.open(self.runs[stage.name]) if stage.name in self.runs else None
        if resume is not None:
            same_experiment(resume, spec)
        with self._timed(self.clocks, stage.name):
            return run(
                spec,
                runs=self.options.folder,
                resume=resume,
                device=self.options.device,
                reporter=self.reporter,
                created=created,
            )

    @contextmanager
    def _timed(self, clocks: dict[str, Any], name: str) -> Iterator[None]:
        """Adds the seconds that pass to those of all calls before, however they end."""
        started = time.monotonic()
        try:
            yield
        finally:
            clocks[name] = clocks.get(name, 0.0) + time.monotonic() - started
            self.save()


if __name__ == "__main__":
    main()

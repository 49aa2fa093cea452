"""From nothing to an accuracy on generated CLEVR: data, training and evaluation on one machine, timed.

    python benchmarks/clevr_speedrun.py                # two cores or a GPU: 100,000 images of 128x128
    python benchmarks/clevr_speedrun.py --spec experiments/clevr/han_rn_plus_plus.toml    # from pixels; a GPU
    python benchmarks/clevr_speedrun.py --images 400 --set train.epochs=1     # does the program work?
    python benchmarks/clevr_speedrun.py --minutes 5            # as far as that goes; call it again to go on

It makes the data (train, val, test as 70:15:15), trains, and prints accuracy by group of questions against
time, with the time at which each rung of validation accuracy is reached, data included. At the end the best
checkpoint is measured on the test images, with its baselines. Without --spec it trains in the stages of
docs/clevr.md: an image encoder on attributes of objects, its features, short programs, all programs.

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


STAGES = (
    Stage("attributes", Path("experiments/clevr/attributes.toml")),
    Stage(
        "short programs",
        Path("experiments/clevr/han_mac.toml"),
        (
            "data.train_steps=8",
            "train.epochs=3",
            "train.schedule=constant",
            "aggregator.tally=false",
            "eval.final_split=val",
        ),
    ),
    Stage("all programs", Path("experiments/clevr/han_mac.toml")),
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


def _percent(rung: float) -> str:
    return f"{100 * rung:.1f}"


def rungs(folder: RunFolder, before: float) -> dict[str, float | None]:
    """Seconds at which each rung of validation accuracy was reached, with those before; None: it was not."""
    lines = [json.loads(line) for line in folder.metrics_file.read_text().splitlines()]
    reached: dict[str, float | None] = {}
    for rung in RUNGS:
        times = [
            record["seconds"] for record in lines if record["kind"] == "eval" and record["accuracy"] >= rung
        ]
        reached[_percent(rung)] = round(before + times[0], 1) if times else None
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
    parser.add_argument("--spec", type=Path, help="train this alone; default: the stages of docs/clevr.md")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides")
    parser.add_argument("--images", type=int, default=100_000, help="of train, val and test together")
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

    def save(self) -> None:
        write_json(self.path, self.state)

    def go(self) -> None:
        data = make_data(self.options, self.reporter, self.state, self.save)
        elapsed, reached = self.state["data_seconds"], dict.fromkeys(map(_percent, RUNGS))
        for number, stage in enumerate(self.stages):
            spec = self._spec(number, data)
            if len(self.stages) > 1:
                self.reporter.message(f"stage {number + 1} of {len(self.stages)}: {stage.name}")
            if spec.features.root is not None:
                elapsed += self._features(spec)
            folder, result = self._train(stage, spec)
            if getattr(spec.data.options, "about", "scenes") == "scenes":
                reached |= {name: time for name, time in rungs(folder, elapsed).items() if not reached[name]}
            self.state["rungs"], self.state["progress"] = reached, progress(folder)
            self.state["result"] = None if result is None else result.as_dict()
            self.save()
            elapsed += self.state["progress"].get("seconds", 0)
            if result is None:
                break
        for name, seconds in reached.items():
            when = "not reached" if seconds is None else f"after {seconds:,.0f} s"
            self.reporter.message(
                f"{name}% on val: {when}; data took {self.state['data_seconds']:,.0f} s of it"
            )
        if result is None:
            raise KeyboardInterrupt
        print_result(self.console, result)
        self.reporter.message(f"written: {self.path}")

    def _spec(self, number: int, data: Path) -> Spec:
        stage = self.stages[number]
        # The checkpoint is chosen by val, which the rungs are about; test is looked at once, at the end.
        ours = ["data.dev_images=0", "eval.split=val", "eval.final_split=test", f"data.root={data.resolve()}"]
        if number:
            ours.append(f"image_encoder.weights={self.runs[self.stages[0].name]}")
            ours.append(f"features.root={(self.options.folder / 'features').resolve()}")
        if number > 1:
            ours.append(f"train.init={self.runs[self.stages[number - 1].name]}")
        return load_spec(stage.spec, [*ours, *stage.overrides, *self.options.overrides])

    def _features(self, spec: Spec) -> float:
        """Makes what is missing of the store; seconds spent on it, in all calls."""
        assert spec.features.root is not None
        started = time.monotonic()
        try:
            make_features(spec, spec.features.root, device=self.options.device)
        finally:
            spent = self.state.get("features_seconds", 0.0) + time.monotonic() - started
            self.state["features_seconds"] = spent
            self.save()
        return float(spent)

    def _train(self, stage: Stage, spec: Spec) -> tuple[RunFolder, Result | None]:
        def created(folder: RunFolder) -> None:
            self.runs[stage.name] = str(folder.path.resolve())
            self.save()

        resume = RunFolder.open(self.runs[stage.name]) if stage.name in self.runs else None
        if resume is not None:
            same_experiment(resume, spec)
        return run(
            spec,
            runs=self.options.folder,
            resume=resume,
            device=self.options.device,
            reporter=self.reporter,
            created=created,
        )


if __name__ == "__main__":
    main()

"""A measurement, from a spec or a run to its record."""

from __future__ import annotations

import hashlib
import platform
import statistics
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

import attrs
import numpy as np
import torch

from hacore.console import Console, Silent
from hacore.data import Batch
from hacore.errors import HacoreError, describe_error
from hacore.machine.device import device_name, use_device
from hacore.machine.processes import World
from hacore.measure.cost import count_multiply_adds
from hacore.measure.predict import evaluating, predict
from hacore.spec import dump_spec
from hacore_bench.clock import Clock, clock_of
from hacore_bench.matrix import MatrixProduct
from hacore_bench.memory import Peaks, peaks, peaks_in_another_process, place
from hacore_bench.record import Bench, Machine, Matrix, Model, Row
from hacore_bench.subject import Subject, open_subject
from hacore_bench.timing import Limits, Timing, time_rounds
from hacore_bench.work import WHOLE, Work


def bench(
    target: str | Path,
    overrides: Sequence[str] = (),
    *,
    batch: Sequence[int] = (1, 32),
    seconds: float = 20.0,
    repeats: int = 50,
    all_cells: bool = True,
    memory: bool = True,
    device: str = "auto",
    console: Console | None = None,
    clock: Callable[[torch.device], Clock] = clock_of,
) -> Bench:
    """Measure the model of a spec, with random weights, or of a run folder.

    batch: numbers of questions. seconds: for the rounds of all batches together, after the warm-up.
    repeats: of each piece of work at most. Raises HacoreError for what cannot be opened, compiled or run.
    """
    console = console or Silent()
    batch = list(dict.fromkeys(batch))
    subject = open_subject(target, overrides, device=device, all_cells=all_cells)
    # First, so that the two processes do not compete.
    notes = list(subject.notes)
    found: Peaks = {}
    if memory and subject.device.type == "cpu":
        console.message("measuring peak memory in a process of its own")
        request = (str(target), overrides, str(subject.device), batch, all_cells)
        found, problems = peaks_in_another_process(*request)
        notes += problems
    use_device(subject.device)
    World().share_cores(subject.spec.train.threads, subject.device)
    measuring = _Measuring(
        subject, clock(subject.device), Limits(repeats=repeats, seconds=seconds / len(batch))
    )
    for questions in batch:
        measuring.time(questions, console)
    if memory and subject.device.type == "cuda":
        found = peaks(subject, measuring.works, batch)
    elif memory and subject.device.type != "cpu":
        notes.append(f"peak memory is not measured on {subject.device}")
    return measuring.record(str(target), found, notes)


class _Measuring:
    """The times of a subject, and its record."""

    def __init__(self, subject: Subject, clock: Clock, limits: Limits) -> None:
        self._subject, self._limits = subject, limits
        self.works = {name: Work(subject, model, clock) for name, model in subject.models.items()}
        self._product = MatrixProduct(subject.precision, subject.device, clock)
        self._timings: dict[int, Timing] = {}

    def time(self, questions: int, console: Console) -> None:
        """Time the work on batches of so many questions."""
        compiled, limits = self._subject.spec.train.compile, self._limits
        # Compiled models would share their code, made for the sizes of the first and for any of the second.
        groups = [[name] for name in self.works] if compiled else [[*self.works]]
        limits = attrs.evolve(limits, seconds=limits.seconds / len(groups))
        timing = self._timings[questions] = Timing(seconds={}, product=[], notes=[])
        for names in groups:
            if compiled:
                torch.compiler.reset()
            timing.add(self._time_together(names, questions, limits, console))

    def _time_together(
        self, names: Sequence[str], questions: int, limits: Limits, console: Console
    ) -> Timing:
        title = f"batches of {questions}" + (f", {names[0]}" if len(names) < len(self.works) else "")
        batches = {name: self._subject.batches(name, questions) for name in names}
        works = {name: self.works[name] for name in names}
        try:
            return time_rounds(
                *(works, batches, self._product, limits),
                lambda done: console.progress(title, done, max(done, limits.repeats)),
            )
        except torch._dynamo.exc.TorchDynamoException as error:
            problem = describe_error(error)[:300]
            raise HacoreError(
                f"train.compile = true: torch cannot compile the model: {problem}; set train.compile=false"
            ) from error
        finally:
            console.remove(title)

    def record(self, target: str, found: Peaks, notes: list[str]) -> Bench:
        """All that was measured."""
        subject = self._subject
        notes = [*notes, *(note for timing in self._timings.values() for note in timing.notes)]
        spent = statistics.median([value for timing in self._timings.values() for value in timing.product])
        speed = self._product.speed(spent)
        measured = [
            (name, questions)
            for questions, timing in self._timings.items()
            for name in dict.fromkeys(model for model, _, _ in timing.seconds)
        ]
        rows = [row for name, questions in measured for row in self._rows(name, questions, speed, found)]
        return Bench(
            name=subject.spec.name,
            target=target,
            spec_sha256=hashlib.sha256(dump_spec(subject.spec).encode()).hexdigest(),
            step=subject.step,
            dataset=subject.spec.data.use,
            fingerprint=subject.dataset.fingerprint,
            split=subject.split,
            machine=_machine(subject),
            matrix=Matrix(side=self._product.side, milliseconds=1e3 * spent, multiply_adds_per_second=speed),
            models=[self._model(name, questions) for name, questions in dict(measured).items()],
            rows=rows,
            notes=notes,
        )

    def _rows(self, name: str, questions: int, speed: float, found: Peaks) -> list[Row]:
        """The rows of a model with batches of so many questions."""
        subject, timing = self._subject, self._timings[questions]
        batches = subject.batches(name, questions)
        counts = self._multiply_adds(name, batches)
        rows = []
        for (model, part, work), seconds in timing.seconds.items():
            if model != name:
                continue
            lower, median, upper = (float(value) for value in np.quantile(seconds, (0.25, 0.5, 0.75)))
            count = counts.get(part) if work == "forward" else None
            peak = found.get(place(name, questions), {}).get(work) if part == WHOLE else None
            rows.append(
                Row(
                    model=name,
                    questions=questions,
                    images=len(batches[0].images),
                    part=part,
                    work=work,
                    milliseconds=1e3 * median,
                    lower=1e3 * lower,
                    upper=1e3 * upper,
                    repeats=len(seconds),
                    questions_per_second=questions / max(median, 1e-9),
                    multiply_adds=count,
                    matrix_share=None if count is None else count * questions / max(median, 1e-9) / speed,
                    peak_bytes=peak,
                )
            )
        return rows

    def _multiply_adds(self, name: str, batches: Sequence[Batch]) -> dict[str, int]:
        """Of one question, by part and for the whole: the mean over the batches that were timed."""
        counts = [
            count_multiply_adds(self._subject.models[name], batch, self._subject.precision)
            for batch in batches
        ]
        questions = sum(map(len, batches))
        by_part = {part: round(sum(count[part] for count in counts) / questions) for part in counts[0]}
        return {**by_part, WHOLE: sum(by_part.values())}

    def _model(self, name: str, questions: int) -> Model:
        model = self._subject.models[name]
        with evaluating(model):
            kept = [
                predict(model, batch, self._subject.precision).selection.counts_Q.float()
                for batch in self._subject.batches(name, questions)
            ]
        return Model(
            name=name,
            selector=self._subject.selector(name),
            kept=float(torch.cat(kept).mean()),
            cells=model.grid[0] * model.grid[1],
            parameters=sum(parameter.numel() for parameter in model.parameters()),
        )


def _machine(subject: Subject) -> Machine:
    return Machine(
        device=str(subject.device),
        device_name=device_name(subject.device),
        platform=platform.platform(),
        python=platform.python_version(),
        torch=torch.__version__,
        hacore=version("hacore"),
        threads=torch.get_num_threads(),
        precision=str(subject.precision).removeprefix("torch."),
        compile=subject.spec.train.compile,
    )

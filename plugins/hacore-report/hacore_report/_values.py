"""What was measured: its names, means over seeds, and how it is shown."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Any

import attrs

from hacore.errors import HacoreError, did_you_mean
from hacore_report._runs import Run

SHORT = ("by_group.{}.accuracy", "by_type.{}.accuracy", "training.{}", "baselines.{}.accuracy")
"""What a short name of a value may stand for."""
_MOST = 12
BASELINES = {"majority": "majority answer", "question_only": "question only"}


@attrs.frozen(kw_only=True)
class Value:
    """Something that was measured. name: as it was asked for; key: of result.json or the spec."""

    name: str
    key: str

    @property
    def share(self) -> bool:
        """Whether it lies in [0, 1] and is shown in percent."""
        last = self.key.rpartition(".")[2]
        return last in ("accuracy", "kept") or last.endswith("_accuracy")

    @property
    def timed(self) -> bool:
        """Whether it depends on the machine."""
        return self.key in ("training.seconds", "training.questions_per_second")

    @property
    def title(self) -> str:
        """With its unit."""
        if self.key == "training.seconds":
            return f"{self.name} (s)"
        return f"{self.name} (%)" if self.share else self.name

    def of(self, run: Run) -> float | None:
        """The number of a run, None where it has none. Raises HacoreError when it is not a number."""
        value = run.get(self.key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise HacoreError(f"{self.key}: is {value!r} in {run.path}; a table shows numbers")
        return float(value)

    @property
    def part(self) -> tuple[str, str] | None:
        """Of which questions it is the accuracy: ("by_type" or "by_group", its name), ("", "") for all.

        None where it is no accuracy on the final split.
        """
        if self.key == "accuracy":
            return "", ""
        kind, _, rest = self.key.partition(".")
        if kind in ("by_group", "by_type") and rest.endswith(".accuracy"):
            return kind, rest.removesuffix(".accuracy")
        return None

    def types(self, runs: Sequence[Run]) -> list[str] | None:
        """The question types that it is the accuracy of, None for all; runs: on the same data.

        Raises HacoreError where none of the results says which types a group has.
        """
        kind, name = self.part or ("", "")
        if kind != "by_group":
            return [name] if kind else None
        for run in runs:
            if name in (groups := run.result.groups or {}):
                return groups[name]
        raise HacoreError(
            f"{runs[0].path}: its result.json, of an earlier version, does not say which types are {name}; "
            f"choose types, as in --value {next(iter(runs[0].result.by_type), 'TYPE')}"
        )

    def baseline(self, name: str) -> Value | None:
        """The same of a baseline, where there is such a thing."""
        if self.part is None:
            return None
        kind, part = self.part
        return Value(
            name=name, key=f"baselines.{name}.{kind}.{part}" if kind else f"baselines.{name}.accuracy"
        )


@attrs.frozen(kw_only=True)
class Cell:
    """Mean and sample standard deviation (None for one run) over the runs of some seeds."""

    mean: float
    deviation: float | None
    seeds: tuple[int, ...]
    runs: tuple[str, ...]


def value_named(name: str, runs: Sequence[Run]) -> Value:
    """The value that a name stands for: a dotted key, or a group, type or time by its own name.

    Raises HacoreError when no run has it, or when the name may stand for several.
    """
    known = {key for run in runs for key in (*run.measured, *run.spec)}
    if name in known:
        return Value(name=name, key=name)
    keys = [key for key in (pattern.format(name) for pattern in SHORT) if key in known]
    if len(keys) == 1:
        return Value(name=name, key=keys[0])
    if keys:
        raise HacoreError(f"value '{name}' may be {' or '.join(keys)}; give one of these")
    numbers = sorted(key for key, value in runs[0].measured.items() if isinstance(value, (int, float)))
    short = list(
        dict.fromkeys(key.split(".")[1] for key in numbers if key.startswith(("by_group.", "by_type.")))
    )
    raise HacoreError(
        f"no run has a value '{name}'{did_you_mean(name, [*numbers, *short])}; values are the numbers of "
        f"result.json, as in {', '.join(_examples(numbers, short))}{', and more' * (len(short) > _MOST)}"
    )


def summary(value: Value, runs: Sequence[Run]) -> Cell | None:
    """Mean and deviation of a value; None where no run has it."""
    pairs = [(run, number) for run in runs if (number := value.of(run)) is not None]
    if not pairs:
        return None
    numbers = [number for _, number in pairs]
    return Cell(
        mean=statistics.fmean(numbers),
        deviation=statistics.stdev(numbers) if len(numbers) > 1 else None,
        seeds=tuple(run.seed for run, _ in pairs),
        runs=tuple(run.place for run, _ in pairs),
    )


def baseline(value: Value, name: str, runs: Sequence[Run]) -> Cell | None:
    """The same value of a baseline: mean over the runs of each seed, then over seeds.

    None where there is no such thing, or where the runs are not of the same data.
    """
    base = value.baseline(name)
    if base is None or len({(run.result.data.fingerprint, run.result.split) for run in runs}) > 1:
        return None
    seeds = sorted({run.seed for run in runs})
    cells = [summary(base, [run for run in runs if run.seed == seed]) for seed in seeds]
    means = [cell.mean for cell in cells if cell]
    if not means:
        return None
    return Cell(
        mean=statistics.fmean(means),
        deviation=statistics.stdev(means) if len(means) > 1 else None,
        seeds=tuple(seed for seed, cell in zip(seeds, cells, strict=True) if cell),
        runs=tuple(path for cell in cells if cell for path in cell.runs),
    )


def decimals(value: Value, cells: Sequence[Cell | None], wanted: int | None) -> int:
    """Digits after the point that suit all cells of a column, or those that are wanted."""
    if wanted is not None:
        return wanted
    if value.share:
        return 1
    largest = max((abs(cell.mean) for cell in cells if cell), default=0.0)
    if all(cell is None or cell.mean == int(cell.mean) for cell in cells) or largest >= 100:
        return 0
    return max(0, 2 - math.floor(math.log10(largest))) if largest else 0


def sort_key(value: Any) -> tuple[Any, ...]:
    """A sort key: numbers by size, then everything else as it came, then what is missing."""
    if isinstance(value, (int, float)):
        return (0, value)
    return (2, 0) if value is None else (1, 0)


def _examples(numbers: list[str], short: list[str]) -> list[str]:
    usual = ("accuracy", "kept", "training.seconds", "training.questions_per_second", "multiply_adds")
    return [key for key in usual if key in numbers] + short[:_MOST]

"""What ``hacore bench --json`` prints, field by field. Imports no torch."""

from __future__ import annotations

from typing import Any

import attrs

from hacore.machine.records import FORMAT, Amount, Count, Record


@attrs.frozen(kw_only=True, slots=False, eq=False)
class Machine(Record):
    """Where it was measured, and how the model ran. compile: whether by ``torch.compile``."""

    device: str
    device_name: str
    platform: str
    python: str
    torch: str
    hacore: str
    threads: Count
    precision: str
    compile: bool


@attrs.frozen(kw_only=True, slots=False, eq=False)
class Matrix(Record):
    """The product of two square matrices of ``side`` rows, by the same device, threads and precision."""

    side: Count
    milliseconds: Amount
    multiply_adds_per_second: Amount


@attrs.frozen(kw_only=True, slots=False, eq=False)
class Model(Record):
    """A model that was measured.

    name: "own", or "all-cells", the same model with all cells. kept: the mean number of cells that its
    selector gives, of ``cells``.
    """

    name: str
    selector: dict[str, Any]
    kept: Amount
    cells: Count
    parameters: Count


@attrs.frozen(kw_only=True, slots=False, eq=False)
class Row(Record):
    """One piece of a model's work on one batch.

    model: its name. questions, images: of the batch. part: a stage, "head", "loss" or "whole". work:
    "forward" in evaluation, "backward", or "step", a whole training step. milliseconds: the median of
    ``repeats``; lower, upper: the quartiles. multiply_adds: of one question; matrix_share: how many of
    them a second, as a share of what the matrix product does. peak_bytes: beyond weights, state of the
    optimiser and batch. What does not apply is None.
    """

    model: str
    questions: Count
    images: Count
    part: str
    work: str
    milliseconds: Amount
    lower: Amount
    upper: Amount
    repeats: Count
    questions_per_second: Amount
    multiply_adds: Count | None = None
    matrix_share: Amount | None = None
    peak_bytes: Count | None = None


@attrs.frozen(kw_only=True, slots=False, eq=False)
class Bench(Record):
    """A whole measurement.

    target: the spec or the run folder. spec_sha256: of the resolved spec. step: the training step of the
    weights; None: they are random. fingerprint: of the data. notes: what was left out, and why.
    """

    name: str
    target: str
    spec_sha256: str
    step: Count | None
    dataset: str
    fingerprint: str
    split: str
    machine: Machine
    matrix: Matrix
    models: list[Model]
    rows: list[Row]
    notes: list[str]
    format: int = FORMAT

    def row(self, model: str, questions: int, part: str, work: str) -> Row | None:
        """The row of a piece of work, if there is one."""
        wanted = (model, questions, part, work)
        rows = ((row.model, row.questions, row.part, row.work) for row in self.rows)
        return next((row for row, key in zip(self.rows, rows, strict=True) if key == wanted), None)

"""result.json: what a finished run is worth, and what it cost. Imports no torch."""

from __future__ import annotations

from typing import Any

import attrs

from hacore.machine.records import FORMAT, Amount, Count, Record, Share, optional
from hacore.measure.scores import Baseline, Part


@attrs.frozen(kw_only=True, slots=False, eq=False)
class DataRecord(Record):
    """The data that were measured. features: names the store that the images were read from."""

    dataset: str
    fingerprint: str
    features: str | None = optional()


@attrs.frozen(kw_only=True, slots=False, eq=False)
class Training(Record):
    """What the training cost: seconds and steps over all sessions, questions a second over all processes.

    threads: of each process. precision: "float32" or "bfloat16". Earlier versions measured less.
    """

    seconds: Amount
    steps: Count | None = optional()
    questions_per_second: Amount | None = optional()
    processes: Count | None = optional()
    threads: Count | None = optional()
    device: str | None = optional()
    precision: str | None = optional()


@attrs.frozen(kw_only=True, slots=False, eq=False)
class Measured(Record):
    """A model's scores on a split, see ``hacore.measure.scores.Scores``, its baselines and its costs.

    name: of the run. What needs answers is None, or empty, where they are not public. oracle: whether a
    component was told what the questions are about. multiply_adds: of one question, in all and by stage.
    """

    name: str
    split: str
    questions: Count
    loss: float | None
    accuracy: Share | None
    kept: Share
    by_type: dict[str, Part]
    by_group: dict[str, Part]
    baselines: dict[str, Baseline]
    oracle: bool = False
    multiply_adds: Count | None = optional()
    multiply_adds_by_stage: dict[str, Count] | None = optional()
    format: int = FORMAT


@attrs.frozen(kw_only=True, slots=False, eq=False)
class Result(Measured):
    """The content of result.json: a run's best model on the final split.

    checkpoint: ``step`` of its weights and ``SPLIT_accuracy``, by which it was chosen.
    dense_training: whether training saw all cells and only evaluation drops some. groups: the question types
    of each group.
    """

    data: DataRecord
    seed: Count
    checkpoint: dict[str, Count | float | None]
    parameters: Count | None = optional()
    dense_training: bool = False
    training: Training | None = optional()
    groups: dict[str, list[str]] | None = optional()


@attrs.frozen(kw_only=True, slots=False, eq=False)
class Evaluated(Measured):
    """What ``hacore eval`` gives: the model of the run folder ``run``, of training step ``step``.

    selector: its resolved table, of the run's own or of another. data: what it was measured on, which earlier
    versions did not say. predictions: the file that has them.
    """

    run: str
    step: Count
    selector: dict[str, Any]
    data: DataRecord | None = optional()
    predictions: str

"""What a valid spec costs, before anything is trained."""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np

from hacore.data import Dataset
from hacore.errors import HacoreError
from hacore.machine.device import choose_device
from hacore.measure.cost import StageCost, stage_costs
from hacore.measure.predict import precision_name, precision_of
from hacore.model.compose import compose
from hacore.model.opening import dataset_class, open_checked, with_given
from hacore.notebooks import html_of
from hacore.spec import Overrides, SpecLike, load_spec
from hacore.train.sampler import make_sampler, total_steps
from hacore.workflow.setup import set_up


@attrs.frozen(kw_only=True)
class Check:
    """What ``hacore check`` tells of a valid spec.

    words: of a question, for which the multiply-adds are counted: the mean of the training split.
    questions: by split. precision: of a training that begins on this machine. features: what the store holds
    that the spec names, in words. missing: why the data cannot be read; the rest is then as far as
    the dataset's ``expected`` goes.
    """

    stages: list[StageCost]
    words: int
    steps: int | None = None
    steps_per_epoch: int | None = None
    questions: dict[str, int] = attrs.field(factory=dict)
    precision: str
    features: str | None = None
    missing: str | None = None
    _repr_html_ = html_of


def check(spec: SpecLike, overrides: Overrides = (), *, dataset: Dataset[Any] | None = None) -> Check:
    """Compose the model of a spec on its data and say what it costs. Raises when it does not fit.

    spec, overrides: as ``load_spec`` takes them. dataset: an object to use as the data.
    """
    spec = load_spec(spec, with_given(overrides, dataset))
    precision = precision_name(precision_of(spec.train, choose_device()))
    try:
        opened = open_checked(spec, dataset)
    except HacoreError as error:
        expected = None if dataset is not None else dataset_class(spec.data).expected(spec.data.options)
        if expected is None:
            raise
        stages = stage_costs(compose(spec, expected[0]), spec, *expected)
        return Check(stages=stages, words=expected[1], precision=precision, missing=str(error))
    model, dataset = set_up(spec, opened)
    questions = {split: dataset.questions(split) for split in dataset.splits}
    words = max(1, round(float(np.diff(questions["train"].offsets).mean())))
    sampler = make_sampler(spec, questions["train"])
    return Check(
        stages=stage_costs(model, spec, dataset.sizes(), words),
        words=words,
        steps=total_steps(spec.train, sampler),
        steps_per_epoch=sampler.steps_per_epoch,
        questions={split: len(columns) for split, columns in questions.items()},
        precision=precision,
        features=str(dataset.store) if dataset.store else None,
    )

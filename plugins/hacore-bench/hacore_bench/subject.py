"""What is measured: a model with its data, and the same model with all cells."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import torch

from hacore.data import Batch, Dataset, make_batch
from hacore.errors import HacoreError
from hacore.machine.device import choose_device
from hacore.measure.predict import precision_of
from hacore.model.network import VQAModel
from hacore.model.opening import open_checked
from hacore.model.stored import with_features
from hacore.runs.places import changed, read_changes, says_where
from hacore.runs.trained import load
from hacore.spec import Spec, load_spec, resolve, set_values, spec_table
from hacore.workflow.setup import require_objects, set_up

OWN, ALL_CELLS = "own", "all-cells"
_BATCHES = 8  # different ones of a few questions, as one question may be longer than others
_HOW_IT_RUNS = re.compile(r"train\.(precision|compile|threads)\s*=")


@attrs.frozen(kw_only=True, eq=False)
class Subject:
    """A model, and the same one with all cells, by name. dataset: as the model reads it.

    step: the training step of the weights; None: they are random. notes: what could not be had.
    """

    spec: Spec
    dataset: Dataset[Any]
    models: dict[str, VQAModel]
    device: torch.device
    precision: torch.dtype
    step: int | None
    notes: tuple[str, ...]

    @property
    def split(self) -> str:
        """The questions are of this split, whose answers are known."""
        return self.spec.eval.split

    def selector(self, name: str) -> dict[str, Any]:
        """The table of a model's selector."""
        if name == ALL_CELLS:
            return {"use": ALL_CELLS}
        table: dict[str, Any] = spec_table(self.spec)["selector"]
        return table

    def batches(self, name: str, questions: int) -> list[Batch]:
        """Batches of so many questions, spread evenly over the split, for one of the models.

        Few questions make several batches. Raises HacoreError where the split has fewer questions.
        """
        asked, images = self.dataset.questions(self.split), self.dataset.inputs(self.split)
        if questions > len(asked):
            raise HacoreError(
                f"--batch {questions}: split '{self.split}' has only {len(asked)} questions; choose fewer"
            )
        count = min(max(1, _BATCHES // questions), len(asked) // questions)
        rows = np.linspace(0, len(asked) - 1, questions * count).round().astype(np.int64)
        objects = self.dataset.objects(self.split) if self.models[name].oracle else None
        return [
            make_batch(asked, images, rows[first::count], objects).to(self.device) for first in range(count)
        ]


def open_subject(
    target: str | Path, overrides: Sequence[str] = (), *, device: str = "auto", all_cells: bool = True
) -> Subject:
    """What a spec or a run folder stands for.

    Raises HacoreError for what cannot be opened. That there is no model with all cells is a note.
    """
    chosen = choose_device(device)
    if Path(target).is_dir() or (Path(target).parent == Path("zoo") and not Path(target).is_file()):
        return _of_run(target, overrides, chosen, all_cells)
    return _of_spec(target, overrides, chosen, all_cells)


def _of_spec(target: str | Path, overrides: Sequence[str], device: torch.device, all_cells: bool) -> Subject:
    spec = load_spec(target, overrides)
    images = open_checked(spec)
    model, dataset = set_up(spec, images)
    require_objects(model, dataset, spec, spec.eval.split)

    def other() -> VQAModel:
        return set_up(resolve({**spec_table(spec), "selector": {"use": ALL_CELLS}}), images)[0]

    models, notes = _beside(spec, model, other if all_cells else None)
    return Subject(
        spec=spec,
        dataset=dataset,
        models={name: model.to(device).eval() for name, model in models.items()},
        device=device,
        precision=precision_of(spec.train, device),
        step=None,
        notes=notes,
    )


def _of_run(target: str | Path, overrides: Sequence[str], device: torch.device, all_cells: bool) -> Subject:
    ways = [words for words in overrides if _HOW_IT_RUNS.match(words)]
    trained = load(target, device=str(device))
    trained = changed(trained, read_changes([words for words in overrides if words not in ways]))
    if ways:
        table = spec_table(trained.spec)
        set_values(table, ways)
        trained = attrs.evolve(trained, spec=resolve(table))
    spec = trained.spec
    asked = any(words.startswith("train.precision") for words in ways)
    require_objects(trained.model, trained.dataset, spec, spec.eval.split)
    with says_where(trained.folder, spec):
        dataset = with_features(trained.dataset, spec, trained.model)

    def other() -> VQAModel:
        return trained.with_selector(use=ALL_CELLS).model

    models, notes = _beside(spec, trained.model, other if all_cells else None)
    return Subject(
        spec=spec,
        dataset=dataset,
        models=models,
        device=device,
        precision=precision_of(spec.train, device) if asked else trained.precision,
        step=trained.step,
        notes=notes,
    )


def _beside(
    spec: Spec, model: VQAModel, other: Callable[[], VQAModel] | None
) -> tuple[dict[str, VQAModel], tuple[str, ...]]:
    """The model, with the other one if it can be had; and a note if it cannot."""
    if other is None:
        return {OWN: model}, ()
    if spec.selector.use == ALL_CELLS:
        return {OWN: model}, ("the model has all cells itself, so there is nothing to compare it with",)
    try:
        return {OWN: model, ALL_CELLS: other()}, ()
    except HacoreError as error:
        return {OWN: model}, (f"not compared with all cells: {error}".replace("\n", "; "),)

"""The best model of a run, measured: at the end of the run, and whenever it is asked for again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import torch

from hacore.data import Dataset
from hacore.errors import RunError
from hacore.machine.files import load_tensors, write_json
from hacore.measure.baselines import majority_baseline, question_only_baseline
from hacore.measure.cost import mean_multiply_adds
from hacore.measure.evaluation import evaluate
from hacore.measure.scores import Baseline
from hacore.model.compose import compose_question_only
from hacore.model.stored import with_features
from hacore.model.weights import load_model
from hacore.runs import Result, RunFolder
from hacore.runs.places import changed, read_changes, says_where
from hacore.runs.result import DataRecord, Evaluated, Training
from hacore.runs.trained import Trained, load
from hacore.spec import Overrides, Spec, spec_table
from hacore.workflow.setup import require_objects


def measure(trained: Trained, training: Training) -> Result:
    """The result of a run: its best checkpoint on the final split, with baselines; writes the predictions.

    training: what it cost.
    """
    spec, dataset, model = trained.spec, trained.dataset, trained.model
    path = trained.folder.checkpoint()
    tensors, state = load_tensors(path)
    load_model(path, tensors, model)
    split = spec.eval.final_split
    measured = _measured(trained, dataset, split)
    if spec.eval.baseline_steps and split not in dataset.unanswered:
        measured["baselines"]["question_only"] = _question_only(trained, dataset, split)
    return Result(
        **measured,
        data=_record(spec, dataset),
        seed=spec.seed,
        checkpoint={"step": state["step"], f"{spec.eval.split}_accuracy": state["best"]},
        parameters=sum(p.numel() for p in model.parameters()),
        dense_training=model.selector.dense_training,
        training=training,
        groups={name: list(types) for name, types in dataset.groups.items()},
    )


def evaluate_run(
    run: RunFolder | Trained | str | Path,
    overrides: Overrides = (),
    *,
    dataset: Dataset[Any] | None = None,
    split: str | None = None,
    device: str = "auto",
) -> Evaluated:
    """Measure a run's best model on a split (default: the spec's final one).

    Writes the predictions, and what is returned beside them, with the suffix ``.json``. run: its folder, or a
    model that is loaded, on its own device. overrides: as of ``hacore eval``. dataset: to measure it on.
    """
    trained: Trained = run if isinstance(run, Trained) else load(run, device=device)
    trained = changed(trained if dataset is None else trained.with_dataset(dataset), read_changes(overrides))
    split = split or trained.spec.eval.final_split
    if split not in trained.dataset.splits:
        raise RunError(
            f"{trained.folder.path}: dataset '{trained.spec.data.use}' has no split '{split}'; "
            f"it has {', '.join(trained.dataset.splits)}"
        )
    require_objects(trained.model, trained.dataset, trained.spec, split)
    with says_where(trained.folder, trained.spec):
        dataset = with_features(trained.dataset, trained.spec, trained.model)
    predictions = trained.folder.predictions_file(split, trained.spec, trained.other_data)
    result = Evaluated(
        **_measured(trained, dataset, split),
        run=str(trained.folder.path),
        step=trained.step,
        selector=spec_table(trained.spec)["selector"],
        data=_record(trained.spec, dataset),
        predictions=str(predictions),
    )
    write_json(predictions.with_suffix(".json"), result.as_dict())
    return result


def _record(spec: Spec, dataset: Dataset[Any]) -> DataRecord:
    store = dataset.store.fingerprint if dataset.store else None
    return DataRecord(dataset=spec.data.use, fingerprint=dataset.fingerprint, features=store)


def _measured(trained: Trained, dataset: Dataset[Any], split: str) -> dict[str, Any]:
    """The values of ``hacore.runs.result.Measured``; writes the predictions."""
    model = trained.model
    scores = evaluate(
        *(model, dataset, split),
        device=trained.device,
        batch_images=trained.spec.eval.batch_images,
        precision=trained.precision,
        predictions=trained.folder.predictions_file(split, trained.spec, trained.other_data),
    )
    costs = mean_multiply_adds(model, dataset, split, precision=trained.precision)
    values = {"name": trained.spec.name, "split": split, **attrs.asdict(scores, recurse=False)}
    values |= {"oracle": model.oracle, "multiply_adds": sum(costs.values()), "multiply_adds_by_stage": costs}
    if split in dataset.unanswered:
        return {**values, "loss": None, "accuracy": None, "by_type": {}, "by_group": {}, "baselines": {}}
    return {**values, "baselines": {"majority": majority_baseline(dataset, split)}}


def _question_only(trained: Trained, dataset: Dataset[Any], split: str) -> Baseline:
    spec = trained.spec
    torch.manual_seed(spec.seed)
    model = compose_question_only(spec, dataset.sizes())
    return question_only_baseline(
        *(dataset, split, model), steps=spec.eval.baseline_steps, seed=spec.seed, device=trained.device
    )

"""What one does with a spec or a run: check it, run it, load it, evaluate it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import torch

from hacore.data import Dataset
from hacore.datasets import open_dataset
from hacore.errors import HacoreError, RunError
from hacore.features.describe import with_features
from hacore.files import load_tensors, write_json
from hacore.inputs import Inputs
from hacore.launch import run_processes
from hacore.measure.cost import StageCost, mean_multiply_adds, stage_costs
from hacore.measure.evaluation import evaluate, majority_baseline, question_only_baseline
from hacore.measure.metrics import Scores
from hacore.memory import keep_freed_memory
from hacore.model import VQAModel, compose, compose_question_only, label
from hacore.observers import Named, choose, observer_flags
from hacore.runs import RunFolder, describe_environment, device_name
from hacore.spec import Spec
from hacore.train.checkpoint import load_model
from hacore.train.distributed import World, barrier, broadcast_text, launched, world
from hacore.train.observing import Observers
from hacore.train.progress import Reporter, Silent
from hacore.train.start import start_from
from hacore.train.trainer import Trainer, make_sampler, total_steps
from hacore.trained import Trained


@attrs.frozen(kw_only=True)
class Check:
    """What ``hacore check`` tells of a valid spec."""

    stages: list[StageCost]
    words: int
    """Words of the question that the multiply-adds are counted for: the mean of the training split."""
    steps: int
    steps_per_epoch: int
    questions: dict[str, int]
    """Questions by split."""
    features: str | None
    """What the store holds that the spec names, in words."""


_DEVICES = "auto, cpu, cuda, cuda:INDEX or mps"


def choose_device(name: str = "auto") -> torch.device:
    """``auto`` (a CUDA GPU if there is one, else the CPU), ``cpu``, ``cuda``, ``cuda:1`` or ``mps``."""
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?|mps", name):
        raise HacoreError(f"no device '{name}'; choose {_DEVICES}")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "mps" and not torch.backends.mps.is_available():
        raise HacoreError(f"device 'mps' cannot be used: torch finds none here; choose {_DEVICES}")
    try:
        device = torch.device(name)
        if name == "cuda" and "LOCAL_RANK" in os.environ:
            device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = (str(error) or "not available").splitlines()[0]
        raise HacoreError(f"device '{name}' cannot be used: {reason}; choose {_DEVICES}") from None
    return device


def _open_checked(spec: Spec) -> Dataset[Any]:
    """The dataset, which has the splits that the spec names."""
    dataset = open_dataset(spec.data)
    for key, split in (
        ("train", "train"),
        ("eval.split", spec.eval.split),
        ("eval.final_split", spec.eval.final_split),
    ):
        if split not in dataset.splits:
            raise HacoreError(
                f"{key}: dataset '{spec.data.use}' has no split '{split}'; it has {', '.join(dataset.splits)}"
            )
        if split in dataset.unanswered and key != "eval.final_split":
            known = [name for name in dataset.splits if name not in dataset.unanswered]
            raise HacoreError(
                f"{key}: the answers of split '{split}' are not public; splits with answers: "
                f"{', '.join(known)}"
            )
    return dataset


def _compose(spec: Spec, dataset: Dataset[Any]) -> tuple[VQAModel, Dataset[Any]]:
    """The model of a spec, its random start given by the seed, and the dataset as the model reads it.

    Raises HacoreError where they do not go together.
    """
    torch.manual_seed(spec.seed)
    model = compose(spec, dataset.sizes())
    if model.oracle and dataset.objects(spec.eval.final_split) is None:
        raise HacoreError(
            f"{label('dataset', spec.data)} does not know which objects a question is about, which an oracle "
            f"looks at: {label('selector', spec.selector)}, {label('aggregator', spec.aggregator)}; choose "
            "others, or data that know"
        )
    return model, with_features(dataset, spec, model)


def check(spec: Spec) -> Check:
    """Compose the model of a spec on its data and say what it costs. Raises when it does not fit."""
    model, dataset = _compose(spec, _open_checked(spec))
    questions = {split: dataset.questions(split) for split in dataset.splits}
    words = max(1, round(float(np.diff(questions["train"].offsets).mean())))
    sampler = make_sampler(spec, questions["train"])
    return Check(
        stages=stage_costs(model, spec, dataset.sizes(), words),
        words=words,
        steps=total_steps(spec.train, sampler),
        steps_per_epoch=sampler.steps_per_epoch,
        questions={split: len(columns) for split, columns in questions.items()},
        features=str(dataset.store) if dataset.store else None,
    )


def run(
    spec: Spec,
    *,
    runs: str | Path = "runs",
    resume: RunFolder | None = None,
    device: str = "auto",
    reporter: Reporter | None = None,
    log: Named = (),
    without: Collection[str] = (),
    report: bool = True,
    created: Callable[[RunFolder], None] = lambda folder: None,
) -> tuple[RunFolder, dict[str, Any] | None]:
    """Train and measure a spec; returns the run folder and the content of its result.json.

    runs: folder that holds run folders. resume: go on with this run. log: observers beside those that every
    run has, by name or with options, as ``{"tensorboard": {"pictures": 4}}``. without: names of observers
    that are left out; ``report = False`` stands for ``["report"]``. created: called once with the folder
    before training.
    The result is None when the training was interrupted; resuming a finished run returns its result as it
    is. In a process started by torchrun this joins the others; only rank 0 reports, has observers and
    returns a result.
    """
    reporter = reporter or Silent()
    without = [*without, *([] if report else ["report"])]
    chosen, place = choose(log, without), choose_device(device)
    if resume is not None and resume.result_file.is_file():
        if launched() and os.environ["RANK"] != "0":
            return resume, None
        reporter.message(f"finished already; 'hacore eval {resume.path}' measures the model again")
        return resume, resume.result()
    if spec.train.processes > 1 and not launched():
        # Here first, so that data and components that do not fit are reported once, before a folder is made.
        model, dataset = _compose(spec, _open_checked(spec))
        _start(spec, model, Inputs.of(dataset), resume)
        environment = describe_environment(spec, place, spec.train.processes)
        folder = resume or RunFolder.create(spec, runs, environment)
        created(folder)
        run_processes(folder, spec.train.processes, device, observer_flags(log, without))
        return folder, folder.result() if folder.result_file.is_file() else None
    if place.type == "cuda":
        torch.cuda.set_device(place)
    elif place.type == "cpu":
        keep_freed_memory()
    leads = not launched() or os.environ["RANK"] == "0"
    with Observers(chosen if leads else [], place) as watching:
        return _run_here(spec, runs, resume, place, reporter, watching, created)


def _run_here(
    spec: Spec,
    runs: str | Path,
    resume: RunFolder | None,
    device: torch.device,
    reporter: Reporter,
    observers: Observers,
    created: Callable[[RunFolder], None],
) -> tuple[RunFolder, dict[str, Any] | None]:
    """The run in this process, or this process's share of it."""
    with world(device) as here:
        if spec.train.threads:
            torch.set_num_threads(spec.train.threads)
        elif here.processes > 1 and device.type == "cpu":
            torch.set_num_threads(max(1, (os.cpu_count() or 1) // here.processes))
        if resume is not None and here.leads:
            resume.tidy()
        model, dataset = _compose(spec, _open_together(spec, here))
        inputs = Inputs.of(dataset)
        if here.rank:
            torch.manual_seed(spec.seed + here.rank)  # dropout and the like differ between processes
        said = _start(spec, model, inputs, resume)
        folder = _folder(spec, runs, resume, device, here)
        if here.leads:
            if resume is None:
                created(folder)
            if not folder.inputs_file.is_file():
                inputs.write(folder.inputs_file)
        if said and here.leads:
            reporter.message(said)
        trainer = Trainer(
            *(spec, dataset, model, folder),
            device=device,
            world=here,
            reporter=reporter,
            observers=observers,
        )
        trainer.train()
    # Measured by one process that has left the others: a sum over all of them would wait for ever.
    if not trainer.finished or not here.leads:
        return folder, None
    trained = Trained(
        folder=folder, spec=spec, inputs=inputs, model=model.eval(), device=device, opened=dataset
    )
    seconds, steps = trainer.at.seconds, trainer.at.step
    result = measure(trained)
    result["training"] = {
        "seconds": round(seconds, 1),
        "steps": steps,
        "questions_per_second": round(_questions_seen(spec, dataset, steps) / max(seconds, 1e-9), 1),
        "processes": here.processes,
        "threads": torch.get_num_threads(),
        "device": device_name(device),
    }
    write_json(folder.result_file, result)
    observers.end(result, attrs.evolve(trained, step=result["checkpoint"]["step"]))
    return folder, result


def _questions_seen(spec: Spec, dataset: Dataset[Any], steps: int) -> int:
    questions = dataset.questions("train")
    sampler = make_sampler(spec, questions)
    epochs, rest = divmod(steps, sampler.steps_per_epoch)  # an epoch asks every question once
    return epochs * len(questions) + sum(sampler.count(steps - 1 - step) for step in range(rest))


def _start(spec: Spec, model: VQAModel, inputs: Inputs, resume: RunFolder | None) -> str:
    """What ``train.init`` gave the model; nothing where the run goes on from a checkpoint."""
    if spec.train.init is None or (resume is not None and resume.last.is_file()):
        return ""
    return start_from(model, spec.train, inputs)


def _open_together(spec: Spec, here: World) -> Dataset[Any]:
    """The leading process prepares the data before the others look for it."""
    if not here.leads:
        barrier()
    dataset = _open_checked(spec)
    if here.leads:
        barrier()
    return dataset


def _folder(
    spec: Spec, runs: str | Path, resume: RunFolder | None, device: torch.device, here: World
) -> RunFolder:
    if resume is not None:
        return resume
    path = ""
    if here.leads:
        path = str(RunFolder.create(spec, runs, describe_environment(spec, device, here.processes)).path)
    return RunFolder(broadcast_text(path))


def measure(trained: Trained) -> dict[str, Any]:
    """Evaluate the best checkpoint of a run on the final split, with baselines; writes the predictions."""
    spec, dataset, model, folder = trained.spec, trained.dataset, trained.model, trained.folder
    path = folder.checkpoint()
    tensors, state = load_tensors(path)
    load_model(path, tensors, model)
    split = spec.eval.final_split
    scores = _evaluate(trained, split)
    result: dict[str, Any] = {
        "name": spec.name,
        "split": split,
        "data": {"dataset": spec.data.use, "fingerprint": dataset.fingerprint},
        "seed": spec.seed,
        **_measured(scores, dataset, split),
        "checkpoint": {"step": state["step"], f"{spec.eval.split}_accuracy": state["best"]},
        "parameters": sum(p.numel() for p in model.parameters()),
        "oracle": model.oracle,
    }
    if dataset.store:
        result["data"]["features"] = dataset.store.fingerprint
    costs = mean_multiply_adds(model, dataset, split, precision=trained.precision)
    result["multiply_adds"], result["multiply_adds_by_stage"] = sum(costs.values()), costs
    if spec.eval.baseline_steps and split not in dataset.unanswered:
        torch.manual_seed(spec.seed)
        question_only = compose_question_only(spec, dataset.sizes())
        baseline = question_only_baseline(
            *(dataset, split, question_only),
            steps=spec.eval.baseline_steps,
            seed=spec.seed,
            device=trained.device,
        )
        result["baselines"]["question_only"] = attrs.asdict(baseline)
    return result


def _evaluate(trained: Trained, split: str) -> Scores:
    """Of a trained model on a split, as its spec says; writes the predictions."""
    return evaluate(
        *(trained.model, trained.dataset, split),
        device=trained.device,
        batch_images=trained.spec.eval.batch_images,
        precision=trained.precision,
        predictions=trained.folder.predictions_file(split),
    )


def _measured(scores: Scores, dataset: Dataset[Any], split: str) -> dict[str, Any]:
    """Scores beside the majority answer; no accuracy where the answers are not public."""
    if split in dataset.unanswered:
        unknown: dict[str, Any] = {
            "loss": None,
            "accuracy": None,
            "by_type": {},
            "by_group": {},
            "baselines": {},
        }
        return {**scores.table(), **unknown}
    return {**scores.table(), "baselines": {"majority": attrs.asdict(majority_baseline(dataset, split))}}


def load(run: RunFolder | str | Path, *, device: str = "auto") -> Trained:
    """The best model of a run, ready to be used. The data are not opened before they are needed.

    Features that it was trained on are not needed: it encodes images itself.

    run: a run folder or its path. Raises RunError when it is none or has no checkpoint.
    """
    folder = run if isinstance(run, RunFolder) else RunFolder.open(run)
    chosen = choose_device(device)
    path = folder.checkpoint()
    spec = folder.spec()
    # Runs of before there was such a file open their data.
    dataset = None if folder.inputs_file.is_file() else open_dataset(spec.data)
    inputs = Inputs.read(folder.inputs_file) if dataset is None else Inputs.of(dataset)
    model = compose(spec, inputs.sizes())
    if spec.features.root is not None:
        model.stored_dtype = getattr(torch, inputs.stored_dtype or "float32")
    tensors, state = load_tensors(path)
    load_model(path, tensors, model)
    return Trained(
        folder=folder,
        spec=spec,
        inputs=inputs,
        model=model.to(chosen).eval(),
        device=chosen,
        step=state["step"],
        opened=dataset,
    )


def evaluate_run(folder: RunFolder, *, split: str | None = None, device: str = "auto") -> dict[str, Any]:
    """Evaluate a run's best model on a split (default: the spec's final one); writes predictions."""
    trained = load(folder, device=device)
    split = split or trained.spec.eval.final_split
    if split not in trained.dataset.splits:
        raise RunError(
            f"{folder.path}: dataset '{trained.spec.data.use}' has no split '{split}'; "
            f"it has {', '.join(trained.dataset.splits)}"
        )
    reading = with_features(trained.dataset, trained.spec, trained.model)
    scores = _evaluate(attrs.evolve(trained, opened=reading), split)
    return {
        "name": trained.spec.name,
        "run": str(folder.path),
        "split": split,
        "step": trained.step,
        **_measured(scores, trained.dataset, split),
    }

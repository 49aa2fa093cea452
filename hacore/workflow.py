"""What one does with a spec or a run: check it, run it, load it, evaluate it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import torch

from hacore.cost import StageCost, mean_multiply_adds, stage_costs
from hacore.data import Dataset
from hacore.datasets import open_dataset
from hacore.errors import HacoreError, RunError
from hacore.evaluation import evaluate, majority_baseline, question_only_baseline
from hacore.features.describe import open_features
from hacore.features.store import FeatureStore
from hacore.files import load_tensors, write_json
from hacore.inputs import Inputs
from hacore.launch import run_processes
from hacore.loggers import Log, choose, log_flags
from hacore.memory import keep_freed_memory
from hacore.model import VQAModel, compose, compose_question_only
from hacore.runs import RunFolder, describe_environment, device_name
from hacore.spec import Spec
from hacore.train.checkpoint import load_model
from hacore.train.distributed import World, barrier, broadcast_text, launched, world
from hacore.train.logs import Logs
from hacore.train.loop import make_sampler, precision_of, total_steps, train
from hacore.train.metrics import Scores
from hacore.train.progress import Reporter, Silent
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


def choose_device(name: str = "auto") -> torch.device:
    """``auto`` (a GPU if there is one), ``cpu``, ``cuda`` or ``cuda:1``."""
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", name):
        raise HacoreError(f"no device '{name}'; choose auto, cpu, cuda or cuda:INDEX")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        if name == "cuda" and "LOCAL_RANK" in os.environ:
            device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = (str(error) or "not available").splitlines()[0]
        raise HacoreError(
            f"device '{name}' cannot be used: {reason}; choose auto, cpu, cuda or cuda:INDEX"
        ) from None
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


def check(spec: Spec) -> Check:
    """Compose the model of a spec on its data and say what it costs. Raises when it does not fit."""
    dataset = _open_checked(spec)
    torch.manual_seed(spec.seed)
    model = compose(spec, dataset.sizes())
    store = open_features(spec, dataset, model)
    questions = {split: dataset.questions(split) for split in dataset.splits}
    words = max(1, round(float(np.diff(questions["train"].offsets).mean())))
    sampler = make_sampler(spec, questions["train"])
    return Check(
        stages=stage_costs(model, spec, dataset.sizes(), words),
        words=words,
        steps=total_steps(spec.train, sampler),
        steps_per_epoch=sampler.steps_per_epoch,
        questions={split: len(columns) for split, columns in questions.items()},
        features=str(store) if store else None,
    )


def run(
    spec: Spec,
    *,
    runs: str | Path = "runs",
    resume: RunFolder | None = None,
    device: str = "auto",
    reporter: Reporter | None = None,
    report: bool = True,
    log: Log = (),
    created: Callable[[RunFolder], None] = lambda folder: None,
) -> tuple[RunFolder, dict[str, Any] | None]:
    """Train and measure a spec; returns the run folder and the content of its result.json.

    runs: folder that holds run folders. resume: go on with this run. report: write report/index.html at
    the end, where what it needs is installed. log: loggers, by name or with options, as
    ``{"tensorboard": {"pictures": 4}}``. created: called once with the folder before training.
    The result is None when the training was interrupted; resuming a finished run returns its result as it
    is. In a process started by torchrun this joins the others; only rank 0 reports, logs and returns a
    result.
    """
    reporter = reporter or Silent()
    loggers = choose(log)
    chosen = choose_device(device)
    if resume is not None and resume.result_file.is_file():
        if launched() and os.environ["RANK"] != "0":
            return resume, None
        reporter.message(f"finished already; 'hacore eval {resume.path}' measures the model again")
        return resume, resume.result()
    if spec.train.processes > 1 and not launched():
        # Here first, so that data and components that do not fit are reported once, before a folder is made.
        dataset = _open_checked(spec)
        torch.manual_seed(spec.seed)
        open_features(spec, dataset, compose(spec, dataset.sizes()))
        environment = describe_environment(spec, chosen, spec.train.processes)
        folder = resume or RunFolder.create(spec, runs, environment)
        created(folder)
        run_processes(folder, spec.train.processes, device, log_flags(log))
        return folder, folder.result() if folder.result_file.is_file() else None
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
    else:
        keep_freed_memory()
    leads = not launched() or os.environ["RANK"] == "0"
    with Logs(loggers if leads else [], chosen) as logs:
        return _run_here(spec, runs, resume, chosen, reporter, report, created, logs)


def _run_here(
    spec: Spec,
    runs: str | Path,
    resume: RunFolder | None,
    chosen: torch.device,
    reporter: Reporter,
    report: bool,
    created: Callable[[RunFolder], None],
    logs: Logs,
) -> tuple[RunFolder, dict[str, Any] | None]:
    """The run in this process, or this process's share of it."""
    with world(chosen) as here:
        if spec.train.threads:
            torch.set_num_threads(spec.train.threads)
        elif here.processes > 1 and chosen.type == "cpu":
            torch.set_num_threads(max(1, (os.cpu_count() or 1) // here.processes))
        if resume is not None and here.leads:
            resume.tidy()
        dataset = _open_together(spec, here)
        torch.manual_seed(spec.seed)
        model = compose(spec, dataset.sizes())
        features = open_features(spec, dataset, model)
        if here.rank:
            torch.manual_seed(spec.seed + here.rank)  # dropout and the like differ between processes
        folder = _folder(spec, runs, resume, chosen, here)
        if here.leads:
            if resume is None:
                created(folder)
            if not folder.inputs_file.is_file():
                Inputs.of(dataset).write(folder.inputs_file)
        at, finished = train(
            spec,
            dataset,
            model,
            folder,
            device=chosen,
            world=here,
            reporter=reporter,
            features=features,
            logs=logs,
        )
    # Measured by one process that has left the others: a sum over all of them would wait for ever.
    if not finished or not here.leads:
        return folder, None
    result = measure(spec, dataset, model, folder, chosen, features)
    result["training"] = {
        "seconds": round(at.seconds, 1),
        "steps": at.step,
        "questions_per_second": round(_questions_seen(spec, dataset, at.step) / max(at.seconds, 1e-9), 1),
        "processes": here.processes,
        "threads": torch.get_num_threads(),
        "device": device_name(chosen),
    }
    write_json(folder.result_file, result)
    logs.end(result)
    if report:
        _report(
            Trained(
                folder=folder,
                spec=spec,
                inputs=Inputs.of(dataset),
                model=model.eval(),
                device=chosen,
                step=result["checkpoint"]["step"],
                opened=dataset,
            ),
            reporter,
        )
    return folder, result


def _report(trained: Trained, reporter: Reporter) -> None:
    """The page about a run; what stops it does not take the result away."""
    from hacore.report import write_report

    try:
        write_report(trained.folder, trained=trained)
    except HacoreError as error:
        reporter.message(f"no report: {error}")


def _questions_seen(spec: Spec, dataset: Dataset[Any], steps: int) -> int:
    questions = dataset.questions("train")
    sampler = make_sampler(spec, questions)
    epochs, rest = divmod(steps, sampler.steps_per_epoch)  # an epoch asks every question once
    return epochs * len(questions) + sum(sampler.count(steps - 1 - step) for step in range(rest))


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


def measure(
    spec: Spec,
    dataset: Dataset[Any],
    model: VQAModel,
    folder: RunFolder,
    device: torch.device,
    features: FeatureStore | None = None,
) -> dict[str, Any]:
    """Evaluate the best checkpoint on the final split, with baselines; writes the predictions."""
    path = folder.checkpoint()
    tensors, state = load_tensors(path)
    load_model(path, tensors, model)
    split = spec.eval.final_split
    scores = evaluate(
        model.to(device),
        dataset,
        split,
        device=device,
        batch_images=spec.eval.batch_images,
        precision=precision_of(spec.train, device),
        predictions=folder.predictions_file(split),
        source=features,
    )
    result: dict[str, Any] = {
        "name": spec.name,
        "split": split,
        "data": {"dataset": spec.data.use, "fingerprint": dataset.fingerprint},
        "seed": spec.seed,
        **_measured(scores, dataset, split),
        "checkpoint": {"step": state["step"], f"{spec.eval.split}_accuracy": state["best"]},
        "parameters": sum(p.numel() for p in model.parameters()),
    }
    if features:
        result["data"]["features"] = features.fingerprint
    costs = mean_multiply_adds(model, dataset, split)
    result["multiply_adds"], result["multiply_adds_by_stage"] = sum(costs.values()), costs
    if spec.eval.baseline_steps and split not in dataset.unanswered:
        torch.manual_seed(spec.seed)
        question_only = compose_question_only(spec, dataset.sizes())
        result["baselines"]["question_only"] = attrs.asdict(
            question_only_baseline(
                dataset, split, question_only, steps=spec.eval.baseline_steps, seed=spec.seed, device=device
            )
        )
    return result


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
    features = open_features(trained.spec, trained.dataset, trained.model)
    scores = evaluate(
        trained.model,
        trained.dataset,
        split,
        device=trained.device,
        batch_images=trained.spec.eval.batch_images,
        precision=precision_of(trained.spec.train, trained.device),
        predictions=folder.predictions_file(split),
        source=features,
    )
    return {
        "name": trained.spec.name,
        "run": str(folder.path),
        "split": split,
        "step": trained.step,
        **_measured(scores, trained.dataset, split),
    }

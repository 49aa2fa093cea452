"""A run, from a spec to its result: data, model, folder, training, measurement, record."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import Any

import attrs
import torch

from hacore.console import Console, Silent, log_shown
from hacore.data import Dataset
from hacore.errors import RunError, describe_error
from hacore.machine.commands import pasteable
from hacore.machine.device import choose_device, device_name, use_device
from hacore.machine.files import write_json, write_whole
from hacore.machine.processes import World, barrier, broadcast_text, launched, leading, world
from hacore.model.network import VQAModel
from hacore.model.opening import open_checked, with_given
from hacore.observers import Named, choose_observers, observer_flags
from hacore.runs import Result, RunFolder
from hacore.runs.data_summary import DataSummary
from hacore.runs.environment import describe_environment
from hacore.runs.places import moved_flags, placed, same_experiment, says_where
from hacore.runs.trained import Trained
from hacore.spec import Overrides, Spec, SpecLike, load_spec
from hacore.train.observing import Observers
from hacore.train.reporting import ConsoleReporter, Reporter
from hacore.train.start import start_from
from hacore.train.trainer import Trainer
from hacore.workflow.launch import run_processes
from hacore.workflow.measuring import measure
from hacore.workflow.setup import set_up


def run(
    spec: SpecLike | None = None,
    overrides: Overrides = (),
    *,
    dataset: Dataset[Any] | None = None,
    runs: str | Path = "runs",
    resume: RunFolder | str | Path | None = None,
    device: str = "auto",
    reporter: Reporter | None = None,
    quiet: bool = False,
    log: Named = (),
    without: Collection[str] = (),
    report: bool = True,
    created: Callable[[RunFolder], None] | None = None,
) -> tuple[RunFolder, Result | None]:
    """Train and measure a spec; returns the run folder and the content of its result.json.

    spec, overrides: as ``load_spec`` takes them; with ``resume`` the spec may be left out. dataset: an object
    to use instead of what the spec says; the run's spec has ``data = { use = "in-memory" }``. runs: folder
    that holds run folders. resume: continue this run. quiet: show no progress; otherwise bars on a terminal
    and in a notebook, lines elsewhere. reporter: is told instead. log: observers besides those of every run,
    by name, with options, as ``{"tensorboard": {"pictures": 4}}``, or as classes. without: names of observers
    that are left out; ``report = False`` stands for ``["report"]``. created: called once with the folder
    before training.
    The result is None when the training was interrupted; resuming a finished run returns its result as it
    is. In a process started by torchrun this joins the others; only rank 0 reports, has observers and
    returns a result.
    """
    console = Silent() if quiet or reporter else Console(seconds=30.0)
    reporter = reporter or ConsoleReporter(console)
    overrides = with_given(overrides, dataset)
    resume = RunFolder.open(resume) if isinstance(resume, (str, Path)) else resume
    spec = load_spec(spec or (resume.spec_file if resume else None), overrides)
    spec = placed(spec, resume) if resume else spec
    without = [*without, *([] if report else ["report"])]
    chosen, place = choose_observers(log, without), choose_device(device)
    if resume is not None and resume.result_file.is_file():
        if not leading():
            return resume, None
        again = pasteable("hacore", "eval", resume.path)
        reporter.message(f"finished already; measure the model again with: {again}")
        return resume, resume.result()
    if resume is not None:
        same_experiment(resume, spec)
    created = created or (lambda folder: console.message(f"run folder: {folder.path}"))
    request = _Request(*(spec, dataset, runs, resume), device=place, reporter=reporter, created=created)
    with log_shown(console):
        if request.processes > 1 and not launched():
            flags = observer_flags(log, without)
            folder = _prepare_folder(request)
            run_processes(folder, request.processes, device, [*moved_flags(folder, spec), *flags])
            return folder, folder.result() if folder.result_file.is_file() else None
        use_device(place)
        with Observers(chosen if leading() else [], place) as observers:
            return _run_here(request, observers)


@attrs.frozen
class _Request:
    """What ``run`` was asked for."""

    spec: Spec
    dataset: Dataset[Any] | None
    runs: str | Path
    resume: RunFolder | None
    device: torch.device
    reporter: Reporter
    created: Callable[[RunFolder], None]

    @property
    def processes(self) -> int:
        """As many as the spec has, but not more than there are GPUs where it runs on them."""
        asked = self.spec.train.processes
        return min(asked, torch.cuda.device_count()) if self.device.type == "cuda" else asked


def _run_here(request: _Request, observers: Observers) -> tuple[RunFolder, Result | None]:
    """The run in this process, or this process's share of it."""
    spec, device = request.spec, request.device
    with world(device) as here:
        here.share_cores(spec.train.threads, device)
        if request.resume is not None and here.leads:
            request.resume.tidy()
        with _says_where(request):
            model, dataset = set_up(spec, _open_together(request, here))
        summary = DataSummary.of(dataset)
        if request.resume is not None:
            _require_same_data(request.resume, summary)
        if here.rank:
            torch.manual_seed(spec.seed + here.rank)  # dropout and the like differ between processes
        started_from = _start(request, model, summary)
        folder = _folder(request, summary, here)
        if started_from and here.leads:
            request.reporter.message(started_from)
        trainer = Trainer(
            *(spec, dataset, model, folder),
            device=device,
            world=here,
            reporter=request.reporter,
            observers=observers,
        )
        try:
            trainer.train()
        except Exception as error:
            if here.leads:
                with suppress(RunError):
                    write_whole(folder.error_file, describe_error(error).encode())
            raise
    # Measured by one process that has left the others: a sum over all of them would wait for ever.
    if not trainer.finished or not here.leads:
        return folder, None
    trained = Trained(
        folder=folder,
        spec=spec,
        summary=summary,
        model=model.eval(),
        device=device,
        trained_on=spec.data,
        precision=trainer.precision,
        opened=dataset,
    )
    result = measure(trained, trainer.cost(device_name(device)))
    write_json(folder.result_file, result.as_dict())
    observers.end(result, attrs.evolve(trained, step=int(result.checkpoint["step"] or 0)))
    return folder, result


def _prepare_folder(request: _Request) -> RunFolder:
    """The folder of a run that several processes will train.

    Data and components that do not fit are reported here, once, before there is a folder.
    """
    spec = request.spec
    if request.dataset is not None:
        raise RunError(f"train.processes = {request.processes}: a dataset object needs 1, or torchrun")
    with _says_where(request):
        model, dataset = set_up(spec, open_checked(spec))
    _start(request, model, DataSummary.of(dataset))
    environment = describe_environment(spec, request.device, request.processes)
    folder = request.resume or RunFolder.create(spec, request.runs, environment)
    request.created(folder)
    return folder


def _says_where(request: _Request) -> AbstractContextManager[None]:
    """Of a run that is resumed: errors say how to give the places of data that moved."""
    return nullcontext() if request.resume is None else says_where(request.resume, request.spec)


def _open_together(request: _Request, here: World) -> Dataset[Any]:
    """The leading process prepares the data before the others look for it."""
    if not here.leads:
        barrier()
    dataset = open_checked(request.spec, request.dataset)
    if here.leads:
        barrier()
    return dataset


def _require_same_data(folder: RunFolder, summary: DataSummary) -> None:
    """Raise RunError where the data of a run that is resumed are not those it began with."""
    if not folder.inputs_file.is_file():
        return
    before = DataSummary.read(folder.inputs_file).fingerprint
    if before != summary.fingerprint:
        raise RunError(
            f"{folder.path}: was trained on other data, {before} there, {summary.fingerprint} now; "
            "give back its data, say where they are with --set data.KEY=VALUE, or run the spec afresh"
        )


def _start(request: _Request, model: VQAModel, summary: DataSummary) -> str:
    """Start from the weights of ``train.init``, unless a checkpoint is resumed; says what fitted."""
    config, resume = request.spec.train, request.resume
    if config.init is None or (resume is not None and resume.last.is_file()):
        return ""
    return start_from(model, config, summary)


def _folder(request: _Request, summary: DataSummary, here: World) -> RunFolder:
    """The run folder, which the leading process makes."""
    folder = request.resume
    if folder is None:
        path = ""
        if here.leads:
            environment = describe_environment(request.spec, request.device, here.processes)
            if (given := request.dataset) is not None:
                questions = {split: len(given.questions(split)) for split in given.splits}
                environment["dataset"] = {"name": given.name, **questions, "fingerprint": given.fingerprint}
            path = str(RunFolder.create(request.spec, request.runs, environment).path)
        folder = RunFolder(broadcast_text(path))
        if here.leads:
            request.created(folder)
    if here.leads and not folder.inputs_file.is_file():
        summary.write(folder.inputs_file)
    return folder

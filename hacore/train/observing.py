"""The observers of a run as one: called together, kept from disturbing the training, dropped on failure."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from hacore.errors import describe_error
from hacore.measure.look import Look
from hacore.observers import Chosen, Observed, RunObserver
from hacore.runs import Result
from hacore.runs.metrics import EvalLine, TrainLine
from hacore.spec import Spec

if TYPE_CHECKING:
    from hacore.runs.trained import Trained

log = logging.getLogger("hacore")


class Observers:
    """Calls every observer. Used as a context manager, which tells them of an error and closes them.

    They do not disturb the training's random numbers: torch's state is restored after each call.
    """

    def __init__(self, chosen: Sequence[Chosen], device: torch.device) -> None:
        """Their modules are imported here. Raises PluginError where that fails."""
        self._waiting = [(observer, observer.load()) for observer in chosen]
        self._open: dict[str, RunObserver] = {}
        self._device = device

    def __enter__(self) -> Observers:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, Exception):  # Ctrl-C is not a failure
            text = describe_error(error)
            self._tell(lambda observer: observer.fail(text))
        for name in [*self._open]:
            self._drop(name)

    def start(self, folder: Path, spec: Spec, step: int, model: torch.nn.Module) -> None:
        """Make the observers of a run that starts, or resumes, at ``step``."""
        parameters = sum(p.numel() for p in model.parameters() if p.requires_grad)
        observed = Observed(folder=folder, spec=spec, step=step, parameters=parameters)
        for chosen, cls in self._waiting:
            with self._guarded(chosen.name):
                self._open[chosen.name] = cls(chosen.config, observed)

    def train(self, line: TrainLine, more: Callable[[], Mapping[str, float]]) -> None:
        """See ``RunObserver.train``; ``more``: further values, called only if there are observers."""
        if self._open:
            values = _values(line) | dict(more())
            self._tell(lambda observer: observer.train(line.step, values))

    def evaluation(self, line: EvalLine, look: Callable[[], Look]) -> None:
        """See ``RunObserver.evaluation``; ``look`` is called once, when an observer first asks."""
        values, shared = _values(line), cache(look)
        self._tell(lambda observer: observer.evaluation(line.step, values, shared))

    def end(self, result: Result, trained: Trained) -> None:
        """See ``RunObserver.end``."""
        self._tell(lambda observer: observer.end(result, trained))

    def _tell(self, what: Callable[[RunObserver], None]) -> None:
        for name, observer in [*self._open.items()]:
            with self._guarded(name):
                what(observer)

    def _drop(self, name: str) -> None:
        observer = self._open.pop(name, None)
        if observer is not None:
            with self._guarded(name):
                observer.close()

    @contextmanager
    def _guarded(self, name: str) -> Iterator[None]:
        """An observer that raises is named once, in a warning, and dropped."""
        devices = [self._device] if self._device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            try:
                yield
            except Exception as error:
                log.warning("observer '%s' is dropped, the run goes on: %s", name, describe_error(error))
                log.debug("", exc_info=True)
                observer = self._open.pop(name, None)
                try:
                    if observer is not None:
                        observer.close()
                except Exception:
                    log.debug("", exc_info=True)  # the warning has named it


def _values(line: TrainLine | EvalLine) -> dict[str, Any]:
    """What is measured in a line of metrics.jsonl."""
    return {key: value for key, value in line.as_dict().items() if key not in ("kind", "step", "format")}

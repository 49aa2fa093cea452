"""The loggers of a run as one: told together, kept from disturbing the training, dropped when they fail."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import torch

from hacore.loggers import Chosen, Logged, Logger, Look
from hacore.registry import describe
from hacore.spec import Spec

log = logging.getLogger("hacore")


class Logs:
    """Tells every logger; ``with`` it, they learn of an error and are closed.

    Their random numbers are not those of the training: torch's state is as it was after each call.
    """

    def __init__(self, chosen: Sequence[Chosen], device: torch.device) -> None:
        """Their modules are imported here. Raises PluginError where that fails."""
        self._waiting = [(it, it.installed.load()) for it in chosen]
        self._open: dict[str, Logger] = {}
        self._device = device

    def __bool__(self) -> bool:
        """Whether anybody listens."""
        return bool(self._open)

    def __enter__(self) -> Logs:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, Exception):  # a Ctrl-C is no failure
            text = describe(error)
            self._tell(lambda logger: logger.fail(text))
        for name in [*self._open]:
            self._drop(name)

    def start(self, folder: Path, spec: Spec, step: int, model: torch.nn.Module) -> None:
        """Make them, for a run that begins or goes on at ``step``."""
        parameters = sum(p.numel() for p in model.parameters() if p.requires_grad)
        logged = Logged(folder=folder, spec=spec, step=step, parameters=parameters)
        for chosen, cls in self._waiting:
            with self._held(chosen.name):
                self._open[chosen.name] = cls(chosen.config, logged)

    def train(self, step: int, values: Mapping[str, float]) -> None:
        """See ``Logger.train``."""
        self._tell(lambda logger: logger.train(step, values))

    def evaluation(self, step: int, values: Mapping[str, Any], look: Callable[[], Look]) -> None:
        """See ``Logger.evaluation``; ``look`` is only called when somebody listens."""
        if self:
            with self._undisturbed():
                seen = look()
            self._tell(lambda logger: logger.evaluation(step, values, seen))

    def end(self, result: Mapping[str, Any]) -> None:
        """See ``Logger.end``."""
        self._tell(lambda logger: logger.end(result))

    def _tell(self, what: Callable[[Logger], None]) -> None:
        for name, logger in [*self._open.items()]:
            with self._held(name):
                what(logger)

    def _drop(self, name: str) -> None:
        logger = self._open.pop(name, None)
        if logger is not None:
            with self._held(name):
                logger.close()

    @contextmanager
    def _held(self, name: str) -> Iterator[None]:
        """What the logger raises is told once, and ends it."""
        with self._undisturbed():
            try:
                yield
            except Exception as error:
                log.warning("logger '%s' is dropped, the run goes on: %s", name, describe(error))
                log.debug("", exc_info=True)
                logger = self._open.pop(name, None)
                try:
                    if logger is not None:
                        logger.close()
                except Exception:
                    log.debug("", exc_info=True)  # it has been named already

    @contextmanager
    def _undisturbed(self) -> Iterator[None]:
        devices = [self._device] if self._device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            yield

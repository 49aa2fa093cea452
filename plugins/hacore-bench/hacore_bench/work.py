"""What is timed of a model: its stages one by one, the whole of it, and a training step."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from hacore.data import Batch
from hacore.measure.predict import evaluating, predict
from hacore.model.network import STAGES, VQAModel
from hacore.train.optimizer import make_optimizer, running_mean
from hacore_bench.clock import Clock
from hacore_bench.passage import Passage
from hacore_bench.subject import Subject

WHOLE = "whole"
PARTS = (*STAGES, "head", "loss")
Seconds = dict[tuple[str, str], float]
"""By part and pass: ``("selector", "forward")``."""


class Work:
    """The work of one model on batches of questions, timed. Its weights and buffers stay as they are.

    Where the spec says ``train.compile``, the whole model is compiled as in training, and for the times by
    stage each stage by itself.
    """

    def __init__(self, subject: Subject, model: VQAModel, clock: Clock) -> None:
        compiled: Callable[[Any], Any] = torch.compile if subject.spec.train.compile else lambda part: part
        self.model, self._clock = model, clock
        self._dataset, self._precision = subject.dataset, subject.precision
        self._config, self._device = subject.spec.train, subject.device
        self._whole = compiled(model)
        self._encode = compiled(model.encode)
        self._stages = {name: compiled(getattr(model, name)) for name in (*STAGES[1:], "head")}
        # A rate of zero: the step costs what it always costs, and changes no weight.
        self._optimizer = make_optimizer(model, self._config)
        for group in self._optimizer.param_groups:
            group["lr"] = 0.0
        self._trained = [p for group in self._optimizer.param_groups for p in group["params"]]
        self._average = running_mean(model, self._config.average) if self._config.average else None

    def all(self, batch: Batch) -> Seconds:
        """Each piece of work once."""
        seconds = {(stage, "forward"): value for stage, value in self.forward_by_stage(batch).items()}
        seconds |= {(stage, "backward"): value for stage, value in self.backward_by_stage(batch).items()}
        seconds[WHOLE, "forward"] = self._timed(lambda: self.forward(batch))
        with self._training():
            seconds[WHOLE, "step"] = self._timed(lambda: self.step(batch))
        return seconds

    def forward(self, batch: Batch) -> None:
        """The whole model in evaluation mode."""
        with evaluating(self.model):
            predict(self._whole, batch, self._precision)

    def step(self, batch: Batch) -> None:
        """A training step on a batch that is on its device."""
        self._optimizer.zero_grad()
        output = predict(self._whole, batch, self._precision)
        self._loss(output.logits_QA, output.selection, batch).backward()
        nn.utils.clip_grad_norm_(self._trained, self._config.clip_norm or math.inf)
        self._optimizer.step()
        if self._average:
            self._average.update_parameters(self.model)

    def training_step(self, batch: Batch) -> None:
        """``step``, with what it changes put back."""
        with self._training():
            self.step(batch)

    def forward_by_stage(self, batch: Batch) -> dict[str, float]:
        """Seconds of each stage in evaluation mode, one after another."""
        with evaluating(self.model):
            passage = self._pass(batch)
        seconds = passage.forward_seconds()
        if batch.images.dim() == 3:  # stored features: no image was encoded
            del seconds["image_encoder"]
        return seconds

    def backward_by_stage(self, batch: Batch) -> dict[str, float]:
        """Seconds of the backward pass of each stage that has one, in training mode."""
        with self._training():
            self._optimizer.zero_grad()
            passage = self._pass(batch)
            for part in reversed(PARTS):
                passage.backward(part, begins=part == "loss")
            self._clock.wait()
        return passage.backward_seconds()

    def _pass(self, batch: Batch) -> Passage:
        """All parts once, when the device has done what came before."""
        passage, outputs = Passage(self._clock), dict[str, Any]()
        parts = self._parts(batch, outputs)
        self._clock.wait()
        for part, run in parts.items():
            outputs[part] = passage.run(part, run)
        self._clock.wait()
        return passage

    def _parts(self, batch: Batch, inputs: dict[str, Any]) -> dict[str, Callable[[], Any]]:
        """What runs each part. inputs: the outputs of the parts before it, by their names."""
        stages = self._stages

        def ask() -> Any:
            question = stages["question_encoder"](batch.words_QT, batch.lengths_Q)
            question.image_id_Q, question.words_QT = batch.image_id_Q, batch.words_QT
            question.relevant_QN = relevant_QN
            return question

        relevant_QN = batch.relevant_QN(self.model.grid)
        parts: dict[str, Callable[[], Any]] = {
            "image_encoder": lambda: self._encode(batch.images),
            "question_encoder": ask,
            "fuser": lambda: stages["fuser"](
                inputs["image_encoder"], inputs["question_encoder"], batch.image_index_Q
            ),
            "selector": lambda: stages["selector"](inputs["fuser"], inputs["question_encoder"]),
            "aggregator": lambda: stages["aggregator"](inputs["selector"], inputs["question_encoder"]),
            "head": lambda: stages["head"](inputs["aggregator"]),
        }
        parts = {part: self._in_precision(run) for part, run in parts.items()}
        return {**parts, "loss": lambda: self._loss(inputs["head"].float(), inputs["selector"], batch)}

    def _in_precision(self, run: Callable[[], Any]) -> Callable[[], Any]:
        def cast() -> Any:
            low = self._precision != torch.float32
            with torch.autocast(self._device.type, self._precision, enabled=low):
                return run()

        return cast

    def _loss(self, logits_QA: Tensor, selection: Any, batch: Batch) -> Tensor:
        loss = self._dataset.loss(logits_QA, batch) / len(batch)
        return loss if selection.loss is None else loss + selection.loss.float()

    @contextmanager
    def _training(self) -> Iterator[None]:
        """Training mode; buffers, such as the statistics of a batch norm, are put back at the end."""
        before = [(buffer, buffer.clone()) for buffer in self.model.buffers()]
        self.model.train()
        try:
            yield
        finally:
            with torch.no_grad():
                for buffer, values in before:
                    buffer.copy_(values)
            self.model.eval()
            self._optimizer.zero_grad()

    def _timed(self, run: Callable[[], None]) -> float:
        """Seconds of a call within which nothing waits for the device."""
        self._clock.wait()
        start = self._clock.mark()
        run()
        end = self._clock.mark()
        self._clock.wait()
        return self._clock.seconds(start, end)

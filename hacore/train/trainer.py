"""The training: steps, and between them logs, evaluations and checkpoints."""

from __future__ import annotations

import math
import os
import time
from functools import partial
from pathlib import Path
from typing import Any, cast

import attrs
import torch
from torch import Tensor, nn

from hacore.data import Dataset, Ints, make_batch, resident
from hacore.errors import NotFiniteError, RunError
from hacore.machine.interrupts import Interrupts
from hacore.machine.memory import enough_memory, free_memory
from hacore.machine.processes import GradientSum, World, broadcast_text, share_buffers
from hacore.measure.evaluation import evaluate
from hacore.measure.look import look_at
from hacore.measure.metrics import Meter
from hacore.measure.predict import precision_name, precision_of, predict, saved_precision
from hacore.measure.scores import Scores
from hacore.model.network import VQAModel
from hacore.runs import RunFolder
from hacore.runs.metrics import EvalLine, MetricsFile, TrainLine
from hacore.runs.result import Training
from hacore.spec import Spec
from hacore.train.augment import augment
from hacore.train.checkpoint import Position, identity, load_checkpoint, save_checkpoint
from hacore.train.flags import Flags
from hacore.train.observing import Observers
from hacore.train.optimizer import make_optimizer, running_mean
from hacore.train.reporting import Reporter, Speed
from hacore.train.room import FEW, require_room
from hacore.train.sampler import make_sampler, total_steps
from hacore.train.schedule import lr_factor

_LESS = "lower train.batch_images, raise train.accumulate, or use bfloat16 (train.precision) or fewer cells"


class Trainer:
    """One training of a model, from its start or from the folder's last checkpoint.

    position: the steps done, and what else the training knows of itself.
    """

    def __init__(
        self,
        spec: Spec,
        dataset: Dataset[Any],
        model: VQAModel,
        folder: RunFolder,
        *,
        device: torch.device,
        world: World,
        reporter: Reporter,
        observers: Observers,
    ) -> None:
        """Raises RunError when the folder's checkpoint is of another run."""
        config = spec.train
        self.spec, self.config, self.dataset, self.folder = spec, config, dataset, folder
        self.device, self.world, self.reporter, self.observers = device, world, reporter, observers
        self._questions = dataset.questions("train")
        inputs = dataset.inputs("train")
        self._images = resident(inputs, device) if config.resident else inputs
        self._read_ahead = getattr(self._images, "will_need", None)  # of stored features
        self._objects = dataset.objects("train") if model.oracle else None
        self._sampler = make_sampler(spec, self._questions, world)
        self._total = total_steps(config, self._sampler)
        self._evaluate_every = max(1, round(spec.eval.every_epochs * self._sampler.steps_per_epoch))

        self.model = model.to(device).train()
        self._optimizer = make_optimizer(model, config)
        self._trained = [p for group in self._optimizer.param_groups for p in group["params"]]
        self._flags = Flags(device)
        # The flags ride along with the gradients.
        self._gradient_sum = (
            GradientSum(self._trained, extra=len(self._flags.values)) if world.processes > 1 else None
        )
        self._average = running_mean(model, config.average) if config.average else None
        self._judged = cast(VQAModel, self._average.module) if self._average else model
        self._forward: Any = torch.compile(model) if config.compile else model
        self._meter = Meter(dataset, device)
        self.position = Position(identity=identity(folder.spec(), dataset))
        if os.path.lexists(folder.last):
            self.position = load_checkpoint(
                *(folder.last, self.position.identity, model, self._optimizer, self._meter.sums, world),
                self._average,
            )
        self.precision = self._choose_precision()
        self._metrics = MetricsFile(folder.metrics_file, self.position.metrics_bytes) if world.leads else None
        self._started = time.monotonic() - self.position.seconds
        self._logged_at, self._logged_step = time.monotonic(), self.position.step

    @property
    def finished(self) -> bool:
        """All steps are done, or the patience is at its end."""
        return self.position.step >= self._total or bool(
            self.config.patience and self.position.stale >= self.config.patience
        )

    def train(self) -> None:
        """Train to the end, or until SIGTERM or Ctrl-C, which save the state and leave.

        Raises RunError when a loss or a gradient is not finite; what is saved then is good.
        """
        if self.world.leads:
            if self.config.precision == "auto":
                self.reporter.message(self._about_precision())
            self.reporter.start(self.position.step, self._total, self._sampler.steps_per_epoch)
            self.observers.start(self.folder.path, self.spec, self.position.step, self.model)
        try:
            self._require_room()
            with Interrupts() as interrupts:
                stopping = False
                while not self.finished and not stopping:
                    asked = self._sampler.count(self.position.step)
                    size = f"train.batch_images = {self.config.batch_images} with {asked:,} questions"
                    with enough_memory(f"step {self.position.step + 1}: {size} on {self.device}", _LESS):
                        stopping = self._advance(interrupts)
        finally:
            if self._metrics:
                self._metrics.close()
            self.reporter.stop()

    def _require_room(self) -> None:
        rows = max(self._sampler.parts(0, self.config.accumulate), key=len)
        if self.device.type == "cpu" and len(rows) > FEW:
            few = make_batch(self._questions, self._images, rows[:FEW], self._objects)
            free, parts = free_memory() / self.world.processes, self.config.accumulate
            require_room(self.model, few, self.precision, len(rows) / FEW, free, parts)

    def _choose_precision(self) -> torch.dtype:
        """That of the checkpoint, or what the leading process chooses for all; the machines may differ."""
        at = self.position
        begun = saved_precision(at.precision, self.config, self.device) if at.step else None
        at.precision = broadcast_text(precision_name(begun or precision_of(self.config, self.device)))
        return saved_precision(at.precision, self.config, self.device)

    def _about_precision(self) -> str:
        chosen = self.position.precision
        here = precision_name(precision_of(self.config, self.device))
        also = "" if here == chosen else f"; this training began so, here 'auto' would be {here}"
        return f"precision: {chosen} (train.precision = 'auto'){also}"

    def cost(self, device: str) -> Training:
        """What the training took so far; ``device``: the name of its device."""
        seconds, steps = self.position.seconds, self.position.step
        return Training(
            seconds=round(seconds, 1),
            steps=steps,
            questions_per_second=round(self._sampler.count_until(steps) / max(seconds, 1e-9), 1),
            processes=self.world.processes,
            threads=torch.get_num_threads(),
            device=device,
            precision=self.position.precision,
        )

    def _advance(self, interrupts: Interrupts) -> bool:
        """One step and what is due after it; whether the training is to stop here."""
        done = self.position.step + 1
        log = done % self.config.log_steps == 0 or done == self._total
        evaluation = done % self._evaluate_every == 0 or done == self._total
        save = evaluation or done % self.config.checkpoint_steps == 0

        self.model.set_progress(self.position.step / self._total)
        lr = self._set_lr()
        norm = self._compute_gradient(interrupts)
        # Reading the flags may wait for the device, so it is done every few steps, and before anything is
        # written.
        stop = False
        if self._flags.due(done) or log or save:
            stop, first = self._flags.read(done)
            if first is not None:
                raise self._stopped(first, "the loss or its gradient is not finite")
        elif self.world.rank:
            self._flags.clear()  # rank 0 carries the sum of all until the next reading
        self._optimizer.step()
        if self._average:
            self._average.update_parameters(self.model)
        self.position.step = done

        if log:
            self._log(lr, norm)
        if save or stop:
            for model in dict.fromkeys((self.model, self._judged)):
                share_buffers(model)
        if evaluation:
            self._evaluate()
        if save or stop:
            self._save(self.folder.last)
        return stop

    def _set_lr(self) -> float:
        lr = self.config.lr * lr_factor(self.position.step, self._total, self.config)
        for group in self._optimizer.param_groups:
            group["lr"] = lr
        return lr

    def _compute_gradient(self, interrupts: Interrupts) -> Tensor:
        """The gradient of the mean loss over the questions of the step, clipped; its norm before that."""
        step = self.position.step
        if self._read_ahead is not None:
            self._read_ahead(self._sampler.blocks(step))
        self._optimizer.zero_grad()
        for rows in self._sampler.parts(step, self.config.accumulate):
            if len(rows):
                self._add_gradient(rows)
        self._flags.request_stop(interrupts.requested)
        if self._gradient_sum:
            self._gradient_sum.extra.copy_(self._flags.values)
            self._gradient_sum()
            self._flags.values.copy_(self._gradient_sum.extra)
        norm = nn.utils.clip_grad_norm_(self._trained, self.config.clip_norm or math.inf)
        self._flags.check_finite(step, norm)
        return norm

    def _add_gradient(self, rows: Ints) -> None:
        """Add the gradient of some questions of the step."""
        step = self.position.step
        batch = make_batch(self._questions, self._images, rows, self._objects).to(self.device)
        batch = augment(batch, self.config.shift, self.config.rotation)
        try:
            output = predict(self._forward, batch, self.precision)
        except NotFiniteError as error:
            raise self._stopped(step, str(error)) from error
        loss_sum = loss = self.dataset.loss(output.logits_QA, batch)
        if output.selection.loss is not None:
            loss = loss + output.selection.loss.float() * len(batch)
        # Divided by the questions of all parts and processes, so that their gradients just add up.
        (loss / self._sampler.count(step)).backward()
        self._meter.add(output, loss_sum, batch)
        self._flags.check_finite(step, loss.detach())

    def _log(self, lr: float, norm: Tensor) -> None:
        scores = self._meter.read()
        self._meter.reset()
        now, step = time.monotonic(), self.position.step
        per_step = (now - self._logged_at) / (step - self._logged_step)
        # The sums may have begun before a resumed session did.
        steps_summed = (step - 1) % self.config.log_steps + 1
        speed = Speed(
            questions_per_second=scores.questions / steps_summed / per_step,
            seconds_left=per_step * (self._total - step),
        )
        self._logged_at, self._logged_step = now, step
        if self._metrics:
            means: dict[str, Any] = {"loss": scores.loss, "accuracy": scores.accuracy, "kept": scores.kept}
            line = TrainLine(**self._progress(now), **means, lr=lr)
            self._metrics.write(line)
            self.reporter.train(step, scores, speed)
            more = {"questions_per_second": speed.questions_per_second}
            self.observers.train(line, lambda: {**more, "gradient_norm": float(norm)})

    def _progress(self, now: float) -> dict[str, Any]:
        """How far the training is: what a line of metrics.jsonl begins with."""
        step = self.position.step
        return {
            "step": step,
            "epoch": step / self._sampler.steps_per_epoch,
            "questions_seen": self._sampler.count_until(step),
            "seconds": round(now - self._started, 3),
        }

    def _evaluate(self) -> None:
        """Measure on the split that chooses the weights; they are saved where they are the best so far."""
        before, split = time.monotonic(), self.spec.eval.split
        try:
            scores = evaluate(
                *(self._judged, self.dataset, split),
                device=self.device,
                batch_images=self.spec.eval.batch_images,
                precision=self.precision,
                world=self.world,
            )
        except NotFiniteError as error:
            raise self._stopped(self.position.step - 1, str(error), images=False) from error
        better = scores.accuracy > self.position.best
        self.position.best = max(scores.accuracy, self.position.best)
        self.position.stale = 0 if better else self.position.stale + 1
        if self._metrics:
            self._tell_evaluation(scores, better)
        if better:
            self._save(self.folder.best)
        self._logged_at += time.monotonic() - before  # speed is that of training alone

    def _tell_evaluation(self, scores: Scores, better: bool) -> None:
        split, step = self.spec.eval.split, self.position.step
        progress = self._progress(time.monotonic())
        line = EvalLine(**progress, split=split, **attrs.asdict(scores, recurse=False))
        cast(MetricsFile, self._metrics).write(line)
        self.reporter.evaluation(step, split, scores, better)
        look = partial(
            look_at, self._judged, self.dataset, split, device=self.device, precision=self.precision
        )
        self.observers.evaluation(line, look)

    def _save(self, path: Path) -> None:
        """The whole state; as the best, the weights that were judged."""
        self.position.seconds = time.monotonic() - self._started
        self.position.metrics_bytes = self._metrics.size if self._metrics else 0
        model, average = (self._judged, None) if path == self.folder.best else (self.model, self._average)
        save_checkpoint(path, self.position, model, self._optimizer, self._meter.sums, self.world, average)

    def _stopped(self, step: int, what: str, images: bool = True) -> RunError:
        """Names the step (from 0), its images if they are to blame, and the last good checkpoint."""
        named = ", ".join(map(str, self._sampler.images(step)))
        where = f"step {step + 1}" + (f" (training images {named})" if images else "")
        last = self.folder.last
        good = f"last good checkpoint: {last}" if last.is_file() else "no checkpoint was written yet"
        hint = "lower train.lr or train.clip_norm and run again"
        if images and not step:  # no weight has changed yet
            hint = "it is the first step, so train.lr is not the cause: look at these images, and at options "
            hint += "that scale or divide"
            hint += "" if self.precision == torch.float32 else ", or set train.precision = 'float32'"
        return RunError(f"{where}: {what}; {good}; {hint}")

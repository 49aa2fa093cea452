"""The training loop."""

from __future__ import annotations

import hashlib
import time
from typing import Any

import torch
from torch import nn

from hacore.data import Dataset, Questions, make_batch
from hacore.errors import RunError
from hacore.evaluate import evaluate
from hacore.model import Output, VQAModel
from hacore.runs import MetricsFile, RunFolder
from hacore.spec import Spec, TrainConfig, dump_spec
from hacore.train.checkpoint import Position, load_checkpoint, save_checkpoint
from hacore.train.distributed import GradientSum, World
from hacore.train.interrupt import Interrupts
from hacore.train.metrics import Meter
from hacore.train.progress import Reporter, Speed
from hacore.train.sampler import Sampler
from hacore.train.schedule import lr_factor


def train(
    spec: Spec,
    dataset: Dataset[Any],
    model: VQAModel,
    folder: RunFolder,
    *,
    device: torch.device,
    world: World,
    reporter: Reporter,
) -> tuple[Position, bool]:
    """Train, or go on from the folder's last checkpoint.

    Returns where it ended, and whether that is the end: not after SIGTERM or Ctrl-C, which save the
    state and leave. Raises RunError when the loss is not finite.
    """
    config = spec.train
    questions, images = dataset.questions("train"), dataset.images("train")
    sampler = make_sampler(spec, questions, world)
    total = total_steps(config, sampler)
    evaluate_every = max(1, round(spec.eval.every_epochs * sampler.steps_per_epoch))
    precision = precision_of(config, device)

    model.to(device).train()
    optimizer = make_optimizer(model, config)
    trained = [p for group in optimizer.param_groups for p in group["params"]]
    # Two numbers ride along with the gradients: wishes to stop, and losses that are not finite.
    gradient_sum = GradientSum(trained, extra=2) if world.processes > 1 else None
    forward = torch.compile(model) if config.compile else model
    meter = Meter(dataset, device)
    at = Position(identity=identity(spec, dataset))
    if folder.last.is_file():
        at = load_checkpoint(folder.last, at.identity, model, optimizer, meter.sums, world)
    metrics = MetricsFile(folder.metrics_file, at.metrics_bytes) if world.leads else None
    # On a GPU a look at the flags waits for the device, so it comes every few steps only.
    look_every = 1 if device.type == "cpu" else min(10, config.log_steps)
    flags = torch.zeros(2, device=device)
    started, logged_at, logged_step = time.monotonic() - at.seconds, time.monotonic(), at.step

    def checkpoint() -> None:
        at.seconds = time.monotonic() - started
        at.metrics_bytes = metrics.size if metrics else 0
        save_checkpoint(folder.last, at, model, optimizer, meter.sums, world)

    def over() -> bool:
        return at.step >= total or bool(config.patience and at.stale >= config.patience)

    if world.leads:
        reporter.start(at.step, total, sampler.steps_per_epoch)
    try:
        with Interrupts() as interrupts:
            while not over():
                lr = config.lr * lr_factor(at.step, total, config)
                for group in optimizer.param_groups:
                    group["lr"] = lr

                rows = sampler.rows(at.step)
                optimizer.zero_grad()
                if len(rows):
                    batch = make_batch(questions, images, rows).to(device)
                    with torch.autocast(device.type, precision, enabled=precision != torch.float32):
                        output = forward(batch.images, batch.words_QT, batch.lengths_Q, batch.image_index_Q)
                    output = Output(output.logits_QA.float(), output.selection)
                    loss_sum = dataset.loss(output.logits_QA, batch)
                    loss = loss_sum
                    if output.selection.loss is not None:
                        loss = loss + output.selection.loss.float() * len(batch)
                    # Divided by the questions of all processes, so that their gradients just add up.
                    (loss / sampler.count(at.step)).backward()  # type: ignore[no-untyped-call]
                    meter.add(output, loss_sum, batch)
                    flags[1] += ~torch.isfinite(loss.detach())
                flags[0] += interrupts.requested
                if gradient_sum:
                    gradient_sum.extra.copy_(flags)
                    gradient_sum()
                    flags.copy_(gradient_sum.extra)

                stop = False
                if (at.step + 1) % look_every == 0 or at.step + 1 == total:
                    wishes, not_finite = flags.tolist()
                    if not_finite:
                        raise RunError(_not_finite(at.step, look_every, rows, questions.image, folder))
                    stop = wishes > 0
                    flags.zero_()
                elif gradient_sum and world.rank:
                    flags.zero_()  # rank 0 carries the sum of all until the next look
                if config.clip_norm:
                    nn.utils.clip_grad_norm_(trained, config.clip_norm)
                optimizer.step()
                at.step += 1

                if at.step % config.log_steps == 0 or at.step == total:
                    scores = meter.read()
                    meter.reset()
                    now = time.monotonic()
                    per_step = (now - logged_at) / max(1, at.step - logged_step)
                    steps_logged = min(config.log_steps, at.step)
                    speed = Speed(
                        questions_per_second=scores.questions / steps_logged / per_step,
                        seconds_left=per_step * (total - at.step),
                    )
                    logged_at, logged_step = now, at.step
                    if metrics:
                        metrics.write(
                            kind="train",
                            step=at.step,
                            epoch=at.step / sampler.steps_per_epoch,
                            loss=scores.loss,
                            accuracy=scores.accuracy,
                            kept=scores.kept,
                            lr=lr,
                            seconds=round(now - started, 3),
                        )
                        reporter.train(at.step, scores, speed)

                evaluated = at.step % evaluate_every == 0 or at.step == total
                if evaluated:
                    before = time.monotonic()
                    scores = evaluate(
                        model,
                        dataset,
                        spec.eval.split,
                        device=device,
                        batch_images=spec.eval.batch_images,
                        precision=precision,
                        world=world,
                    )
                    better = scores.accuracy > at.best
                    at.best, at.stale = (scores.accuracy, 0) if better else (at.best, at.stale + 1)
                    if metrics:
                        metrics.write(
                            kind="eval",
                            step=at.step,
                            epoch=at.step / sampler.steps_per_epoch,
                            split=spec.eval.split,
                            seconds=round(time.monotonic() - started, 3),
                            **scores.table(),
                        )
                        reporter.evaluation(at.step, spec.eval.split, scores, better)
                    if better:
                        save_checkpoint(folder.best, at, model, optimizer, meter.sums, world)
                    logged_at += time.monotonic() - before  # speed is that of training alone
                if evaluated or stop or at.step % config.checkpoint_steps == 0:
                    checkpoint()
                if stop:
                    break
    finally:
        if metrics:
            metrics.close()
        reporter.stop()
    return at, over()


def make_sampler(spec: Spec, questions: Questions, world: World | None = None) -> Sampler:
    """The sampler of a spec's training questions, for one process of several."""
    world = world or World()
    return Sampler(
        questions,
        batch_images=spec.train.batch_images,
        questions_per_image=spec.train.questions_per_image,
        seed=spec.seed,
        rank=world.rank,
        processes=world.processes,
    )


def total_steps(config: TrainConfig, sampler: Sampler) -> int:
    """Steps of the whole training: the epochs, or ``steps`` if that is fewer."""
    steps = max(1, round(config.epochs * sampler.steps_per_epoch))
    return min(steps, config.steps or steps)


def precision_of(config: TrainConfig, device: torch.device) -> torch.dtype:
    """The dtype of autocast; float32 stands for none."""
    if config.precision == "auto":
        return torch.float32 if device.type == "cpu" else torch.bfloat16
    return torch.bfloat16 if config.precision == "bfloat16" else torch.float32


def make_optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """Adam or AdamW; only tensors of two or more dimensions decay."""
    trained = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.dim() > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in trained if p.dim() <= 1], "weight_decay": 0.0},
    ]
    cls = torch.optim.AdamW if config.optimizer == "adamw" else torch.optim.Adam
    return cls(groups, lr=config.lr, betas=(config.betas[0], config.betas[1]), fused=True)


def identity(spec: Spec, dataset: Dataset[Any]) -> str:
    """A digest of what a checkpoint's state depends on."""
    return hashlib.sha256((dump_spec(spec) + dataset.fingerprint).encode()).hexdigest()


def _not_finite(step: int, look_every: int, rows: Any, image: Any, folder: RunFolder) -> str:
    when = (
        f"step {step + 1}" if look_every == 1 else f"one of the steps {step + 2 - look_every} to {step + 1}"
    )
    images = ", ".join(str(i) for i in dict.fromkeys(image[rows].tolist()))
    good = (
        f"last good checkpoint: {folder.last}" if folder.last.is_file() else "no checkpoint was written yet"
    )
    return (
        f"the loss is not finite at {when} (training images {images}); {good}; "
        "lower train.lr or train.clip_norm and run again"
    )

"""The training loop."""

from __future__ import annotations

import hashlib
import math
import time
from functools import partial
from pathlib import Path
from typing import Any, cast

import attrs
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from hacore.data import Dataset, Questions, make_batch, resident
from hacore.errors import NotFiniteError, RunError
from hacore.evaluation import evaluate
from hacore.features.mapped import MappedFeatures
from hacore.features.store import FeatureStore
from hacore.model import Output, VQAModel
from hacore.runs import MetricsFile, RunFolder
from hacore.spec import Spec, TrainConfig, dump_spec
from hacore.train.augment import augment
from hacore.train.checkpoint import Position, load_checkpoint, save_checkpoint
from hacore.train.distributed import GradientSum, World, share_buffers
from hacore.train.interrupt import Interrupts
from hacore.train.logs import Logs
from hacore.train.look import look_at
from hacore.train.metrics import Meter
from hacore.train.progress import Reporter, Speed
from hacore.train.sampler import Sampler
from hacore.train.schedule import lr_factor

LOOK_EVERY = {"cpu": 1, "cuda": 10}
"""Steps between looks for a wish to stop and for losses that are not finite, by device."""


def train(
    spec: Spec,
    dataset: Dataset[Any],
    model: VQAModel,
    folder: RunFolder,
    *,
    device: torch.device,
    world: World,
    reporter: Reporter,
    features: FeatureStore | None = None,
    logs: Logs | None = None,
) -> tuple[Position, bool]:
    """Train, or go on from the folder's last checkpoint.

    features: a store of them, to be read in place of the images. logs: told of the same as metrics.jsonl.
    Returns where it ended, and whether that is the end: not after SIGTERM or Ctrl-C, which save the
    state and leave. Raises RunError when a loss or a gradient is not finite; what is saved then is good.
    """
    config = spec.train
    questions = dataset.questions("train")
    stored = (features or dataset).images("train")
    images = resident(stored, device) if config.resident else stored
    sampler = make_sampler(spec, questions, world)
    total = total_steps(config, sampler)
    evaluate_every = max(1, round(spec.eval.every_epochs * sampler.steps_per_epoch))
    precision = precision_of(config, device)

    model.to(device).train()
    optimizer = make_optimizer(model, config)
    trained = [p for group in optimizer.param_groups for p in group["params"]]
    # A look at the flags may wait for the device, so it comes every few steps only, and before anything
    # is written. They hold the wishes to stop, and by step what was not finite since the last look.
    look_every = LOOK_EVERY[device.type]
    flags = torch.zeros(1 + look_every, device=device)
    # The flags ride along with the gradients.
    gradient_sum = GradientSum(trained, extra=len(flags)) if world.processes > 1 else None
    average = running_mean(model, config.average) if config.average else None
    judged = cast(VQAModel, average.module) if average else model
    forward = torch.compile(model) if config.compile else model
    meter = Meter(dataset, device)
    at = Position(identity=identity(spec, dataset, features))
    if folder.last.is_file():
        at = load_checkpoint(folder.last, at.identity, model, optimizer, meter.sums, world, average)
    metrics = MetricsFile(folder.metrics_file, at.metrics_bytes) if world.leads else None
    started, logged_at, logged_step = time.monotonic() - at.seconds, time.monotonic(), at.step

    def checkpoint(path: Path) -> None:
        at.seconds = time.monotonic() - started
        at.metrics_bytes = metrics.size if metrics else 0
        if path == folder.best:  # what was judged
            save_checkpoint(path, at, judged, optimizer, meter.sums, world)
        else:
            save_checkpoint(path, at, model, optimizer, meter.sums, world, average)

    def over() -> bool:
        return at.step >= total or bool(config.patience and at.stale >= config.patience)

    if world.leads:
        reporter.start(at.step, total, sampler.steps_per_epoch)
        if logs is not None:
            logs.start(folder.path, spec, at.step, model)
    try:
        with Interrupts() as interrupts:
            while not over():
                lr = config.lr * lr_factor(at.step, total, config)
                for group in optimizer.param_groups:
                    group["lr"] = lr

                rows = sampler.rows(at.step)
                if isinstance(images, MappedFeatures):
                    images.will_need(sampler.blocks(at.step))
                optimizer.zero_grad()
                if len(rows):
                    batch = make_batch(questions, images, rows).to(device)
                    moved = augment(batch.images, config.shift, config.rotation)
                    batch = attrs.evolve(batch, images=moved)
                    try:
                        with torch.autocast(device.type, precision, enabled=precision != torch.float32):
                            output = forward(
                                batch.images, batch.words_QT, batch.lengths_Q, batch.image_index_Q
                            )
                    except NotFiniteError as error:
                        raise _stopped(at.step, sampler, str(error), folder) from error
                    output = Output(output.logits_QA.float(), output.selection)
                    loss_sum = dataset.loss(output.logits_QA, batch)
                    loss = loss_sum
                    if output.selection.loss is not None:
                        loss = loss + output.selection.loss.float() * len(batch)
                    # Divided by the questions of all processes, so that their gradients just add up.
                    (loss / sampler.count(at.step)).backward()  # type: ignore[no-untyped-call]
                    meter.add(output, loss_sum, batch)
                    flags[1 + at.step % look_every] += ~torch.isfinite(loss.detach())
                flags[0] += interrupts.requested
                if gradient_sum:
                    gradient_sum.extra.copy_(flags)
                    gradient_sum()
                    flags.copy_(gradient_sum.extra)

                norm = nn.utils.clip_grad_norm_(trained, config.clip_norm or math.inf)
                flags[1 + at.step % look_every] += ~torch.isfinite(norm)

                done = at.step + 1
                log = done % config.log_steps == 0 or done == total
                evaluation = done % evaluate_every == 0 or done == total
                save = evaluation or done % config.checkpoint_steps == 0
                stop = False
                if done % look_every == 0 or log or save:
                    wishes, *not_finite = flags.tolist()
                    if any(not_finite):
                        first = next(
                            s for s in range(max(0, done - look_every), done) if not_finite[s % look_every]
                        )
                        raise _stopped(first, sampler, "the loss or its gradient is not finite", folder)
                    stop = wishes > 0
                    flags.zero_()
                elif world.rank:
                    flags.zero_()  # rank 0 carries the sum of all until the next look
                optimizer.step()
                if average:
                    average.update_parameters(model)
                at.step = done

                if log:
                    scores = meter.read()
                    meter.reset()
                    now = time.monotonic()
                    per_step = (now - logged_at) / (at.step - logged_step)
                    # The sums may have begun before a resumed session did.
                    steps_summed = (at.step - 1) % config.log_steps + 1
                    speed = Speed(
                        questions_per_second=scores.questions / steps_summed / per_step,
                        seconds_left=per_step * (total - at.step),
                    )
                    logged_at, logged_step = now, at.step
                    if metrics:
                        values = {
                            "epoch": at.step / sampler.steps_per_epoch,
                            "loss": scores.loss,
                            "accuracy": scores.accuracy,
                            "kept": scores.kept,
                            "lr": lr,
                            "seconds": round(now - started, 3),
                        }
                        metrics.write(kind="train", step=at.step, **values)
                        reporter.train(at.step, scores, speed)
                        if logs:
                            more = {
                                "questions_per_second": speed.questions_per_second,
                                "gradient_norm": float(norm),
                            }
                            logs.train(at.step, values | more)

                if save or stop:
                    share_buffers(model)
                    if average:
                        share_buffers(judged)
                if evaluation:
                    before = time.monotonic()
                    try:
                        scores = evaluate(
                            judged,
                            dataset,
                            spec.eval.split,
                            device=device,
                            batch_images=spec.eval.batch_images,
                            precision=precision,
                            world=world,
                            source=features,
                        )
                    except NotFiniteError as error:
                        raise _stopped(at.step - 1, None, str(error), folder) from error
                    better = scores.accuracy > at.best
                    at.best, at.stale = (scores.accuracy, 0) if better else (at.best, at.stale + 1)
                    if metrics:
                        found = {
                            "epoch": at.step / sampler.steps_per_epoch,
                            "split": spec.eval.split,
                            "seconds": round(time.monotonic() - started, 3),
                            **scores.table(),
                        }
                        metrics.write(kind="eval", step=at.step, **found)
                        reporter.evaluation(at.step, spec.eval.split, scores, better)
                        if logs:
                            look = partial(
                                look_at,
                                *(judged, dataset, spec.eval.split),
                                device=device,
                                precision=precision,
                                source=features,
                            )
                            logs.evaluation(at.step, found, look)
                    if better:
                        checkpoint(folder.best)
                    logged_at += time.monotonic() - before  # speed is that of training alone
                if save or stop:
                    checkpoint(folder.last)
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
        block_images=spec.train.block_images,
        seed=spec.seed,
        rank=world.rank,
        processes=world.processes,
    )


def total_steps(config: TrainConfig, sampler: Sampler) -> int:
    """Steps of the whole training: the epochs, or ``steps`` if that is fewer."""
    steps = max(1, round(config.epochs * sampler.steps_per_epoch))
    return min(steps, config.steps or steps)


def running_mean(model: nn.Module, decay: float) -> AveragedModel:
    """The exponential running mean of the weights and of the batch norms' statistics, step by step.

    It starts as the weights after the first step. Averages of 1 / (1 - decay) steps are usual; see
    Polyak and Juditsky 1992, *Acceleration of stochastic approximation by averaging*.
    """
    mean = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
    return AveragedModel(model, multi_avg_fn=mean, use_buffers=True)


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


def identity(spec: Spec, dataset: Dataset[Any], features: FeatureStore | None = None) -> str:
    """A digest of what a checkpoint's state depends on."""
    read = features.fingerprint if features else ""
    return hashlib.sha256((dump_spec(spec) + dataset.fingerprint + read).encode()).hexdigest()


def _stopped(step: int, sampler: Sampler | None, what: str, folder: RunFolder) -> RunError:
    """Names the step (from 0), its images when the sampler is given, and the last good checkpoint."""
    images = f" (training images {', '.join(map(str, sampler.images(step)))})" if sampler else ""
    good = (
        f"last good checkpoint: {folder.last}" if folder.last.is_file() else "no checkpoint was written yet"
    )
    return RunError(
        f"step {step + 1}{images}: {what}; {good}; lower train.lr or train.clip_norm and run again"
    )

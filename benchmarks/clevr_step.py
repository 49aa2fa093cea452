"""What a training step of a spec of CLEVR costs: operations, bytes, time, and what the device could do.

    python benchmarks/clevr_step.py
    python benchmarks/clevr_step.py --spec experiments/clevr/han_rn.toml --steps 100

It counts the multiply-adds of a step (two operations each) and the bytes that it moves at least, says what
the device would need for them at its peak, and divides the time of a step among its parts. The data are
pictures made for it.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from hacore_clevr import GenerateConfig
from hacore_clevr.generate.command import generate
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from hacore.data import Batch, Dataset, make_batch, resident
from hacore.data_tools import Silent
from hacore.machine.device import choose_device, device_name
from hacore.measure.predict import precision_name, precision_of, predict
from hacore.model.compose import compose
from hacore.model.opening import open_dataset
from hacore.spec import Spec, load_spec
from hacore.train.augment import augment
from hacore.train.trainer import make_optimizer, make_sampler

PEAKS = {"H200": (989e12, 4.8e12), "H100": (989e12, 3.35e12), "A100": (312e12, 2.0e12)}
"""Of GPUs, from their data sheets: dense bfloat16 operations and bytes of memory a second."""


class ByteCounter(TorchDispatchMode):
    """Counts the bytes of what every operation reads and writes; views move nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        aliases = [output.alias_info for output in func._schema.returns]
        if not any(alias is not None and not alias.is_write for alias in aliases):
            for leaf in tree_leaves((args, kwargs, result)):
                if isinstance(leaf, Tensor):
                    self.bytes += leaf.numel() * leaf.element_size()
        return result


class Steps:
    """Training steps of a spec outside of the training loop, to count and time them."""

    def __init__(self, spec: Spec, dataset: Dataset[Any], device: torch.device) -> None:
        self._config, self._dataset, self._device = spec.train, dataset, device
        self._questions = dataset.questions("train")
        self._images = resident(dataset.images("train"), device)
        self._sampler = make_sampler(spec, self._questions)
        self.precision = precision_of(spec.train, device)
        torch.manual_seed(spec.seed)
        self.model = compose(spec, dataset.sizes()).to(device).train()
        self._optimizer = make_optimizer(self.model, spec.train)
        self._forward = torch.compile(self.model) if spec.train.compile else self.model

    def batch(self, step: int) -> Batch:
        rows = self._sampler.rows(step)
        batch = make_batch(self._questions, self._images, rows).to(self._device)
        return augment(batch, self._config.shift, self._config.rotation)

    def loss(self, batch: Batch) -> Tensor:
        output = predict(self._forward, batch, self.precision)
        return self._dataset.loss(output.logits_QA, batch) / len(batch)

    def update(self, loss: Tensor) -> None:
        self._optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), self._config.clip_norm or float("inf"))
        self._optimizer.step()

    def timed(self, count: int, work: Callable[[int], Any]) -> float:
        """Seconds of ``work(step)``, mean of ``count`` after three to warm up."""
        for step in range(3):
            work(step)
        self._wait()
        started = time.perf_counter()
        for step in range(3, 3 + count):
            work(step)
        self._wait()
        return (time.perf_counter() - started) / count

    def _wait(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize()


def count_step(steps: Steps) -> dict[str, Any]:
    """Operations and bytes of one step, counted while it runs; an LSTM as the products it is made of."""
    batch = steps.batch(0)
    with (
        torch.backends.mkldnn.flags(enabled=False, allow_tf32=None),
        torch.backends.cudnn.flags(enabled=False),
        FlopCounterMode(display=False) as operations,
        ByteCounter() as moved,
    ):
        steps.update(steps.loss(batch))
    return {
        "questions": len(batch),
        "operations": operations.get_total_flops(),
        "bytes": moved.bytes,
        "precision": precision_name(steps.precision),
    }


def time_step(steps: Steps, count: int) -> dict[str, float]:
    """Seconds of a step and of its parts, each measured by itself."""
    batch = steps.batch(0)

    def forward(step: int) -> None:
        with torch.no_grad():
            steps.loss(batch)

    return {
        "step": steps.timed(count, lambda step: steps.update(steps.loss(steps.batch(step)))),
        "batch": steps.timed(count, steps.batch),
        "forward": steps.timed(count, forward),
        "forward, backward and update": steps.timed(count, lambda step: steps.update(steps.loss(batch))),
    }


def print_step(counted: dict[str, Any], timed: dict[str, float], device: str) -> None:
    per_step = f"{counted['operations'] / 1e9:,.1f} GFLOP and {counted['bytes'] / 1e9:.2f} GB"
    precision = counted.get("precision", "a precision not recorded")
    print(f"a step of {counted['questions']:,} questions, {precision}: {per_step}")
    peaks = next((peak for name, peak in PEAKS.items() if name in device), None)
    if peaks:
        arithmetic, memory = (
            1e3 * counted[kind] / peak for kind, peak in zip(("operations", "bytes"), peaks, strict=True)
        )
        print(f"at the peak of {device}: {arithmetic:.2f} ms and {memory:.2f} ms")
    for name, seconds in timed.items():
        rate = counted["questions"] / seconds
        print(f"  {name}: {1e3 * seconds:.2f} ms, {rate:,.0f} questions/s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--spec", type=Path, default=Path("experiments/clevr/han_rn_plus.toml"))
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--steps", type=int, default=10, help="steps that are timed")
    options = parser.parse_args()
    device = choose_device(options.device)
    with tempfile.TemporaryDirectory() as folder:
        spec = load_spec(options.spec, [*options.overrides, f"data.root={folder}/data", "data.dev_images=0"])
        images = 2 * spec.train.batch_images
        size = spec.data.options.size
        config = GenerateConfig(
            images=images, val_images=1, test_images=1, packed=True, size=size, output=f"{folder}/data"
        )
        assert not generate(config, Silent()).problems
        steps = Steps(spec, open_dataset(spec.data), device)
        print_step(count_step(steps), time_step(steps, options.steps), device_name(device))


if __name__ == "__main__":
    main()

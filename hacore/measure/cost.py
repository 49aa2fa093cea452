"""What a model costs: sizes of every stage, parameters, multiply-adds of a question."""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from hacore.data import Batch, Dataset, make_batch
from hacore.interfaces import Sizes
from hacore.measure.predict import evaluating, predict
from hacore.model.compose import example_batch
from hacore.model.network import STAGES, VQAModel
from hacore.spec import Spec


@attrs.frozen(kw_only=True)
class StageCost:
    """One row of ``hacore check``.

    output: shape for one question. parameters: all, trainable: those with gradients.
    multiply_adds: of matrix products and convolutions for one question about one image.
    """

    stage: str
    use: str
    output: str
    parameters: int
    trainable: int
    multiply_adds: int


def stage_costs(model: VQAModel, spec: Spec, sizes: Sizes, words: int) -> list[StageCost]:
    """The cost of each stage for one image and one question of ``words`` words.

    Counted by running the model once, so a selector's choice counts as it falls out; where the
    number of kept cells differs, the row is one example. Recurrent layers are counted too.
    """
    shapes: dict[str, str] = {}
    hooks = []
    for stage in (*STAGES, "head"):

        def note(_: object, __: object, output: object, stage: str = stage) -> None:
            names = ("features", "features_QKC", "vector_QC")
            tensor = next((getattr(output, name) for name in names if hasattr(output, name)), output)
            shapes[stage] = "x".join(str(size) for size in tensor.shape[1:])  # type: ignore[attr-defined]

        hooks.append(getattr(model, stage).register_forward_hook(note))
    try:
        with torch.random.fork_rng(devices=[]):
            counts = count_multiply_adds(model, example_batch(sizes, 1, 1, words, oracle=model.oracle))
    finally:
        for hook in hooks:
            hook.remove()
    return [
        StageCost(
            stage=stage,
            use=spec.section(stage).use if stage in STAGES else "mlp",
            output=shapes[stage],
            parameters=sum(p.numel() for p in getattr(model, stage).parameters()),
            trainable=sum(p.numel() for p in getattr(model, stage).parameters() if p.requires_grad),
            multiply_adds=counts[stage],
        )
        for stage in (*STAGES, "head")
    ]


def mean_multiply_adds(
    model: VQAModel,
    dataset: Dataset[Any],
    split: str,
    questions: int = 16,
    precision: torch.dtype = torch.float32,
) -> dict[str, int]:
    """Multiply-adds by stage of one question about one image, rounded means over questions of a split.

    The questions are spread evenly over the split and run one at a time. What a trained selector keeps
    of real images counts, which ``stage_costs`` cannot know where the number of cells adapts. The images are
    encoded, whether or not there is a store of their features.
    """
    asked, images = dataset.questions(split), dataset.images(split)
    objects = dataset.objects(split) if model.oracle else None
    rows = np.unique(np.linspace(0, len(asked) - 1, questions).round().astype(np.int64))
    sums = dict.fromkeys((*STAGES, "head"), 0)
    for row in rows:
        counts = count_multiply_adds(model, make_batch(asked, images, np.array([row]), objects), precision)
        sums = {stage: total + counts[stage] for stage, total in sums.items()}
    return {stage: round(total / len(rows)) for stage, total in sums.items()}


def count_multiply_adds(
    model: VQAModel, batch: Batch, precision: torch.dtype = torch.float32
) -> dict[str, int]:
    """Multiply-adds by stage of one forward pass in evaluation mode."""
    counter = FlopCounterMode(display=False)
    device = next(model.parameters()).device
    # oneDNN and cuDNN run an LSTM as one operation, in which the counter sees no products.
    with (
        torch.backends.mkldnn.flags(enabled=False, allow_tf32=None),
        torch.backends.cudnn.flags(enabled=False),
        evaluating(model),
        counter,
    ):
        predict(model, batch.to(device), precision)
    counts = counter.get_flop_counts()
    name = type(model).__name__
    return {stage: sum(counts.get(f"{name}.{stage}", {}).values()) // 2 for stage in (*STAGES, "head")}

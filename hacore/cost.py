"""What a model costs: sizes of every stage, parameters, multiply-adds of a question."""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from hacore.data import Dataset, make_batch
from hacore.interfaces import Sizes
from hacore.model import STAGES, VQAModel, example_input
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
            tensor = getattr(output, "features", getattr(output, "features_QKC", output))
            shapes[stage] = "x".join(str(size) for size in tensor.shape[1:])  # type: ignore[attr-defined]

        hooks.append(getattr(model, stage).register_forward_hook(note))
    try:
        with torch.random.fork_rng(devices=[]):
            counts = _count(model, *example_input(sizes, 1, 1, words))
    finally:
        for hook in hooks:
            hook.remove()
    rows = []
    for stage in (*STAGES, "head"):
        module = getattr(model, stage)
        rows.append(
            StageCost(
                stage=stage,
                use=spec.section(stage).use if stage in STAGES else "mlp",
                output=shapes[stage],
                parameters=sum(p.numel() for p in module.parameters()),
                trainable=sum(p.numel() for p in module.parameters() if p.requires_grad),
                multiply_adds=counts[stage],
            )
        )
    return rows


def mean_multiply_adds(
    model: VQAModel, dataset: Dataset[Any], split: str, questions: int = 16
) -> dict[str, int]:
    """Multiply-adds by stage of one question about one image, rounded means over questions of a split.

    The questions are spread evenly over the split and run one at a time. What a trained selector keeps
    of real images counts, which ``stage_costs`` cannot know where the number of cells adapts.
    """
    asked, images = dataset.questions(split), dataset.images(split)
    rows = np.unique(np.linspace(0, len(asked) - 1, questions).round().astype(np.int64))
    sums = dict.fromkeys((*STAGES, "head"), 0)
    for row in rows:
        batch = make_batch(asked, images, np.array([row]))
        counts = _count(model, batch.images, batch.words_QT, batch.lengths_Q, batch.image_index_Q)
        sums = {stage: total + counts[stage] for stage, total in sums.items()}
    return {stage: round(total / len(rows)) for stage, total in sums.items()}


@torch.no_grad()
def _count(
    model: VQAModel, images: Tensor, words_QT: Tensor, lengths_Q: Tensor, image_index_Q: Tensor
) -> dict[str, int]:
    """Multiply-adds by stage of one forward pass in evaluation mode."""
    counter = FlopCounterMode(display=False)
    training = model.training
    device = next(model.parameters()).device
    try:
        # oneDNN and cuDNN run an LSTM as one operation, in which the counter sees no products.
        with (
            torch.backends.mkldnn.flags(enabled=False, allow_tf32=None),
            torch.backends.cudnn.flags(enabled=False),
            counter,
        ):
            model.eval()(images.to(device), words_QT.to(device), lengths_Q, image_index_Q.to(device))
    finally:
        model.train(training)
    counts = counter.get_flop_counts()
    name = type(model).__name__
    return {stage: sum(counts.get(f"{name}.{stage}", {}).values()) // 2 for stage in (*STAGES, "head")}

"""What a model costs: sizes of every stage, parameters, multiply-adds of a question."""

from __future__ import annotations

import attrs
import torch
from torch.utils.flop_counter import FlopCounterMode

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
    counter = FlopCounterMode(display=False)
    training = model.training
    device = next(model.parameters()).device
    try:
        # oneDNN and cuDNN run an LSTM as one operation, in which the counter sees no products.
        with (
            torch.backends.mkldnn.flags(enabled=False, allow_tf32=None),
            torch.backends.cudnn.flags(enabled=False),
            torch.random.fork_rng(devices=[]),
            torch.no_grad(),
            counter,
        ):
            images, words_QT, lengths_Q, image_index_Q = example_input(sizes, 1, 1, words)
            model.eval()(images.to(device), words_QT.to(device), lengths_Q, image_index_Q.to(device))
    finally:
        for hook in hooks:
            hook.remove()
        model.train(training)
    counts = counter.get_flop_counts()
    rows = []
    for stage in (*STAGES, "head"):
        module = getattr(model, stage)
        flops = sum(counts.get(f"{type(model).__name__}.{stage}", {}).values())
        rows.append(
            StageCost(
                stage=stage,
                use=spec.section(stage).use if stage in STAGES else "mlp",
                output=shapes[stage],
                parameters=sum(p.numel() for p in module.parameters()),
                trainable=sum(p.numel() for p in module.parameters() if p.requires_grad),
                multiply_adds=flops // 2,
            )
        )
    return rows

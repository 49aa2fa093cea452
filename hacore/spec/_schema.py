"""What a spec holds, with defaults, ranges and one line of help per field."""

from __future__ import annotations

from typing import Any, Literal

import attrs

from hacore.notebooks import html_of
from hacore.plugin import SECTIONS, option

__all__ = ["SECTIONS", "EvalConfig", "FeaturesConfig", "HeadConfig", "Spec", "TrainConfig", "Use"]

Part = Literal["image_encoder", "question_encoder", "fuser", "selector", "aggregator", "head"]


def _not_empty(value: str) -> str | None:
    return None if value else "is empty; name a folder, or leave it out"


@attrs.frozen(kw_only=True)
class FeaturesConfig:
    """What the image encoder gives, and where it is kept."""

    root: str | None = option(
        None,
        "folder of stored features, made by 'hacore features'; not given, images are encoded",
        check=_not_empty,
        place=True,
    )
    pool: tuple[int, int] | None = option(
        None, "rows and columns to average the encoder's grid down to; not given, it stays", min=1
    )


@attrs.frozen(kw_only=True)
class HeadConfig:
    """The classifier: an MLP from the aggregated vector to one logit per answer."""

    hidden: tuple[int, ...] = option((128,), "widths of the hidden layers", min=1)
    dropout: float = option(0.0, "dropout before the last layer", min=0, below=1)


@attrs.frozen(kw_only=True)
class TrainConfig:
    """The training loop."""

    epochs: float = option(
        10.0, "times every question is seen; a part of an epoch is allowed", above=0, max=1e6
    )
    steps: int | None = option(None, "stop after this many steps, if that comes before the epochs", min=1)
    batch_images: int = option(16, "images of a step, over all processes", min=1)
    block_images: int | None = option(
        None,
        "shuffle blocks of this many images, and the images within a block, to read a disk in order; "
        "default: shuffle all",
        min=1,
    )
    questions_per_image: int | None = option(
        None, "questions of one image in a step; default: all that the image has", min=1
    )
    accumulate: int = option(
        1,
        "split the images of a step into this many parts, to save memory; their gradients are added up",
        min=1,
    )
    init: str | None = option(
        None,
        "run folder, or one of runs, whose best weights are the start; what does not fit is named, left out",
        check=_not_empty,
        place=True,
    )
    init_parts: tuple[Part, ...] = option(
        (), "take only these parts of init, all of which must fit; none given: whatever fits"
    )
    optimizer: Literal["adamw", "adam", "muon"] = option(
        "adamw",
        "AdamW; Adam with weight decay in the gradient; Muon for the weights of linear layers but the last, "
        "AdamW for all else",
    )
    lr: float = option(1e-3, "learning rate after the warm-up", above=0)
    betas: tuple[float, ...] = option((0.9, 0.999), "Adam's two decay rates", min=0, below=1)
    weight_decay: float = option(1e-4, "weight decay of matrices; vectors and biases have none", min=0)
    warmup_steps: int = option(200, "steps over which the learning rate rises from zero", min=0)
    schedule: Literal["constant", "linear", "cosine"] = option(
        "linear", "how the learning rate falls once the hold is over"
    )
    hold: float = option(0.5, "share of the training before the learning rate starts to fall", min=0, max=1)
    final_lr: float = option(0.01, "learning rate at the end, as a share of lr", min=0, max=1)
    clip_norm: float = option(10.0, "clip the gradient's norm to this; 0: no clipping", min=0)
    average: float = option(
        0.0,
        "decay of a running mean of the weights, which is evaluated and kept as the best; 0: none",
        min=0,
        below=1,
    )
    precision: Literal["auto", "float32", "bfloat16"] = option(
        "auto",
        "auto: bfloat16 autocast on a CUDA GPU and on a CPU with instructions for it (AMX, AVX512-BF16), "
        "float32 elsewhere; a run keeps what it began with",
    )
    compile: bool = option(False, "torch.compile the model")
    processes: int = option(1, "processes on this machine, started by hacore unless torchrun did", min=1)
    threads: int | None = option(None, "torch threads of each process; default: cores / processes", min=1)
    shift: int = option(0, "move training images at random by up to this many pixels each way", min=0)
    rotation: float = option(
        0.0, "turn training images at random by up to this many radians each way", min=0, max=0.5
    )
    resident: bool = option(
        True, "keep the training images, or their features, in a GPU's memory where half of it is enough"
    )
    checkpoint_steps: int = option(500, "steps between checkpoints of the whole state", min=1)
    log_steps: int = option(50, "steps between lines of metrics.jsonl", min=1)
    patience: int | None = option(
        None, "stop after this many evaluations without a better accuracy; default: never", min=1
    )

    def __attrs_post_init__(self) -> None:
        if len(self.betas) != 2:
            raise ValueError(f"betas must hold two numbers, found {len(self.betas)}")
        if self.init_parts and self.init is None:
            raise ValueError(f"init_parts = {list(self.init_parts)} needs init, the run to take them from")


@attrs.frozen(kw_only=True)
class EvalConfig:
    """Evaluation while training, and at the end."""

    split: str = option("val", "split that chooses the best checkpoint while training")
    final_split: str = option("test", "split that the best checkpoint is measured on at the end")
    every_epochs: float = option(1.0, "epochs between evaluations", above=0, max=1e6)
    batch_images: int = option(50, "images of an evaluation batch", min=1)
    baseline_steps: int = option(
        300, "steps to train the question-only baseline; 0 leaves the baseline out", min=0
    )


@attrs.frozen(kw_only=True)
class Use:
    """A chosen component: its name and its config."""

    use: str
    options: Any


@attrs.frozen(kw_only=True)
class Spec:
    """A resolved spec: every default filled in, every component found."""

    name: str
    seed: int
    data: Use
    image_encoder: Use
    question_encoder: Use
    fuser: Use
    selector: Use
    aggregator: Use
    features: FeaturesConfig = FeaturesConfig()
    head: HeadConfig
    train: TrainConfig
    eval: EvalConfig
    _repr_html_ = html_of

    def section(self, name: str) -> Use:
        """The chosen component of a section."""
        chosen: Use = getattr(self, name)
        return chosen

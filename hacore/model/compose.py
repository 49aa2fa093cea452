"""Components composed in order, their sizes checked."""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np
import torch
from torch import nn

from hacore.data import Batch
from hacore.errors import ComposeError, describe_error
from hacore.interfaces import Question, Sizes, build
from hacore.model.network import STAGES, Head, QuestionOnly, VQAModel
from hacore.plugin import KINDS
from hacore.registry import registry
from hacore.spec import Spec, Use


def compose(spec: Spec, sizes: Sizes) -> VQAModel:
    """The model of a spec, freshly initialised from torch's global random state.

    sizes: the dataset's ``sizes()``. Raises ComposeError naming the components and their shapes
    when they do not fit or break their contract.
    """
    build_stage = _Composer(spec)
    image_encoder = build_stage("image_encoder", sizes)
    pool = spec.features.pool
    if pool and (pool[0] > image_encoder.grid[0] or pool[1] > image_encoder.grid[1]):
        rows, columns = image_encoder.grid
        raise ComposeError(
            f"features.pool = {list(pool)} is more than the {rows}x{columns} grid of "
            f"{label('image_encoder', spec.image_encoder)}; use a smaller one, or leave it out"
        )
    question_encoder = build_stage("question_encoder", sizes)
    sizes = attrs.evolve(
        sizes,
        grid=pool or image_encoder.grid,
        cell_channels=image_encoder.out_channels,
        question_channels=question_encoder.out_channels,
        word_channels=question_encoder.word_channels,
    )
    fuser = build_stage("fuser", sizes)
    sizes = attrs.evolve(sizes, cell_channels=fuser.out_channels)
    selector = build_stage("selector", sizes)
    sizes = attrs.evolve(sizes, cell_channels=selector.out_channels)
    aggregator = build_stage("aggregator", sizes)
    model = VQAModel(
        image_encoder=image_encoder,
        question_encoder=question_encoder,
        fuser=fuser,
        selector=selector,
        aggregator=aggregator,
        head=Head(spec.head, aggregator.out_channels, sizes.answers),
        pool=pool,
    )
    _check_shapes(model, spec, sizes)
    return model


def compose_question_only(spec: Spec, sizes: Sizes) -> QuestionOnly:
    """The question-only baseline with the spec's question encoder and head."""
    encoder = _Composer(spec)("question_encoder", sizes)
    return QuestionOnly(encoder, Head(spec.head, encoder.out_channels, sizes.answers))


class _Composer:
    """Builds one stage after another, so that an error can name the stage before."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec

    def __call__(self, stage: str, sizes: Sizes) -> Any:
        use = self.spec.section(stage)
        cls = registry().find(stage, use.use).load()
        try:
            return build(cls, use.options, sizes)
        except ValueError as error:
            raise ComposeError(f"{label(stage, use)} {self._input(stage, sizes)}: {error}") from error
        except Exception as error:
            text = f"{label(stage, use)} {self._input(stage, sizes)}: {describe_error(error)}"
            raise ComposeError(text) from error

    def _input(self, stage: str, sizes: Sizes) -> str:
        if stage == "image_encoder":
            shape = "x".join(map(str, sizes.image))
            return f"cannot take the {shape} images of dataset '{self.spec.data.use}'"
        if stage == "question_encoder":
            return f"cannot take the {sizes.words} words of dataset '{self.spec.data.use}'"
        rows, columns = sizes.grid
        before = STAGES[STAGES.index(stage) - 1]
        giver = label(
            "image_encoder" if stage == "fuser" else before,
            self.spec.section("image_encoder" if stage == "fuser" else before),
        )
        text = f"cannot take the {rows}x{columns} cells of {sizes.cell_channels} channels of {giver}"
        if stage == "fuser":
            question = label("question_encoder", self.spec.question_encoder)
            text += f" and the {sizes.question_channels} channels of {question}"
        return text


def label(kind: str, use: Use) -> str:
    """``selector 'l2-topk'``."""
    return KINDS[kind].of(use.use)


def _check_shapes(model: VQAModel, spec: Spec, sizes: Sizes) -> None:
    """Run three questions about two images and compare every stage with what it promised."""
    encoder_N = model.image_encoder.grid[0] * model.image_encoder.grid[1]
    cells_N = model.grid[0] * model.grid[1]
    expected = {
        "image_encoder": (2, encoder_N, model.image_encoder.out_channels),
        "question_encoder": (3, model.question_encoder.out_channels),
        "fuser": (3, cells_N, model.fuser.out_channels),
        "selector": (3, None, model.selector.out_channels),
        "aggregator": (3, model.aggregator.out_channels),
    }
    inputs: dict[str, Any] = {}

    def check(stage: str) -> Any:
        def hook(module: nn.Module, args: Any, output: Any) -> None:
            tensor = output
            if stage in ("image_encoder", "fuser"):
                tensor = getattr(output, "features", output)
            elif stage == "selector":
                tensor = getattr(output, "features_QKC", output)
            elif stage == "question_encoder":
                tensor = getattr(output, "vector_QC", output)
            shape = tuple(getattr(tensor, "shape", ())) or type(tensor).__name__
            where = f"{type(module).__module__}.{type(module).__name__}"
            if stage == "question_encoder" and not isinstance(output, Question):
                raise ComposeError(
                    f"{label(stage, spec.section(stage))}: gave {type(output).__name__}, not a "
                    f"hacore.interfaces.Question; change {where}"
                )
            if len(shape) != len(expected[stage]) or any(
                want not in (None, have) for want, have in zip(expected[stage], shape, strict=True)
            ):
                want = ", ".join("K" if size is None else str(size) for size in expected[stage])
                raise ComposeError(
                    f"{label(stage, spec.section(stage))}: gave {shape} where its out_channels and its input "
                    f"promise ({want}); change {where}"
                )
            inputs[stage] = shape

        return hook

    hooks = [getattr(model, stage).register_forward_hook(check(stage)) for stage in STAGES]
    training = model.training
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            example = example_batch(sizes)
            relevant_QN = torch.zeros(len(example), cells_N, dtype=torch.bool) if model.oracle else None
            model.eval()(
                example.images,
                example.words_QT,
                example.lengths_Q,
                example.image_index_Q,
                example.image_id_Q,
                relevant_QN,
            )
    except ComposeError:
        raise
    except Exception as error:
        done = [stage for stage in STAGES if stage in inputs]
        stage = next((stage for stage in STAGES if stage not in inputs), "head")
        text = f"{label(stage, spec.section(stage))}" if stage != "head" else "the head"
        before = f" after {label(done[-1], spec.section(done[-1]))} gave {inputs[done[-1]]}" if done else ""
        raise ComposeError(f"{text} fails{before}: {describe_error(error)}") from error
    finally:
        for handle in hooks:
            handle.remove()
        model.train(training)


def example_batch(sizes: Sizes, images: int = 2, questions: int = 3, words: int = 5) -> Batch:
    """Random input of the right shapes."""
    image_index_Q = torch.arange(questions) % images
    return Batch(
        images=torch.rand(images, *sizes.image),
        words_QT=torch.randint(1, max(sizes.words, 2), (questions, words)),
        lengths_Q=torch.full((questions,), words),
        image_index_Q=image_index_Q,
        answer_Q=torch.zeros_like(image_index_Q),
        type_Q=torch.zeros_like(image_index_Q),
        row_Q=np.arange(questions),
        image_id_Q=image_index_Q,
    )

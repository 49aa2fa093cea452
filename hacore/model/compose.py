"""Components composed in order, their sizes checked."""

from __future__ import annotations

import functools
import math
from typing import Any

import attrs
import numpy as np
import torch
from torch import nn

from hacore.data import Batch
from hacore.errors import ComposeError, DataError, describe_error
from hacore.interfaces import Question, Sizes, build
from hacore.machine.weight_files import require_finite
from hacore.model.network import STAGES, Head, QuestionOnly, VQAModel, evaluating
from hacore.plugin import KINDS
from hacore.registry import registry
from hacore.spec import Spec, Use


def compose(spec: Spec, sizes: Sizes) -> VQAModel:
    """The model of a spec, freshly initialised from torch's global random state.

    sizes: the dataset's ``sizes()``. Raises ComposeError naming the components and their shapes
    when they do not fit or break their contract, or weights that are not finite.
    """
    image_encoder = _build(spec, "image_encoder", sizes)
    pool = spec.features.pool
    if pool and (pool[0] > image_encoder.grid[0] or pool[1] > image_encoder.grid[1]):
        rows, columns = image_encoder.grid
        raise ComposeError(
            f"features.pool = {list(pool)} is more than the {rows}x{columns} grid of "
            f"{label('image_encoder', spec.image_encoder)}; use a smaller one, or leave it out"
        )
    question_encoder = _build(spec, "question_encoder", sizes)
    sizes = attrs.evolve(
        sizes,
        grid=pool or image_encoder.grid,
        cell_channels=image_encoder.out_channels,
        question_channels=question_encoder.out_channels,
        word_channels=question_encoder.word_channels,
    )
    stages = {"image_encoder": image_encoder, "question_encoder": question_encoder}
    for stage in STAGES[2:]:
        stages[stage] = _build(spec, stage, sizes)
        sizes = attrs.evolve(sizes, cell_channels=stages[stage].out_channels)
    model = VQAModel(**stages, head=Head(spec.head, sizes.cell_channels, sizes.answers), pool=pool)
    way_out = "look at how that component is initialised, and at what it is given"
    require_finite(dict(model.named_parameters()), "the weights at the start", way_out, ComposeError)
    _Shapes(model, spec).check(sizes)
    return model


def exchange_selector(model: VQAModel, spec: Spec, sizes: Sizes, *, own: bool) -> VQAModel:
    """The model, its weights shared, with the selector of ``spec`` in place of its own.

    sizes: as in ``compose``. own: it is its own selector with other ``live`` options, and keeps its weights.
    Raises ComposeError where another has weights, with which the model was not trained, or does not fit.
    """
    before = model.selector
    with torch.random.fork_rng(devices=[]):
        selector = _build(spec, "selector", before.sizes)
    weights = list(selector.state_dict())
    if own:
        # Assigned, not copied: the parameters are those of the model. What is live has no weights.
        selector.load_state_dict(before.state_dict(), assign=True)
    elif weights or selector.out_channels != before.out_channels:
        raise ComposeError(
            f"{label('selector', spec.selector)}: has weights ({', '.join(weights[:3]) or 'none'}) and gives "
            f"{selector.out_channels} channels; without training, this model takes selectors that have none "
            f"and give {before.out_channels}; train a spec that chooses it, or choose another"
        )
    other = model.with_selector(selector.to(model.positions_N2.device).train(model.training))
    if not own:
        _Shapes(other, spec).check(sizes)
    return other


def compose_question_only(spec: Spec, sizes: Sizes) -> QuestionOnly:
    """The question-only baseline with the spec's question encoder and head."""
    encoder = _build(spec, "question_encoder", sizes)
    return QuestionOnly(encoder, Head(spec.head, encoder.out_channels, sizes.answers))


def _build(spec: Spec, stage: str, sizes: Sizes) -> Any:
    """One stage; an error names it and the stage before."""
    use = spec.section(stage)
    cls = registry().find(stage, use.use).load()
    try:
        return build(cls, use.options, sizes)
    except DataError as error:  # of a file that the component reads, whatever its input
        raise ComposeError(f"{label(stage, use)}: {error}") from error
    except Exception as error:
        problem = error if isinstance(error, ValueError) else describe_error(error)
        raise ComposeError(f"{label(stage, use)} {_refused(spec, stage, sizes)}: {problem}") from error


def _refused(spec: Spec, stage: str, sizes: Sizes) -> str:
    """What a stage cannot take, in words."""
    if stage == "image_encoder":
        shape = "x".join(map(str, sizes.image))
        return f"cannot take the {shape} images of dataset '{spec.data.use}'"
    if stage == "question_encoder":
        return f"cannot take the {sizes.words} words of dataset '{spec.data.use}'"
    rows, columns = sizes.grid
    before = "image_encoder" if stage == "fuser" else STAGES[STAGES.index(stage) - 1]
    source = label(before, spec.section(before))
    text = f"cannot take the {rows}x{columns} cells of {sizes.cell_channels} channels of {source}"
    if stage == "fuser":
        question = label("question_encoder", spec.question_encoder)
        text += f" and the {sizes.question_channels} channels of {question}"
    return text


def label(kind: str, use: Use) -> str:
    """``selector 'l2-topk'``."""
    return KINDS[kind].of(use.use)


class _Shapes:
    """What the stages of a model promise to give, and what they gave."""

    def __init__(self, model: VQAModel, spec: Spec) -> None:
        self._model = model
        self._spec = spec
        self._cells_N = math.prod(model.grid)
        encoder_N = math.prod(model.image_encoder.grid)
        # The field of the output that holds the tensor, and its shape; a selector is free in K.
        self._promised: dict[str, tuple[str, tuple[int | str, ...]]] = {
            "image_encoder": ("features", (2, encoder_N, model.image_encoder.out_channels)),
            "question_encoder": ("vector_QC", (3, model.question_encoder.out_channels)),
            "fuser": ("features", (3, self._cells_N, model.fuser.out_channels)),
            "selector": ("features_QKC", (3, "K", model.selector.out_channels)),
            "aggregator": ("", (3, model.aggregator.out_channels)),
        }
        self._given: dict[str, Any] = {}

    def check(self, sizes: Sizes) -> None:
        """Ask three questions about two images. Raises ComposeError at the first stage that fails."""
        model = self._model
        hooks = [
            getattr(model, stage).register_forward_hook(functools.partial(self._compare, stage))
            for stage in STAGES
        ]
        try:
            with torch.random.fork_rng(devices=[]), evaluating(model):
                example = example_batch(sizes, oracle=model.oracle).to(model.positions_N2.device)
                model(*example.inputs(model.grid))
        except ComposeError:
            raise
        except Exception as error:
            raise ComposeError(f"{self._failed()}: {describe_error(error)}") from error
        finally:
            for hook in hooks:
                hook.remove()

    def _compare(self, stage: str, module: nn.Module, _: Any, output: Any) -> None:
        """A forward hook of a stage."""
        place = f"{type(module).__module__}.{type(module).__name__}"
        if stage == "question_encoder" and not isinstance(output, Question):
            raise ComposeError(
                f"{self._label(stage)}: gave {type(output).__name__}, not a hacore.interfaces.Question; "
                f"change {place}"
            )
        field, promised = self._promised[stage]
        tensor = getattr(output, field, output)
        given = tuple(getattr(tensor, "shape", ())) or type(tensor).__name__
        if len(given) != len(promised) or not all(
            size in ("K", own) for size, own in zip(promised, given, strict=True)
        ):
            raise ComposeError(
                f"{self._label(stage)}: gave {given} where its out_channels and its input promise "
                f"({', '.join(map(str, promised))}); change {place}"
            )
        self._given[stage] = given

    def _failed(self) -> str:
        """Which stage failed, after which other."""
        stage = next((stage for stage in STAGES if stage not in self._given), "head")
        text = "the head fails" if stage == "head" else f"{self._label(stage)} fails"
        if not self._given:
            return text
        before, given = list(self._given.items())[-1]
        return f"{text} after {self._label(before)} gave {given}"

    def _label(self, stage: str) -> str:
        return label(stage, self._spec.section(stage))


def example_batch(
    sizes: Sizes, images: int = 2, questions: int = 3, words: int = 5, *, oracle: bool = False
) -> Batch:
    """Random input of the right shapes; for an oracle each question is about one object in the middle."""
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
        boxes_IO4=torch.tensor([0.25, 0.25, 0.75, 0.75]).expand(images, 1, 4) if oracle else None,
        relevant_QO=torch.ones(questions, 1, dtype=torch.bool) if oracle else None,
    )

"""The graph that is exported, and why a model has none."""

from __future__ import annotations

import copy
import io
import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr

import torch
from torch import Tensor, nn

from hacore.errors import one_line
from hacore.model.compose import label
from hacore.model.network import STAGES, VQAModel
from hacore.spec import Spec
from hacore_export import ExportError

INPUTS = ("images", "words", "lengths", "image_index")
OUTPUTS = ("logits", "kept", "valid", "presence", "weight", "share")
"""``share`` only for models whose selector mixes cells."""

ExampleInputs = tuple[Tensor, Tensor, Tensor, Tensor]
Outputs = tuple[Tensor, ...]


class Graph(nn.Module):
    """The model with plain tensors on both sides.

    images: (I, 3, H, W) uint8. words: (Q, T) int64, 0 is padding. lengths: (Q) int64, at least 1.
    image_index: (Q) int64, the image that each question is about.
    Gives logits (Q, A) float32, kept (Q, K) int64, valid (Q, K) bool, presence (Q, N) float32 and weight
    (Q, K) float32, the factor on a kept cell, 0 where it is not valid; where the selector mixes cells also
    share (Q, K, N) float32, what each vector has of each cell.
    """

    def __init__(self, model: VQAModel) -> None:
        super().__init__()
        # A copy, because the parameters of a loop must not ask for gradients.
        self.model = copy.deepcopy(model).eval().requires_grad_(False)

    def forward(self, images: Tensor, words: Tensor, lengths: Tensor, image_index: Tensor) -> Outputs:
        logits_QA, selection = self.model(images, words, lengths, image_index)
        kept_QK = selection.index_QK
        valid_QK, weight_QK = selection.valid_QK, selection.masked_weight_QK
        if valid_QK is None:
            valid_QK = torch.ones_like(kept_QK, dtype=torch.bool)
        if weight_QK is None:
            weight_QK = torch.ones_like(kept_QK, dtype=torch.float32)
        # Copies, as an output must not be a view of another one.
        outputs = (
            logits_QA.float(),
            kept_QK.clone(memory_format=torch.contiguous_format),
            valid_QK.clone(memory_format=torch.contiguous_format),
            selection.presence_QN.to(torch.float32, copy=True),
            weight_QK.to(torch.float32, copy=True),
        )
        if selection.share_QKN is None:
            return outputs
        return (*outputs, selection.share_QKN.to(torch.float32, copy=True))


def trace(graph: Graph, example: ExampleInputs, spec: Spec) -> torch.export.ExportedProgram:
    """The graph as a program for any number of images, questions and words.

    Raises ExportError naming the component that torch.export refuses.
    """
    images, questions, words = (torch.export.Dim(name) for name in ("images", "questions", "words"))
    free = ({0: images}, {0: questions, 1: words}, {0: questions}, {0: questions})
    try:
        with torch.no_grad(), quiet():
            return torch.export.export(graph, example, dynamic_shapes=free)
    except Exception as error:  # tracing runs the components, which may raise anything
        raise ExportError(
            f"{_culprit(error, graph, spec)} cannot be exported: torch.export says: {_telling_line(error)}; "
            "give it a form without what depends on the data, under torch.compiler.is_exporting()"
        ) from error


def output_shapes(program: torch.export.ExportedProgram) -> dict[str, list[int | str]]:
    """The shape of each output, with names for what is free."""
    (values,) = next(node for node in program.graph.nodes if node.op == "output").args
    return {
        name: [
            size if isinstance(size, int) else free
            for size, free in zip(value.meta["val"].shape, ("questions", "kept", "cells"), strict=False)
        ]
        for name, value in zip(OUTPUTS, values, strict=False)
    }


def explain_onnx_failure(error: Exception, program: torch.export.ExportedProgram, spec: Spec) -> ExportError:
    """The error for a program that torch.onnx cannot translate: the component and what to do."""
    chain = list(_chain(error))
    for link in chain:
        if operation := re.search(r"OpOverload\(op='((?:\w+\.)*(\w+))'", str(link)):
            name, bare = operation.groups()
            where = "the model"
            for node in program.graph.nodes:
                if bare in str(node.target):  # what was decomposed has another namespace, as in prims.NAME
                    paths = [path for path, _ in (node.meta.get("nn_module_stack") or {}).values()]
                    where = _component(paths, spec) or where
            return ExportError(
                f"{where} cannot be exported to ONNX: there is no ONNX form of {name}; use other operations "
                "in it under torch.compiler.is_exporting(), or --format torch"
            )
    return ExportError(
        f"the model cannot be exported to ONNX: {_telling_line(chain[-1])}; use --format torch, or another "
        "opset"
    )


@contextmanager
def quiet() -> Iterator[None]:
    """Silences what torch prints for its own developers while it exports."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "torch._export")]
    before = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings(), redirect_stderr(io.StringIO()):  # to which it prints whole graphs
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error, its cause, the cause of that, and so on."""
    earlier: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in earlier:
        earlier.append(link)
        yield link
        link = link.__cause__ or link.__context__


def _culprit(error: Exception, graph: Graph, spec: Spec) -> str:
    """The component that was running when tracing failed, with its class."""
    places = {id(module): path for path, module in graph.named_modules()}
    for link in _chain(error):
        running: list[str] = []
        step = link.__traceback__
        while step is not None:
            running.append(places.get(id(step.tb_frame.f_locals.get("self")), ""))
            step = step.tb_next
        if component := _component(running, spec):
            return component
    return "the model"


def _component(paths: list[str], spec: Spec) -> str | None:
    """The stage that the deepest of these module paths belongs to."""
    for path in reversed(paths):
        stage = path.removeprefix("model.").split(".")[0]
        if stage in STAGES:
            return label(stage, spec.section(stage))
    return None


def _telling_line(error: BaseException) -> str:
    """The most telling line of torch's message, which may be pages long."""
    lines = [line.strip(" -\t") for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if "specialized" in line or "data-dependent" in line]
    return one_line((telling or lines or [type(error).__name__])[0])[:300]

"""Programs as the bytes of a file, and back as functions from arrays to arrays."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from hacore.errors import one_line
from hacore.spec import Spec
from hacore_export import ExportError
from hacore_export._graph import INPUTS, explain_onnx_failure, output_shapes, quiet

Format = Literal["onnx", "torch"]
SUFFIX: dict[Format, str] = {"onnx": ".onnx", "torch": ".pt2"}
KEY = "hacore"
"""Where a file has its own description, as JSON: a metadata entry of ONNX, an extra file of torch."""
_MOST_BYTES = 2**31 - 1  # of an ONNX file

Array = npt.NDArray[Any]
Program = Callable[..., list[Array]]
"""An exported program that runs on arrays."""


def torch_bytes(program: torch.export.ExportedProgram, description: dict[str, Any]) -> bytes:
    """The .pt2 file of a program."""
    file = io.BytesIO()
    with quiet():
        torch.export.save(program, file, extra_files={f"{KEY}.json": json.dumps(description)})
    return file.getvalue()


def open_torch(data: bytes) -> Program:
    """The function of a .pt2 file."""
    with quiet():
        module = torch.export.load(io.BytesIO(data)).module()

    def run(*arrays: Array) -> list[Array]:
        with torch.no_grad():
            return [np.asarray(output) for output in module(*map(torch.from_numpy, arrays))]

    return run


def onnx_model(program: torch.export.ExportedProgram, opset: int | None, spec: Spec) -> Any:
    """The program as an ``onnx.ModelProto``. Raises ExportError where there is no ONNX form of it."""
    try:
        with quiet():
            exported = torch.onnx.export(
                program,
                input_names=INPUTS,
                output_names=list(output_shapes(program)),
                opset_version=opset,
                custom_translation_table=TRANSLATIONS,
                dynamo=True,
                verbose=False,
            )
    except Exception as error:  # whatever a translation of torch.onnx raises
        raise explain_onnx_failure(error, program, spec) from error
    assert exported is not None
    model = exported.model_proto
    version = opset_of(model)
    if opset not in (None, version):
        raise ExportError(
            f"torch.onnx made opset {version} of opset {opset}; leave the opset out, or give {version}"
        )
    return model


def onnx_bytes(model: Any, description: dict[str, Any]) -> bytes:
    """The .onnx file of a model."""
    model.producer_name, model.producer_version = "hacore", description["hacore"]
    for values, described in (
        (model.graph.input, description["inputs"]),
        (model.graph.output, description["outputs"]),
    ):
        for value in values:
            sizes = value.type.tensor_type.shape.dim
            for size, name in zip(sizes, described[value.name]["shape"], strict=True):
                if isinstance(name, str):  # torch calls it s34
                    size.dim_param = name
    entry = model.metadata_props.add()
    entry.key, entry.value = KEY, json.dumps(description)
    if model.ByteSize() > _MOST_BYTES:
        raise ExportError("an ONNX file holds at most 2 GiB, and this model is larger; use --format torch")
    data: bytes = model.SerializeToString()
    return data


def opset_of(model: Any) -> int:
    """The version of the standard operators that a model asks for."""
    version: int = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    return version


def open_onnx(data: bytes) -> Program:
    """The function of an .onnx file, by onnxruntime on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = torch.get_num_threads()
    try:
        session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ExportError(
            f"onnxruntime cannot read the model: {one_line(str(error))[:300]}; try another opset, "
            "or --format torch"
        ) from error

    def run(*arrays: Array) -> list[Array]:
        outputs: list[Array] = session.run(None, dict(zip(INPUTS, arrays, strict=True)))
        return outputs

    return run


def _stable_sort(x: Any, *, stable: bool | None = None, dim: int = -1, descending: bool = False) -> Any:
    """aten::sort.stable, which torch.onnx lacks: TopK puts the lower index first among equal values."""
    from onnxscript import opset18

    op: Any = opset18
    size = op.Gather(op.Shape(x), op.Constant(value_ints=[dim]))
    return op.TopK(x, size, axis=dim, largest=int(descending), sorted=1)


TRANSLATIONS: dict[Callable[..., Any], Callable[..., Any]] = {torch.ops.aten.sort.stable: _stable_sort}
"""ONNX forms of operations that torch.onnx has none for."""

"""From a run to a checked file."""

from __future__ import annotations

import json
from pathlib import Path

import attrs

from hacore.machine.files import write_whole
from hacore.runs import RunFolder
from hacore.runs.trained import Trained, load
from hacore_export import ExportError
from hacore_export import _formats as formats
from hacore_export._check import Agreement, compare, random_inputs
from hacore_export._description import description_of
from hacore_export._graph import Graph, output_shapes, trace


@attrs.frozen(kw_only=True)
class Exported:
    """A file that was written, and how it compared with the model.

    file: the program. description: the JSON beside it. opset: of ONNX, else None.
    """

    file: Path
    description: Path
    format: formats.Format
    opset: int | None
    agreement: Agreement


def export(
    run: RunFolder | Trained | str | Path,
    output: str | Path | None = None,
    *,
    format: formats.Format = "onnx",
    opset: int | None = None,
) -> Exported:
    """Write a run's best model as one file that is used without hacore, with a JSON that describes it.

    run: a run folder, its path, or a loaded model. output: the file, ``export/model.onnx`` or
    ``export/model.pt2`` in the run folder if not given. opset: of ONNX, torch's choice if not given.

    The program is read back from its bytes and compared with the model on random input of other sizes than
    it was traced with. Raises ExportError, and leaves no file, when a component cannot be exported or the
    program disagrees; RunError when there is no model.
    """
    if format not in formats.SUFFIX:
        raise ExportError(f"no format {format!r}; choose one of {', '.join(formats.SUFFIX)}")
    if format != "onnx" and opset is not None:
        raise ExportError(f"opset = {opset} is for ONNX; leave it out with format = {format!r}")
    trained = run if isinstance(run, Trained) else load(run, device="cpu")
    suffix = formats.SUFFIX[format]
    file = trained.folder.path / "export" / f"model{suffix}" if output is None else Path(output)
    if file.suffix != suffix:
        raise ExportError(f"{file}: the name of a file in the format {format!r} must end in {suffix}")
    sizes = trained.summary.sizes()
    graph = Graph(trained.model).cpu()
    program = trace(graph, random_inputs(2, 3, 5, sizes), trained.spec)
    description = description_of(trained, format, output_shapes(program))
    if format == "onnx":
        model = formats.onnx_model(program, opset, trained.spec)
        opset = description["opset"] = formats.opset_of(model)
        data = formats.onnx_bytes(model, description)
        agreement = compare(formats.open_onnx(data), graph, sizes)
    else:
        data = formats.torch_bytes(program, description)
        agreement = compare(formats.open_torch(data), graph, sizes)
    beside = file.with_name(f"{file.name}.json")
    write_whole(file, data, option="--output")
    write_whole(
        beside, (json.dumps(description, indent=2, ensure_ascii=False) + "\n").encode(), option="--output"
    )
    return Exported(file=file, description=beside, format=format, opset=opset, agreement=agreement)

"""``hacore export``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import click

from hacore.cli.tables import print_json
from hacore.console import Console, show_log

if TYPE_CHECKING:
    from hacore_export import Exported
    from hacore_export._formats import Format


@click.command(no_args_is_help=True)
@click.argument("run", type=click.Path())
@click.option(
    "--format",
    "form",
    type=click.Choice(["onnx", "torch"]),
    default="onnx",
    show_default=True,
    help="An ONNX file, or a .pt2 program of torch.export.",
)
@click.option(
    "--output",
    metavar="FILE",
    help="The file, ending in .onnx or .pt2; default: export/model.onnx or .pt2 in the run folder.",
)
@click.option("--opset", type=click.IntRange(18), help="Version of ONNX operators; default: torch's choice.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def export(run: str, form: Format, output: str | None, opset: int | None, as_json: bool) -> None:
    """Write the trained model of RUN as one file that is used without hacore.

    RUN is a run folder or a folder of runs. The file takes any number of images, questions and words.
    FILE.json beside it has what one needs to use it: vocabulary, answers, sizes, how questions are split
    into words, and the spec. What was written is compared with the model; where they disagree, or a
    component cannot be exported, there is no file.

    \b
    Examples:
      hacore export runs/han_rn
      hacore export runs/han_rn --format torch --output han.pt2
    """
    if form != "onnx" and opset is not None:
        raise click.UsageError("--opset is for --format onnx")
    from hacore_export import export as write

    show_log(Console())
    exported = write(run, output, format=form, opset=opset)
    if as_json:
        print_json(
            {
                "run": run,
                "file": str(exported.file),
                "description": str(exported.description),
                "format": exported.format,
                "opset": exported.opset,
                "agreement": attrs.asdict(exported.agreement),
            }
        )
    else:
        _show(exported)


def _show(exported: Exported) -> None:
    file, opset = exported.file, f", opset {exported.opset}" if exported.opset else ""
    click.echo(f"wrote {file} ({file.stat().st_size / 1e6:.1f} MB{opset}) and {exported.description}")
    agreement = exported.agreement
    other = f"{agreement.other_cells} keep other cells" if agreement.other_cells else "the same cells kept"
    click.echo(
        f"compared on {agreement.questions} random questions: {other}; logits differ by at most "
        f"{agreement.logits:.1e} (the largest is {agreement.largest_logit:.1f}), presence by "
        f"{agreement.presence:.1e}"
    )

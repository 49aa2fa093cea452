"""``hacore export``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import click

from hacore.cli.tables import print_json

if TYPE_CHECKING:
    from hacore_export import Exported


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
def export(run: str, form: str, output: str | None, opset: int | None, as_json: bool) -> None:
    """Write the trained model of RUN, a run folder, as one file that is used without hacore.

    It takes any number of images, questions and words. FILE.json beside it has what one needs to use it:
    vocabulary, answers, sizes, how questions are split into words, and the spec. What was written is
    compared with the model; where they disagree, or a component cannot be exported, there is no file. ONNX
    needs pip install hacore[export].

    \b
    Examples:
      hacore export runs/han_rn/20260101-120000-abc123
      hacore export runs/han_rn/20260101-120000-abc123 --format torch --output han.pt2
    """
    if form != "onnx" and opset is not None:
        raise click.UsageError("--opset is for --format onnx")
    from hacore_export import export as write

    made = write(run, output, format=form, opset=opset)  # type: ignore[arg-type]
    if as_json:
        print_json(
            {
                "run": run,
                "file": str(made.file),
                "description": str(made.description),
                "format": made.format,
                "opset": made.opset,
                "agreement": attrs.asdict(made.agreement),
            }
        )
    else:
        _show(made)


def _show(made: Exported) -> None:
    opset = f", opset {made.opset}" if made.opset else ""
    click.echo(f"wrote {made.file} ({made.file.stat().st_size / 1e6:.1f} MB{opset}) and {made.description}")
    found = made.agreement
    other = f"{found.other_cells} keep other cells" if found.other_cells else "the same cells kept"
    click.echo(
        f"compared on {found.questions} random questions: {other}; logits differ by at most "
        f"{found.logits:.1e} (the largest is {found.largest_logit:.1f}), presence by {found.presence:.1e}"
    )

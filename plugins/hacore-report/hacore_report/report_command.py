"""``hacore report``."""

from __future__ import annotations

from pathlib import Path

import click

from hacore.cli.tables import device_option, print_json
from hacore.console import Console, show_log


@click.command(no_args_is_help=True)
@click.argument("runs", nargs=-1, required=True, type=click.Path())
@click.option(
    "--output",
    metavar="FILE",
    help="Where several runs are compared; default: comparison.html. Not for one run.",
)
@device_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def report(runs: tuple[str, ...], output: str | None, device: str, as_json: bool) -> None:
    """Write the page about a run again, or a page that compares several.

    Of one run folder, its report/index.html: examples with their kept cells, accuracy by type, what other
    cells would do, confusions, model and cost, curves and the spec. Several run folders, or a sweep folder,
    are shown side by side on the same questions, those that differ in their seed only as one experiment. A
    page is one file, which fetches nothing.

    \b
    Examples:
      hacore report runs/han_rn/20260101-120000-abc123
      hacore report runs/han_rn runs/adahan_rn runs/san --output selectors.html
    """
    from hacore_report import write_comparison, write_report

    show_log(Console())
    notes: tuple[str, ...] = ()
    if len(runs) == 1 and ((Path(runs[0]) / "spec.toml").is_file() or not Path(runs[0]).is_dir()):
        if output is not None:
            raise click.UsageError("--output is for several runs; the page of one run lies in its folder")
        page = write_report(runs[0], device=device)
    else:
        page, notes = write_comparison(runs, output or "comparison.html", device=device)
    for note in notes:
        click.echo(f"note: {note}", err=True)
    if as_json:
        print_json({"page": str(page), "notes": list(notes)})
    else:
        click.echo(f"wrote {page}")

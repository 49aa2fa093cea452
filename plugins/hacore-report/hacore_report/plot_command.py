"""``hacore plot``."""

from __future__ import annotations

import click

from hacore.cli.tables import print_json
from hacore_report.table_command import choices_option, condition, where_option


@click.command(no_args_is_help=True)
@click.argument("runs", nargs=-1, required=True, type=click.Path())
@click.option("--output", required=True, metavar="FILE", help="The picture: a file .svg, .png or .pdf.")
@click.option(
    "--series",
    multiple=True,
    metavar="KEY",
    help="One line for each value of this key; default: selector and aggregator. May be repeated.",
)
@click.option("--value", default="accuracy", show_default=True, help="What the first panel shows.")
@click.option(
    "--time",
    type=click.Choice(["seconds", "questions_per_second"]),
    default="seconds",
    show_default=True,
    help="What the second panel shows.",
)
@where_option
@choices_option
@click.option("--only-value", is_flag=True, help="Draw the first panel alone, larger.")
@click.option(
    "--curves",
    is_flag=True,
    help="Draw how accuracy rose instead, against training questions seen and hours; unfinished runs too.",
)
@click.option("--title", help="Words above the legend.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def plot(
    runs: tuple[str, ...],
    output: str,
    series: tuple[str, ...],
    value: str,
    time: str,
    conditions: tuple[str, ...],
    choices: bool,
    only_value: bool,
    curves: bool,
    title: str | None,
    as_json: bool,
) -> None:
    """Draw accuracy, time and multiply-adds of RUNS against the share of cells that they keep.

    RUNS are run folders and sweep folders. A point is the mean over seeds, its error bars, or the band
    about a line, the sample standard deviation; the best baseline is dotted.

    \b
    Examples:
      hacore plot sweeps/table1 --output table1.pdf
      hacore plot sweeps/table1 --series aggregator.use --value relational --output table1.png
      hacore plot runs/clevr_han_mac --curves --output curve.svg
    """
    if curves:
        _plot_curves(runs, output, title, as_json)
        return
    from hacore_report import plot as draw
    from hacore_report import read_runs

    finished = read_runs(runs, choices=choices).where([condition(words) for words in conditions])
    notes = draw(
        *(finished, output),
        series=series or None,
        value=value,
        time=time,
        title=title,
        only_value=only_value,
    )
    for note in notes:
        click.echo(f"note: {note}", err=True)
    if as_json:
        print_json({"output": output, "runs": len(finished.runs), "notes": list(notes)})
    else:
        click.echo(f"wrote {output}: {len(finished.runs)} runs")


def _plot_curves(runs: tuple[str, ...], output: str, title: str | None, as_json: bool) -> None:
    from hacore_report import plot_curves

    notes = plot_curves(runs, output, title=title)
    for note in notes:
        click.echo(f"note: {note}", err=True)
    if as_json:
        print_json({"output": output, "notes": list(notes)})
    else:
        click.echo(f"wrote {output}")

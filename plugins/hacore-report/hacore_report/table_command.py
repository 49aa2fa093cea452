"""``hacore table``."""

from __future__ import annotations

import tomllib
from typing import Any

import click

from hacore.cli.tables import json_option, line_width, print_json

where_option = click.option(
    "--where",
    "conditions",
    multiple=True,
    metavar="KEY=VALUE",
    help="Only runs with this value, as in --where selector.use=l2-topk. May be repeated.",
)

choices_option = click.option(
    "--choices",
    is_flag=True,
    help="Also the models with other selectors, as 'hacore eval RUN selector.KEY=VALUE' measured them.",
)


@click.command(no_args_is_help=True)
@click.argument("runs", nargs=-1, required=True, type=click.Path())
@click.option(
    "--rows",
    multiple=True,
    metavar="KEY",
    help="A key whose values are the rows; default: the names, or what tells the runs apart. May be "
    "repeated.",
)
@click.option(
    "--columns", multiple=True, metavar="KEY", help="A key whose values are the columns. May be repeated."
)
@click.option(
    "--value",
    "values",
    multiple=True,
    metavar="NAME",
    help="What to show: accuracy (the default), a group or question type, kept, seconds, "
    "questions_per_second, multiply_adds, or any number of result.json. May be repeated.",
)
@where_option
@click.option(
    "--over", multiple=True, metavar="KEY", help="Average over this key besides the seed. May be repeated."
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "markdown", "csv", "latex", "html"]),
    default="text",
    show_default=True,
    help="How to write it; html is a page of its own.",
)
@click.option(
    "--marks/--no-marks",
    default=True,
    show_default=True,
    help="Mark the best accuracy of each column and those not significantly different from it.",
)
@choices_option
@click.option("--digits", type=click.IntRange(0, 12), help="Digits after the point.")
@json_option
def table(
    runs: tuple[str, ...],
    rows: tuple[str, ...],
    columns: tuple[str, ...],
    values: tuple[str, ...],
    conditions: tuple[str, ...],
    over: tuple[str, ...],
    form: str,
    marks: bool,
    choices: bool,
    digits: int | None,
    as_json: bool,
) -> None:
    """Make a table of RUNS: run folders and sweep folders; mean and deviation over seeds.

    Keys are dotted, of the spec or of result.json. Runs of one cell may differ in their seed only;
    whatever else differs is named. The best accuracy of a column is marked, and so is what does not differ
    from it significantly on the same questions. Notes go to standard error.

    \b
    Examples:
      hacore table sweeps/table1
      hacore table sweeps/table2 --rows selector.threshold --columns aggregator.use
      hacore table runs/han_rn/* --value non-relational --value relational --format markdown
      hacore table sweeps/table1 --format html > table1.html
    """
    from hacore_report import read_runs, tabulate, write_table
    from hacore_report._formats import as_json as table_as_json

    finished = read_runs(runs, choices=choices).where([condition(words) for words in conditions])
    content = tabulate(
        finished, rows=rows or None, columns=columns, values=values or ("accuracy",), over=over
    )
    if marks:
        from hacore_report import mark_best

        content = mark_best(content, finished)
    if as_json:
        print_json(table_as_json(content))
    else:
        click.echo(write_table(content, form, digits=digits, width=line_width()), nl=False)
    for note in content.notes:
        click.echo(f"note: {note}", err=True)


def condition(words: str) -> tuple[str, Any]:
    """Key and value of ``--where KEY=VALUE``; values are TOML, a bare word is a string, none is none."""
    key, equals, text = (part.strip() for part in words.partition("="))
    if not equals or not key:
        raise click.UsageError(f"--where {words}: must be key=value, as in --where selector.k=8")
    if text == "none":
        return key, None
    try:
        return key, tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return key, text

"""``hacore predict``."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import click

from hacore.cli.completion import key_values
from hacore.cli.tables import change_option, device_option, json_option, print_json
from hacore.console import Console, show_log
from hacore.errors import HacoreError
from hacore.machine.files import write_whole
from hacore.runs.places import changed, read_changes
from hacore_ask.words import split_changes

_WRITTEN = (".csv", ".jsonl")


@click.command(no_args_is_help=True)
@click.argument("run", type=click.Path())
@click.argument("questions", type=click.Path())
@click.argument("words", nargs=-1, metavar="[KEY=VALUE]...", shell_complete=key_values)
@click.option(
    "--output", metavar="FILE", help="The file, ending in .csv or .jsonl; default: CSV on standard output."
)
@click.option("--images", metavar="FOLDER", help="Where the pictures are; default: the folder of QUESTIONS.")
@click.option(
    "--batch", default=64, show_default=True, type=click.IntRange(1), help="Questions answered at once."
)
@change_option
@device_option
@json_option
def predict(
    run: str,
    questions: str,
    words: tuple[str, ...],
    output: str | None,
    images: str | None,
    batch: int,
    overrides: tuple[str, ...],
    device: str,
    as_json: bool,
) -> None:
    """Answer a whole file with the trained model of RUN, a run folder or a folder of runs.

    QUESTIONS is a CSV, JSONL or JSON file with the columns image, a path beside it, and question; an id is
    taken over, else it is the question's line. Each row gets the likeliest answer, its probability and the
    cells that were kept, as ROW:COLUMN from 0:0 at the top left; JSONL has their weights too. KEY=VALUE
    changes the selector, as for 'hacore ask'. Rows that are wrong are named, all of them, and nothing is
    written then. Needs neither answers nor the data of the training.

    \b
    Examples:
      hacore predict runs/mine new/questions.csv --output answers.csv
      hacore predict runs/mine new.jsonl --images photos --output answers.jsonl
      hacore predict runs/mine new.csv selector.k=4 > answers.csv
    """
    changing, others = split_changes(words)
    if others:
        raise click.UsageError(f"unexpected '{others[0]}'; after QUESTIONS come only KEY=VALUE, as --set has")
    if output and Path(output).suffix.lower() not in _WRITTEN:
        raise HacoreError(f"--output {output}: must end in {' or '.join(_WRITTEN)}")
    changes = read_changes((*overrides, *changing))
    show_log(console := Console())
    from hacore.runs.trained import load
    from hacore_ask import predicting

    table = Path(questions)
    with closing(console):
        trained = changed(load(run, device=device), changes)
        folder = Path(images) if images else table.parent
        predictions = predicting.predict(trained, table, folder, console, batch=batch)
    lines = output and Path(output).suffix.lower() == ".jsonl"
    text = predicting.as_jsonl(predictions) if lines else predicting.as_csv(predictions)
    if output:
        write_whole(Path(output), text.encode(), option="--output")
    if as_json:
        print_json({"run": run, "output": output, "answers": [predicting.record(one) for one in predictions]})
    elif output:
        click.echo(f"wrote {output}: {len(predictions):,} answers")
    else:
        click.echo(text, nl=False)

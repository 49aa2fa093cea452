"""``hacore runs``."""

from __future__ import annotations

import datetime
import os

import attrs
import click

from hacore.cli.tables import json_option, percent, print_json, print_table
from hacore_report._listing import Listed, list_runs


@click.command()
@click.argument("folder", type=click.Path(), default="runs")
@json_option
def runs(folder: str, as_json: bool) -> None:
    """List the runs in FOLDER, by default runs/: how far each is, its seed, and what came out.

    A run is NAME/TIME-ID. Where a command takes a run, NAME alone stands for its newest finished run, and
    for 'hacore run --resume' for its newest unfinished one.
    Accuracy, and the cells that were kept, are in percent; time is that of training, in hours, minutes and
    seconds.

    \b
    Examples:
      hacore runs
      hacore runs runs/han_rn --json
    """
    listed = list_runs(folder)
    if as_json:
        print_json([attrs.asdict(run) for run in listed])
        return
    if not listed:
        click.echo(f"{folder}: no runs yet; 'hacore run SPEC' makes one")
        return
    rows = [
        [
            os.path.relpath(run.run, folder),
            _state(run),
            "-" if run.seed is None else str(run.seed),
            percent(run.accuracy),
            percent(run.kept),
            "-" if run.seconds is None else str(datetime.timedelta(seconds=round(run.seconds))),
        ]
        for run in listed
    ]
    print_table("", ["run", "state", "seed", "acc.", "kept", "time"], rows)
    for run in listed:
        if run.problem:
            click.echo(f"{run.run}: {run.problem}")


def _state(run: Listed) -> str:
    if run.state == "unfinished":
        return f"step {run.step:,}" + (f" of {run.steps:,}" if run.steps else "")
    return run.state

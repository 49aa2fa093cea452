"""KEY=VALUE of a finished run on the command line."""

from __future__ import annotations

import click

from hacore.cli.completion import key_values
from hacore.runs.places import changed, read_changes

__all__ = ["change_option", "changed", "read_changes"]


change_option = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    shell_complete=key_values,
    help="Another option of the selector, as in --set selector.k=4, another selector, as in "
    "--set selector.use=all-cells, or where the data are now, as in --set data.root=DIR. May be repeated.",
)

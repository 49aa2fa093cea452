"""``hacore new``."""

from __future__ import annotations

from pathlib import Path

import click

from hacore.cli.tables import json_option, print_json
from hacore.machine.commands import pasteable
from hacore.plugin import SECTIONS


@click.command(no_args_is_help=True)
@click.argument("kind", type=click.Choice([*SECTIONS.values()]))
@click.argument("name")
@click.option("--output", default=".", show_default=True, help="Folder to write the package folder into.")
@json_option
def new(kind: str, name: str, output: str, as_json: bool) -> None:
    """Write a complete, installable plugin package for a component NAME of KIND.

    \b
    Examples:
      hacore new selector cosine-topk
      hacore new aggregator mean-pool --output plugins
    """
    from hacore_scaffold.package import new_plugin

    folder = new_plugin(kind, name, Path(output))
    install, check = pasteable("pip", "install", "-e", folder), pasteable("pytest", folder)
    if as_json:
        print_json({"folder": str(folder), "next": [install, check]})
        return
    click.echo(f"wrote {folder}")
    click.echo(f"next:  {install}  &&  {check}")

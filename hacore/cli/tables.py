"""Tables for people and JSON for programs, from the same rows."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.table import Table

from hacore.cli.completion import devices, key_values
from hacore.cli.streams import can_show

F = TypeVar("F", bound=Callable[..., Any])
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
device_option = click.option(
    "--device",
    default="auto",
    show_default=True,
    shell_complete=devices,
    help="auto, cpu, cuda, cuda:INDEX or mps.",
)


def _settable(text: str) -> Callable[[F], F]:
    return click.option(
        "--set", "overrides", multiple=True, metavar="KEY=VALUE", shell_complete=key_values, help=text
    )


change_option = _settable(
    "Another option of the selector, as in --set selector.k=4, another selector, as in --set "
    "selector.use=all-cells, or where the data are now, as in --set data.root=DIR. May be repeated."
)


def set_option(command: Callable[..., None]) -> Callable[..., None]:
    """Options ``--set KEY=VALUE`` and words KEY=VALUE after the others, together as ``overrides``."""

    @functools.wraps(command)
    def with_changes(*, overrides: tuple[str, ...], changes: tuple[str, ...], **others: Any) -> None:
        if wrong := [words for words in changes if "=" not in words]:
            raise click.UsageError(
                f"unexpected '{wrong[0]}'; after the SPEC come only KEY=VALUE, as --set has"
            )
        command(overrides=(*overrides, *changes), **others)

    argument = click.argument("changes", nargs=-1, metavar="[KEY=VALUE]...", shell_complete=key_values)
    option = _settable(
        "Override a value of the spec, as in --set selector.k=8; also without --set after SPEC. May be "
        "repeated."
    )
    return option(argument(with_changes))


def print_json(value: Any) -> None:
    """Indented JSON on standard output."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    click.echo(text if can_show(text) else json.dumps(value, indent=2))


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table on standard output; columns of numbers are right-aligned, nothing is cut."""
    table = Table(box=None, pad_edge=False)
    for index, name in enumerate(columns):
        numeric = rows and all(_numeric(row[index]) for row in rows)
        table.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*row)
    console = Console(highlight=False, markup=False, emoji=False, soft_wrap=False)
    if not console.is_terminal:
        console = Console(highlight=False, markup=False, emoji=False, width=200)
    if title:
        # Not the table's own title, which is folded to the width of the table.
        console.print(title, style="bold", soft_wrap=True)
    console.print(table)


def _numeric(text: str) -> bool:
    bare = text.replace(",", "").replace("%", "").replace(".", "").replace("-", "").strip()
    return not bare or bare.isdigit()


def percent(value: float | None) -> str:
    """A share as a percentage with one decimal."""
    return "-" if value is None else f"{100 * value:.1f}"

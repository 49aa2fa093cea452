"""Tables for people and JSON for programs, from the same rows."""

from __future__ import annotations

import functools
import json
import re
import shutil
import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table

from hacore.cli.completion import devices, key_values
from hacore.cli.streams import can_show

F = TypeVar("F", bound=Callable[..., Any])
_NUMBER = re.compile(r"[\d,.% -]*")
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


def print_table(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], minor: Sequence[str] = ()
) -> None:
    """A table on standard output; columns of numbers are right-aligned.

    On a terminal that is too narrow the columns of ``minor`` are left out, the first first, and cells are
    folded between words. Elsewhere a line may have 200 characters.
    """
    room = line_width()
    console = Console(highlight=False, markup=False, emoji=False, width=room or 200)
    shown = list(zip(columns, *rows, strict=True))
    for name in minor:
        if sum(max(map(cell_len, column)) + 2 for column in shown) - 2 > console.width:
            shown = [column for column in shown if column[0] != name]
    table = Table(box=None, pad_edge=False)
    for (head, *cells), width in zip(shown, _widths(shown, console.width), strict=True):
        numeric = cells and all(map(_NUMBER.fullmatch, cells))
        table.add_column(head, justify="right" if numeric else "left", width=width, overflow="fold")
    for row in list(zip(*shown, strict=True))[1:]:
        table.add_row(*row)
    if title:
        # Not the table's own title, which is folded to the width of the table.
        console.print(title, style="bold", soft_wrap=room is None)
    console.print(table)


def _widths(columns: Sequence[Sequence[str]], room: int) -> list[int]:
    """Of columns; where they have no room together, the widest become narrower, but not than a word."""
    widths = [max(map(cell_len, column)) for column in columns]
    words = [max(map(cell_len, [*" ".join(column).split(), ""])) for column in columns]
    while sum(widths) + 2 * (len(widths) - 1) > room and widths != words:
        widths[max(range(len(widths)), key=lambda at: (widths[at] > words[at], widths[at]))] -= 1
    return widths


def line_width() -> int | None:
    """Characters of a line of the terminal; None where output goes elsewhere, whatever COLUMNS says."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def percent(value: float | None) -> str:
    """A share as a percentage with one decimal."""
    return "-" if value is None else f"{100 * value:.1f}"

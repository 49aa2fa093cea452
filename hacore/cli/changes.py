"""KEY=VALUE of a finished run on the command line."""

from __future__ import annotations

import re
from collections.abc import Sequence

import click

from hacore.runs.places import CHANGED, changed, read_changes

__all__ = ["change_option", "changed", "read_changes", "split_changes"]

_KEY_VALUE = re.compile(rf"({'|'.join(CHANGED)})\.[\w.-]+\s*=")

change_option = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Another option of the selector, as in --set selector.k=4, another selector, as in "
    "--set selector.use=all-cells, or where the data are now, as in --set data.root=DIR. May be repeated.",
)


def split_changes(words: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(changes, other words): KEY=VALUE as ``read_changes`` takes them stand anywhere among the words."""
    changes = tuple(word for word in words if _KEY_VALUE.match(word))
    return changes, tuple(word for word in words if word not in changes)

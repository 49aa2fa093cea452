"""What may be changed of a finished run from the command line: its data's place, and its selector."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from hacore.cli.completion import key_values
from hacore.errors import HacoreError, one_line
from hacore.spec import set_values

if TYPE_CHECKING:
    from hacore.runs.trained import Trained

Changes = dict[str, dict[str, Any]]
"""{table: {option: value}}; None for a default."""
TABLES = ("selector", "data", "features")
_ALLOWED = (
    "of a trained model only selector.use, options of the selector, data.KEY (where its data are, or others "
    "to measure it on) and features.root can be changed, as in selector.k=4"
)

change_option = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    shell_complete=key_values,
    help="Another option of the selector, as in --set selector.k=4, another selector, as in "
    "--set selector.use=all-cells, or where the data are now, as in --set data.root=DIR. May be repeated.",
)


def read_changes(overrides: Sequence[str]) -> Changes:
    """The values of KEY=VALUE. Raises HacoreError for what cannot be changed without training."""
    tables: Changes = {}
    for words in overrides:
        values: dict[str, Any] = {name: {} for name in TABLES}
        ((key, _),) = set_values(values, [words])
        table, _, option = key.partition(".")
        option = option.partition(".")[0]
        if table not in TABLES or not option or (table == "features" and option != "root"):
            raise HacoreError(one_line(f"--set {words}: {_ALLOWED}"))
        tables.setdefault(table, {})[option] = values[table].get(option)
    return tables


def changed(trained: Trained, changes: Changes) -> Trained:
    """The model with other values; errors as of ``Trained.with_data`` and ``Trained.with_selector``."""
    if "data" in changes:
        trained = trained.with_data(**changes["data"])
    if "features" in changes:
        trained = trained.with_features(changes["features"]["root"])
    return trained.with_selector(**changes["selector"]) if "selector" in changes else trained

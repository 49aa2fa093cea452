"""``--log``, ``--log-with`` and ``--without``, of the commands that run something."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from hacore.cli.completion import observers
from hacore.cli.tables import F
from hacore.errors import HacoreError
from hacore.observers import choose_observers
from hacore.spec import set_values

_EXAMPLE = "--log-with tensorboard.pictures=4"


_OPTIONS = (
    (("--log", "observers"), "NAME", "Log to this observer; 'hacore plugins observer' lists them."),
    (
        ("--log-with", "observer_options"),
        "NAME.KEY=VALUE",
        "An option of an observer; 'hacore plugins observer NAME' lists them.",
    ),
    (("--without",), "NAME", "Leave out an observer that runs have by default, such as report."),
)


def with_observers(command: F) -> F:
    """Adds the options to a command, as ``observers``, ``observer_options`` and ``without``."""
    for words, shown, text in reversed(_OPTIONS):
        tab = observers if shown == "NAME" else None
        text += " May be repeated."
        command = click.option(*words, multiple=True, metavar=shown, shell_complete=tab, help=text)(command)
    return command


def chosen_observers(
    names: Sequence[str], options: Sequence[str], without: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Observers with their options, as ``hacore.run`` takes them. Raises HacoreError for a mistake."""
    table: dict[str, Any] = {}
    for key, words in set_values(table, options, _EXAMPLE):
        name, dot, _ = key.partition(".")
        if not dot:
            raise HacoreError(f"--log-with {words}: must be NAME.KEY=VALUE, as in {_EXAMPLE}")
        if name not in names:
            raise HacoreError(f"--log-with {words}: observer '{name}' is not asked for; add --log {name}")
    observers = {name: table.get(name, {}) for name in names}
    choose_observers(observers, without)  # before torch is loaded
    return observers
